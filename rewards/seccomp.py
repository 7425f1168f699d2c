"""The system calls that a sandboxed program is refused, as a seccomp filter for x86_64.

A filter is a program of the kernel's small classic BPF machine, which sees the number and arguments of each
system call (linux/filter.h, linux/seccomp.h). Everything not named here is allowed: namespaces, resource
limits and the lack of any capability do the rest.
"""

from __future__ import annotations

import errno
import struct

# By what it would open: a way around the limits on processes or memory, or a wide face of the kernel.
REFUSED = {
    "fork": 57,
    "vfork": 58,
    "socket": 41,  # the network namespace is empty, but AF_VSOCK and AF_ALG do not heed it
    "shmget": 29,  # memory that outlives its mapping and is not counted in the address space
    "semget": 64,
    "msgget": 68,
    "mq_open": 240,
    "memfd_create": 319,
    "memfd_secret": 447,
    "unshare": 272,  # a new user namespace would give it capabilities
    "setns": 308,
    "chroot": 161,
    "pivot_root": 155,
    "mount": 165,
    "umount2": 166,
    "ptrace": 101,
    "process_vm_readv": 310,
    "process_vm_writev": 311,
    "name_to_handle_at": 303,
    "open_by_handle_at": 304,
    "add_key": 248,
    "request_key": 249,
    "keyctl": 250,
    "bpf": 321,
    "perf_event_open": 298,
    "userfaultfd": 323,
    "io_setup": 206,
    "io_uring_setup": 425,
    "io_uring_enter": 426,
    "io_uring_register": 427,
}
CLONE, CLONE3 = 56, 435
CLONE_THREAD = 0x10000  # linux/sched.h
AUDIT_ARCH_X86_64 = 0xC000003E
X32 = 0x40000000  # numbers from here on are the x32 variant of the same calls

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16  # offsets in struct seccomp_data
_ALLOW, _KILL, _ERROR = 0x7FFF0000, 0x80000000, 0x00050000


def refusing_filter() -> bytes:
    """The filter as an array of struct sock_filter.

    A refused call fails with EPERM. Threads may be made, processes not: `clone` must ask for a thread, and
    `clone3`, whose flags a filter cannot see, is said not to exist, upon which the C library uses `clone`.
    """
    steps = [
        _step(_LOAD, _ARCHITECTURE),
        _step(_EQUAL, AUDIT_ARCH_X86_64, then=1),
        _step(_RETURN, _KILL),
        _step(_LOAD, _NUMBER),
        _step(_AT_LEAST, X32, otherwise=1),
        _step(_RETURN, _ERROR | errno.EPERM),
    ]
    for number in REFUSED.values():
        steps += [_step(_EQUAL, number, otherwise=1), _step(_RETURN, _ERROR | errno.EPERM)]
    steps += [
        _step(_EQUAL, CLONE3, otherwise=1),
        _step(_RETURN, _ERROR | errno.ENOSYS),
        _step(_EQUAL, CLONE, otherwise=3),
        _step(_LOAD, _FIRST_ARGUMENT),
        _step(_ANY_BIT, CLONE_THREAD, then=1),
        _step(_RETURN, _ERROR | errno.EPERM),
        _step(_RETURN, _ALLOW),
    ]
    return b"".join(steps)


def _step(code: int, value: int, then: int = 0, otherwise: int = 0) -> bytes:
    """One instruction; `then` and `otherwise` are how many to skip after a comparison."""
    return struct.pack("=HBBI", code, then, otherwise, value)
