"""KL penalty that holds the policy near a reference, and the estimator that it shares with the metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING

from grpo.terms import kl

if TYPE_CHECKING:
    from torch import Tensor


def k3_estimate(logp: Tensor, other: Tensor) -> Tensor:
    """Estimate of KL(p || q) from tokens sampled from p: k3_t = q/p - log(q/p) - 1.

    Without bias, never negative. Schulman, Approximating KL Divergence (2020); DeepSeekMath
    (arXiv 2402.03300), equation 4.

    Args:
        logp: [T] log-probs under p, which the tokens were sampled from.
        other: [T] log-probs under q.

    Returns:
        [T] estimates in nats.
    """
    difference = other - logp
    return difference.exp() - difference - 1


@kl("k3")
def k3(logp: Tensor, ref: Tensor, *, coef: float = 0.0) -> Tensor:
    """KL to the reference in the loss: coef (π_ref/π - log(π_ref/π) - 1) of each token.

    DeepSeekMath (arXiv 2402.03300), equations 3 and 4. The gradient reaches `logp` alone. It is added after
    the mismatch correction and not weighted by it. 0 loads no reference; R1 used 0.001.

    Args:
        logp: [T] log-probs under the policy.
        ref: [T] log-probs under the reference.
        coef: weight of the penalty, β in the paper.

    Returns:
        [T] penalties.
    """
    return coef * k3_estimate(logp, ref)
