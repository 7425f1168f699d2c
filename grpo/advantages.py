"""Advantage estimators: rewards [P, G, K] of a step to advantages [P, G], one function each.

A score of NaN means "not applicable" or "could not be graded". It is left out of a completion's total; a
completion that no rule scored takes no part in its group's statistics and gets advantage 0, and so does
every completion of a group with fewer than two scored ones. Statistics are taken in float64.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from grpo.terms import advantage

if TYPE_CHECKING:
    from torch import Tensor

# Totals of one group that differ by less than this share of what was summed are equal: 0.1 + 0.2 is not 0.3
# in binary, and dividing such noise by a standard deviation would make it a gradient.
EQUAL_WITHIN = 1e-6


def total_rewards(rewards_PGK: Tensor, weights_K: Tensor) -> Tensor:
    """Weighted sum over the rules that gave a score: R = Σ_k w_k r_k, over r_k not NaN.

    Args:
        rewards_PGK: [P, G, K] scores, NaN where a rule gave none.
        weights_K: [K] weights of the rules.

    Returns:
        [P, G] float64, NaN where no rule gave a score.
    """
    rewards, weights = rewards_PGK.double(), weights_K.double()
    missing = rewards.isnan()
    total = (rewards.masked_fill(missing, 0.0) * weights).sum(-1)
    return total.masked_fill(missing.all(-1), float("nan"))


def _centred(rewards_PGK: Tensor, weights_K: Tensor) -> tuple[Tensor, Tensor]:
    """Totals less their group's mean [P, G], and the number of scored completions [P, 1], both float64.

    Exactly 0 where there is nothing to compare: unscored completions, lone ones, groups of equal totals.
    """
    total = total_rewards(rewards_PGK, weights_K)
    unscored = total.isnan()
    count = (~unscored).sum(-1, keepdim=True).double()
    mean = total.nansum(-1, keepdim=True) / count.clamp(min=1)
    summed = (rewards_PGK.double() * weights_K.double()).abs().nansum(-1).amax(-1, keepdim=True)
    highest = total.masked_fill(unscored, -float("inf")).amax(-1, keepdim=True)
    lowest = total.masked_fill(unscored, float("inf")).amin(-1, keepdim=True)
    equal = (highest - lowest <= EQUAL_WITHIN * summed) | (count < 2)
    return (total - mean).masked_fill(unscored | equal, 0.0), count


@advantage("group_norm")
def group_norm(rewards_PGK: Tensor, weights_K: Tensor, *, eps: float = 1e-4, ddof: int = 1) -> Tensor:
    """GRPO: A_i = (R_i - mean(R)) / (std(R) + eps) over a group.

    DeepSeekMath (arXiv 2402.03300), section 4.1.2. The paper names neither eps nor the divisor of the
    standard deviation (count - ddof); the defaults are TRL's.

    Args:
        rewards_PGK: [P, G, K] scores, NaN where a rule gave none.
        weights_K: [K] weights of the rules.
        eps: added to the standard deviation.
        ddof: 1 for the sample's standard deviation, 0 for the population's.

    Returns:
        [P, G] float32.
    """
    centred, count = _centred(rewards_PGK, weights_K)
    variance = centred.square().sum(-1, keepdim=True) / (count - ddof).clamp(min=1)
    return (centred / (variance.sqrt() + eps)).float()


@advantage("group_mean")
def group_mean(rewards_PGK: Tensor, weights_K: Tensor) -> Tensor:
    """Dr. GRPO: A_i = R_i - mean(R) over a group, without dividing by the standard deviation.

    Understanding R1-Zero-Like Training (arXiv 2503.20783), section 3.2: the division weights questions by
    how little their rewards vary.

    Args:
        rewards_PGK: [P, G, K] scores, NaN where a rule gave none.
        weights_K: [K] weights of the rules.

    Returns:
        [P, G] float32.
    """
    centred, _ = _centred(rewards_PGK, weights_K)
    return centred.float()


@advantage("leave_one_out")
def leave_one_out(rewards_PGK: Tensor, weights_K: Tensor) -> Tensor:
    """RLOO: A_i = R_i - 1/(G-1) Σ_{j≠i} R_j, which is G/(G-1) (R_i - mean(R)).

    Back to Basics (arXiv 2402.14740), section 3.3: the mean of the others is a baseline without bias.

    Args:
        rewards_PGK: [P, G, K] scores, NaN where a rule gave none.
        weights_K: [K] weights of the rules.

    Returns:
        [P, G] float32.
    """
    centred, count = _centred(rewards_PGK, weights_K)
    return (centred * count / (count - 1).clamp(min=1)).float()
