"""Importance ratio of the policy to the policy before the first optimiser step, both the trainer's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from grpo.terms import ratio

if TYPE_CHECKING:
    from torch import Tensor

    from grpo.types import Chunk


@ratio("token")
def token(logp: Tensor, old: Tensor, chunk: Chunk) -> Tensor:
    """Ratio of each token: w_t = exp(log π(o_t) - log π_old(o_t)).

    PPO (arXiv 1707.06347), section 3; per token as in DeepSeekMath (arXiv 2402.03300), equation 3.

    Args:
        logp: [T] log-probs under the policy.
        old: [T] log-probs before the first optimiser step; the detached `logp` when on-policy.
        chunk: the chunk that the tokens are from; not read.

    Returns:
        [T] ratios, 1 when on-policy.
    """
    return (logp - old).exp()
