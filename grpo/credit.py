"""Scores to advantages: the group-relative credit of each completion."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from grpo.advantages import total_rewards
from grpo.losses import term
from grpo.recipe import Algorithm
from grpo.types import Group

if TYPE_CHECKING:
    from torch import Tensor


def reward_table(groups: Sequence[Group]) -> Tensor:
    """Scores as a tensor [P, G, K] float64; NaN where a rule gave none or a group is short of rollouts."""
    width = max(len(g.rollouts) for g in groups)
    rules = len(groups[0].scores[0])
    table = torch.full((len(groups), width, rules), torch.nan, dtype=torch.float64)
    for p, group in enumerate(groups):
        for g, row in enumerate(group.scores):
            for k, score in enumerate(row):
                if score.score is not None:
                    table[p, g, k] = score.score
    return table


def with_advantages(
    groups: Sequence[Group], algorithm: Algorithm, weights: Sequence[float], shuffle_seed: int | None = None
) -> list[Group]:
    """Fills rewards and advantages.

    Args:
        groups: scored groups.
        weights: weight of each rule [K].
        shuffle_seed: when given, the scores of the batch are permuted first: the control in which
            rewards keep their distribution and lose their meaning.

    Returns:
        The groups in their order, rewards the weighted sum over rules (NaN where no rule scored).
    """
    if not groups:
        return []
    table = reward_table(groups)
    if shuffle_seed is not None:
        generator = torch.Generator().manual_seed(shuffle_seed)
        real = torch.tensor([[g < len(group.rollouts) for g in range(table.shape[1])] for group in groups])
        rows = table[real]
        table[real] = rows[torch.randperm(len(rows), generator=generator)]
    weights_K = torch.tensor(list(weights), dtype=torch.float64)
    estimator = term("advantage", algorithm.advantage.name)
    advantages = estimator(table, weights_K, **algorithm.advantage.options).tolist()
    rewards = total_rewards(table, weights_K).tolist()
    return [
        dataclasses.replace(
            group,
            rewards=tuple(rewards[p][: len(group.rollouts)]),
            advantages=tuple(advantages[p][: len(group.rollouts)]),
        )
        for p, group in enumerate(groups)
    ]
