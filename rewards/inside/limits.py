"""Limits that a process sets for itself before it runs anything foreign. They cannot be raised again."""

from __future__ import annotations

import resource

OUTPUT_BYTES = 16 << 20  # of one file, and so of what is printed
OPEN_FILES = 64  # pipes and sockets hold memory of the kernel
THREADS = (
    64  # in the sandbox's user namespace; before Linux 5.14, of the user. The kernel does not limit root
)


def apply(memory: int, seconds: int) -> None:
    """Limits this process to `memory` MiB of address space and `seconds` of processor time.

    A lower limit of the system's stays.
    """
    for kind, most in (
        (resource.RLIMIT_AS, memory << 20),
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_FSIZE, OUTPUT_BYTES),
        (resource.RLIMIT_NOFILE, OPEN_FILES),
        (resource.RLIMIT_NPROC, THREADS),
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(kind)[1]
        least = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (least, least))
