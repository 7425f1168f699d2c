"""What torchrun, or another launcher that sets its variables, says of this process. Loads no torch."""

from __future__ import annotations

import os
from collections.abc import Mapping

# Of the launcher, and not for children that are ranks of nothing: with them vLLM would look for a rendezvous
# that torchrun never opened. LOCAL_WORLD_SIZE stays: children share the machine's memory with that many.
OURS = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "GROUP_RANK", "ROLE_RANK", "MASTER_ADDR", "MASTER_PORT")
PREFIXES = ("TORCHELASTIC_", "TORCH_NCCL_", "ACCELERATE_")
VISIBLE = "CUDA_VISIBLE_DEVICES"


def process_count() -> int:
    """Processes of this run; 1 where no launcher says otherwise."""
    return int(os.environ.get("WORLD_SIZE", "1")) if "RANK" in os.environ else 1


def process_rank() -> int:
    """Which of them this one is, from 0."""
    return int(os.environ["RANK"]) if process_count() > 1 else 0


def local_count() -> int:
    """Processes of this run on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def child_environment(environ: Mapping[str, str], device: str | None = None) -> dict[str, str]:
    """`environ` for a child that is no rank itself; of several GPUs it sees its parent's alone.

    Args:
        environ: the parent's.
        device: `cuda:N`, the GPU that the child sees instead, counted as the parent does.
    """
    kept = {
        name: value for name, value in environ.items() if name not in OURS and not name.startswith(PREFIXES)
    }
    is_rank = "RANK" in environ and "LOCAL_RANK" in environ
    if device is not None or is_rank:
        local = int(device.removeprefix("cuda:") if device is not None else environ["LOCAL_RANK"])
        visible = environ.get(VISIBLE, "").split(",")
        kept[VISIBLE] = visible[local] if local < len(visible) and visible[local] else str(local)
    return kept
