"""The optimiser: AdamW with moments in float32, or in 8 bits by bitsandbytes, in a quarter of the memory.

    adamw              torch's, fused
    adamw_8bit         moments in blocks of 256 numbers of 8 bits and a scale (Dettmers et al., 8-bit
                       Optimizers via Block-wise Quantization, arXiv 2110.02861); small tensors keep float32
    adamw_8bit_paged   the same in memory that CUDA moves to RAM where the GPU runs short

Master weights and gradients are float32 with each of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from grpo.errors import UserError

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer

    from grpo.recipe import Recipe, Train

PAGED = "adamw_8bit_paged"
SMALL = 4096  # numbers of a tensor below which bitsandbytes keeps float32
BLOCK = 256  # numbers that share a scale


def make_optimizer(parameters: Sequence[nn.Parameter], train: Train) -> Optimizer:
    """The optimiser of `train.optimizer` over float32 parameters."""
    options: dict[str, Any] = {"lr": train.lr, "betas": train.betas, "weight_decay": train.weight_decay}
    if train.optimizer == "adamw":
        from torch.optim import AdamW

        return AdamW(parameters, fused=True, **options)
    from bitsandbytes.optim import AdamW8bit, PagedAdamW8bit

    make = PagedAdamW8bit if train.optimizer == PAGED else AdamW8bit
    made: Optimizer = make(parameters, min_8bit_size=SMALL, **options)
    return made


def check_optimizer(recipe: Recipe) -> None:
    """Refuses an optimiser that cannot run here.

    Raises:
        UserError: bitsandbytes is not installed, or memory that CUDA pages is asked for without CUDA.
    """
    wanted = recipe.train.optimizer
    if wanted == "adamw":
        return
    if find_spec("bitsandbytes") is None:
        what = f"{wanted} needs the package bitsandbytes, which is not installed"
        raise UserError(what, "train.optimizer", "Install it by `pip install bitsandbytes`")
    import torch

    if wanted == PAGED and (recipe.model.device == "cpu" or not torch.cuda.is_available()):
        what = "paged memory is CUDA's, and this run trains on the CPU"
        raise UserError(what, "train.optimizer", "Write adamw_8bit")


def moments_bytes(optimizer: str, sizes: Sequence[int]) -> int:
    """Bytes of the two moments.

    Args:
        optimizer: as `train.optimizer` has it.
        sizes: numbers in each trained tensor.
    """
    if optimizer == "adamw":
        return 8 * sum(sizes)
    large = [size for size in sizes if size >= SMALL]
    scales = sum(-(-size // BLOCK) for size in large)
    return 8 * (sum(sizes) - sum(large)) + 2 * (sum(large) + 4 * scales)
