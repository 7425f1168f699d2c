"""Joins the terms: importance ratio -> surrogate -> mismatch correction -> + KL -> aggregate."""

from __future__ import annotations

from typing import TYPE_CHECKING

from grpo.losses import term
from grpo.losses.kl import k3_estimate

if TYPE_CHECKING:
    from torch import Tensor

    from grpo.recipe import Algorithm
    from grpo.tally import Tally
    from grpo.types import Chunk, Totals


def objective(
    logp: Tensor,
    ref: Tensor | None,
    entropy: Tensor,
    chunk: Chunk,
    totals: Totals,
    algorithm: Algorithm,
    tally: Tally,
) -> Tensor:
    """A chunk's share of the loss of its optimiser step: Σ_t weight_t (ρ_t surrogate_t + KL_t - c H_t).

    Summed over the chunks of a batch it is the paper's loss, however the batch was cut. As in TRL, the
    correction ρ acts on the surrogate alone, neither on the KL nor on the entropy bonus.

    Args:
        logp: [T] log-probs under the policy, with gradient.
        ref: [T] log-probs under the reference, or None for no KL.
        entropy: [T] entropy of the policy at each token, nats; with gradient if its coefficient is not 0.
        chunk: tokens, advantages, behaviour and old log-probs.
        totals: what the optimiser step normalises by.
        algorithm: the terms by name, and their options.
        tally: receives the metrics, without gradient.

    Returns:
        Scalar loss, to be minimised.
    """
    old = logp.detach() if chunk.old is None else chunk.old
    ratio = term("ratio", algorithm.ratio.name)(logp, old, chunk, **algorithm.ratio.options)
    losses, measures = term("surrogate", algorithm.surrogate.name)(
        ratio, chunk.advantages, **algorithm.surrogate.options
    )
    weights = term("correction", algorithm.correction.name)(
        old, chunk.behaviour, chunk, **algorithm.correction.options
    )
    losses = losses * weights
    if ref is not None:
        losses = losses + term("kl", algorithm.kl.name)(logp, ref, **algorithm.kl.options)
        tally.add("policy/kl", k3_estimate(logp, ref))
    losses = losses - algorithm.entropy * entropy
    shares = term("aggregate", algorithm.aggregate.name)(chunk, totals, **algorithm.aggregate.options)
    loss: Tensor = (shares * losses).sum()

    for name, values in measures.items():
        tally.add(name, values)
    tally.add("policy/entropy", entropy)
    tally.peak("policy/ratio_max", ratio)
    # KL(engine || trainer): the engine drew the tokens, so it stands on the left
    tally.add("mismatch/kl", k3_estimate(chunk.behaviour, old))
    tally.peak("mismatch/max", (old - chunk.behaviour).abs())
    tally.add("mismatch/weight_mean", weights)
    tally.total("loss", loss)
    return loss
