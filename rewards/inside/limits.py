"""Limits that a process sets for itself before it runs anything foreign. They cannot be raised again."""

from __future__ import annotations

import resource

OUTPUT_BYTES = 16 << 20  # of one file, and so of what is printed
OPEN_FILES = 64  # pipes and sockets hold memory of the kernel


def apply(memory: int, seconds: int) -> None:
    """Limits this process to `memory` MiB of address space and `seconds` of processor time."""
    for kind, most in (
        (resource.RLIMIT_AS, memory << 20),
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_FSIZE, OUTPUT_BYTES),
        (resource.RLIMIT_NOFILE, OPEN_FILES),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(kind, (most, most))
