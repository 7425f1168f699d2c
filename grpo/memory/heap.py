"""Keeps a trainer's activations on a CPU from taking more memory than they need.

What is smaller than 32 MiB glibc takes from its heap. PyTorch asks for aligned blocks, each a little larger
than its tensor. The end that is cut off goes into a cache for small blocks, and from there to whoever asks,
so that a freed block seldom has room for a tensor of its own size again. Without those caches the ends are
joined to it. What stays free after an update is given back, or gaps would add up from step to step.
docs/performance.md has figures.
"""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

VARIABLE, NO_SMALL_CACHES = "GLIBC_TUNABLES", "glibc.malloc.tcache_count=0:glibc.malloc.mxfast=0"
NVIDIA = Path("/dev/nvidiactl")


def reuse_freed() -> None:
    """Starts this program again without glibc's caches for small blocks, which can be had at a start alone.

    Not where a GPU's driver is there, as activations are on it, nor where the variable says something.
    Elsewhere than under glibc the variable changes nothing.
    """
    if VARIABLE not in os.environ and not NVIDIA.exists():
        os.environ[VARIABLE] = NO_SMALL_CACHES
        os.execv(sys.executable, sys.orig_argv)


def return_freed(device: torch.device) -> None:
    """To be called where activations were just freed. Does nothing on a GPU or under another C library."""
    if device.type == "cpu" and _trim:
        _trim(0)


_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's alone
