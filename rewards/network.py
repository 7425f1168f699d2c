"""Takes the network from a process and from all it starts. Linux; standard library only.

    python rewards/network.py     prints how it is done on this machine: namespace, filter, or nothing at all

Two ways, the first that the kernel allows:

    namespace   a network namespace of its own, in which there is no device and no route
    filter      a seccomp filter that refuses every socket but those of the machine itself (unix, netlink)

Root makes the namespace directly, an ordinary user inside a user namespace, which some machines forbid
(Ubuntu 24.04 by AppArmor, Docker by its own filter). The filter needs no right.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import struct
from collections.abc import Callable

_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000  # linux/sched.h
_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, _PR_SET_NO_NEW_PRIVS = 22, 2, 38  # linux/prctl.h, seccomp.h
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000 | 13  # SECCOMP_RET_ALLOW; SECCOMP_RET_ERRNO with EACCES
_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06  # linux/bpf_common.h: LD|W|ABS, JMP|JEQ|K, …
_X86_64 = 0xC000003E  # AUDIT_ARCH_X86_64
_X32 = 0x40000000  # numbers from here on are the same calls in another ABI
_SOCKET, _IO_URING_SETUP = 41, 425  # a ring makes sockets without the call
_UNIX, _NETLINK = 1, 16  # the second configures devices and reaches nobody; bubblewrap needs it


def deny() -> str:
    """Takes the network from this process for good. Returns the way, "" where the kernel allows none.

    Call it before a second thread starts: neither way would hold for that one.
    """
    for name, way in WAYS.items():
        with contextlib.suppress(OSError):
            way()
            return name
    return ""


def by_namespace() -> None:
    """Moves this process to an empty network namespace. OSError where the kernel does not allow it."""
    user, group = os.geteuid(), os.getegid()
    with contextlib.suppress(PermissionError):
        _unshare(_CLONE_NEWNET)
        return
    _unshare(_CLONE_NEWUSER | _CLONE_NEWNET)
    # The network is gone now, whatever follows. Ids stay what they were; without a map all are `nobody`.
    with contextlib.suppress(OSError):
        for file, line in (
            ("setgroups", "deny"),
            ("uid_map", f"{user} {user} 1"),
            ("gid_map", f"{group} {group} 1"),
        ):
            with open(f"/proc/self/{file}", "w") as target:
                target.write(line)


def by_filter() -> None:
    """Has the kernel refuse sockets of every family that leads out. OSError where it does not allow that."""
    if os.uname().machine != "x86_64":
        raise OSError("the numbers of system calls here are x86_64's")
    program = ctypes.create_string_buffer(_filter())
    header = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(program))  # struct sock_fprog
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    _prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.c_char_p(header))


WAYS: dict[str, Callable[[], None]] = {"namespace": by_namespace, "filter": by_filter}


def _filter() -> bytes:
    """The program: a test a line, with how many lines to skip where it holds and where it does not."""
    lines = [
        (_LOAD, 0, 0, 4),  # architecture
        (_EQUAL, 0, 8, _X86_64),  # 32-bit calls have other numbers
        (_LOAD, 0, 0, 0),  # number of the call
        (_AT_LEAST, 6, 0, _X32),
        (_EQUAL, 5, 0, _IO_URING_SETUP),
        (_EQUAL, 0, 3, _SOCKET),
        (_LOAD, 0, 0, 16),  # its first argument, the low half, which is all the kernel reads
        (_EQUAL, 1, 0, _UNIX),
        (_EQUAL, 0, 1, _NETLINK),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _REFUSE),
    ]
    return b"".join(struct.pack("HBBI", *line) for line in lines)


def _unshare(flags: int) -> None:
    _check(_libc().unshare(flags))


def _prctl(*arguments: object) -> None:
    words = [ctypes.c_ulong(word) if isinstance(word, int) else word for word in arguments]
    _check(_libc().prctl(*words, *[ctypes.c_ulong(0)] * (5 - len(words))))


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _check(result: int) -> None:
    if result:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


if __name__ == "__main__":
    print(deny())
