"""Makes freed activations leave the process, on a CPU.

glibc takes what is smaller than 32 MiB from its heap, whose gaps stay resident: 14 to 43 % of a trainer's
peak. Mapped blocks leave at once, and their pages are made anew at every use. That costs the same
whatever is computed with them: 5 % of an update of width 576, half of one of width 128 (docs/performance.md).
"""

from __future__ import annotations

import ctypes
from typing import Any

import torch

WIDE = 512  # hidden size from which on it is done
LARGE = 1 << 20  # bytes of a block that is mapped
M_MMAP_THRESHOLD = -3  # malloc.h


def maps_large(config: Any) -> bool:
    """Whether a model of this configuration is wide enough."""
    return int(config.get_text_config().hidden_size) >= WIDE


def map_large_blocks(config: Any, device: torch.device) -> None:
    """Has glibc map large blocks, where that pays; does nothing with another C library."""
    if device.type == "cpu" and maps_large(config) and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        libc.mallopt(M_MMAP_THRESHOLD, LARGE)
