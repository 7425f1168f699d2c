"""The memory that a run may take: of this machine, or of a GPU that is named."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from grpo.recipe import Model
from grpo.rollout.memory import free_memory

GIB = 1 << 30


class Room(NamedTuple):
    """Memory, and whose it is."""

    bytes: int
    on_gpu: bool
    whose: str  # in words


def room_for(model: Model, gpu_gib: float | None = None) -> Room:
    """What trainer and engine share.

    Args:
        model: the recipe's section; its device decides which memory.
        gpu_gib: of a GPU that need not be here, GiB.
    """
    if gpu_gib is not None:
        return Room(int(gpu_gib * GIB), True, f"a GPU of {gpu_gib:g} GiB")
    import torch

    if model.device != "cpu" and torch.cuda.is_available():
        return Room(torch.cuda.get_device_properties(0).total_memory, True, "this machine's GPU")
    return Room(free_memory() + _resident(), False, "this machine")


def _resident() -> int:
    """Bytes that this process holds already: an estimate of a whole process counts them again."""
    rows = Path("/proc/self/status").read_text().splitlines()
    return next(int(row.split()[1]) * 1024 for row in rows if row.startswith("VmRSS"))
