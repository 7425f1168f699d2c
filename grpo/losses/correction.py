"""Correction for the mismatch between the engine that sampled and the trainer that learns.

Both hold the same weights, yet their kernels and types differ, so that completions come from a slightly other
distribution than the one whose gradient is taken. A correction is a weight without gradient on a token's
surrogate loss.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from grpo.terms import correction

if TYPE_CHECKING:
    from torch import Tensor

    from grpo.types import Chunk


@correction("none")
def none(old: Tensor, behaviour: Tensor, chunk: Chunk) -> Tensor:
    """No correction: weight 1, the objective as DeepSeekMath (arXiv 2402.03300) writes it.

    Args:
        old: [T] the trainer's log-probs before the first optimiser step.
        behaviour: [T] the engine's log-probs of the tokens that it sampled; not read.
        chunk: the chunk that the tokens are from; not read.

    Returns:
        [T] ones.
    """
    return old.detach().new_ones(old.shape)


@correction("token_truncate")
def token_truncate(old: Tensor, behaviour: Tensor, chunk: Chunk, *, cap: float = 2.0) -> Tensor:
    """Truncated importance sampling of each token: ρ_t = min(π_old(o_t) / π_engine(o_t), cap).

    Your Efficient RL Framework Secretly Brings You Off-Policy RL Training (Yao et al., 2025), TIS; the
    truncation is that of Ionides (2008).

    Args:
        old: [T] the trainer's log-probs before the first optimiser step.
        behaviour: [T] the engine's log-probs of the tokens that it sampled.
        chunk: the chunk that the tokens are from; not read.
        cap: largest weight.

    Returns:
        [T] weights, without gradient.
    """
    return (old - behaviour).detach().exp().clamp(max=cap)
