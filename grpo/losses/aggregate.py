"""Aggregation: the weight of each token's loss.

The loss of an optimiser step is Σ weight_t loss_t over all chunks of its batch. Divisors come from the
batch's totals, so that the sum is the same however the batch was cut into chunks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from grpo.terms import aggregate

if TYPE_CHECKING:
    from torch import Tensor

    from grpo.types import Chunk, Totals


@aggregate("sequence_mean")
def sequence_mean(chunk: Chunk, totals: Totals) -> Tensor:
    """GRPO: 1/S Σ_i 1/|o_i| Σ_t, the mean over completions of the mean over their tokens.

    DeepSeekMath (arXiv 2402.03300), equation 3. A token of a long completion weighs less than one of a
    short one.

    Args:
        chunk: its `sequence` [T] and `completion_lengths` [S].
        totals: completions of the optimiser step.

    Returns:
        [T] float32 weights.
    """
    lengths = chunk.completion_lengths[chunk.sequence]
    return 1.0 / (lengths.to(chunk.advantages.dtype) * totals.sequences)


@aggregate("token_mean")
def token_mean(chunk: Chunk, totals: Totals) -> Tensor:
    """DAPO: 1/Σ_i|o_i| Σ_i Σ_t, the mean over all completion tokens of the optimiser step.

    DAPO (arXiv 2503.14476), equation 8. Every token weighs the same.

    Args:
        chunk: gives the number of tokens T.
        totals: completion tokens of the optimiser step.

    Returns:
        [T] float32 weights.
    """
    return chunk.advantages.new_full(chunk.advantages.shape, 1.0 / totals.tokens)


@aggregate("constant")
def constant(chunk: Chunk, totals: Totals) -> Tensor:
    """Dr. GRPO: 1/(S L) Σ_i Σ_t with L the longest completion allowed, the same for every batch.

    Understanding R1-Zero-Like Training (arXiv 2503.20783), section 3.2 and listing 1. A sum over tokens
    up to a constant: no weight depends on the length of a completion.

    Args:
        chunk: gives the number of tokens T.
        totals: completions of the optimiser step, and rollout.max_tokens as L.

    Returns:
        [T] float32 weights.
    """
    return chunk.advantages.new_full(chunk.advantages.shape, 1.0 / (totals.sequences * totals.max_tokens))
