"""Surrogate: ratio and advantage of each token to its loss, and what to log about it.

A surrogate returns (loss [T] to minimise, {metric name: values [T]}); metrics are averaged over tokens.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from grpo.terms import surrogate

if TYPE_CHECKING:
    from torch import Tensor


@surrogate("clip")
def clip(
    ratio: Tensor, advantages: Tensor, *, low: float = 0.2, high: float = 0.2
) -> tuple[Tensor, dict[str, Tensor]]:
    """Clipped surrogate: loss_t = -min(w_t A_t, clip(w_t, 1 - low, 1 + high) A_t).

    PPO (arXiv 1707.06347), equation 7, as used by DeepSeekMath (arXiv 2402.03300), equation 3; separate
    bounds from DAPO (arXiv 2503.14476), equation 8, whose higher upper bound leaves room to rare tokens.

    Args:
        ratio: [T] importance ratios w.
        advantages: [T] advantages A.
        low: a negative advantage has no gradient where w < 1 - low.
        high: a positive advantage has no gradient where w > 1 + high.

    Returns:
        Loss [T], and as policy/clip_ratio_low and policy/clip_ratio_high [T] where each bound acts.
    """
    loss = -(ratio * advantages).minimum(ratio.clamp(1 - low, 1 + high) * advantages)
    fixed = ratio.detach()
    return loss, {
        "policy/clip_ratio_low": (fixed < 1 - low) & (advantages < 0),
        "policy/clip_ratio_high": (fixed > 1 + high) & (advantages > 0),
    }
