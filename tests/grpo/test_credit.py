"""Scores to advantages, by hand."""

import math
from collections import Counter

import pytest
import torch

from grpo.credit import reward_table, with_advantages
from grpo.losses import PRESETS
from grpo.recipe import Algorithm, Term


def algorithm(preset: str = "grpo") -> Algorithm:
    return Algorithm(preset=preset, **{kind: Term(**term) for kind, term in PRESETS[preset].items()})


@pytest.fixture
def scored(group_of):
    """scored(rows [G][K], …): a group for each, of prompts p0=, p1=, …"""

    def make(*groups):
        return [
            group_of(
                f"{p}=", ["1"] * len(rows), scores=[row if isinstance(row, tuple) else (row,) for row in rows]
            )
            for p, rows in enumerate(groups)
        ]

    return make


def test_known_advantages(scored):
    # rewards 2·1 + 1·0 … = 2, 3, 0, 1: mean 1.5, sample variance 5/3
    groups = scored([(1.0, 0.0), (1.0, 1.0), (0.0, 0.0), (0.0, 1.0)])
    (group,) = with_advantages(groups, algorithm(), [2.0, 1.0])
    assert group.rewards == (2.0, 3.0, 0.0, 1.0)
    expected = [(r - 1.5) / (math.sqrt(5 / 3) + 1e-4) for r in group.rewards]
    assert group.advantages == pytest.approx(expected, rel=1e-6)
    (mean_only,) = with_advantages(groups, algorithm("dr_grpo"), [2.0, 1.0])
    assert mean_only.advantages == pytest.approx((0.5, 1.5, -1.5, -0.5))


def test_unscored_completions_take_no_part(scored):
    groups = scored([1.0, None, 0.0], [(None,), (None,)], [None, 1.0])
    first, none, lone = with_advantages(groups, algorithm("dr_grpo"), [1.0])
    assert math.isnan(first.rewards[1])
    assert first.advantages == pytest.approx((0.5, 0.0, -0.5))
    assert all(map(math.isnan, none.rewards))
    assert none.advantages == (0.0, 0.0)
    assert lone.advantages == (0.0, 0.0)  # nothing to compare with


def test_a_rule_that_gave_no_score_leaves_the_others(scored):
    (group,) = with_advantages(scored([(1.0, None), (0.0, 1.0)]), algorithm("dr_grpo"), [1.0, 0.5])
    assert group.rewards == (1.0, 0.5)


def test_short_groups_are_as_if_alone(scored):
    groups = scored([1.0, 0.0, 0.0, 1.0], [1.0, 0.0])
    assert reward_table(groups).shape == (2, 4, 1)
    assert reward_table(groups)[1, 2:].isnan().all()
    long, short = with_advantages(groups, algorithm(), [1.0])
    (alone,) = with_advantages(groups[1:], algorithm(), [1.0])
    assert (short.rewards, short.advantages) == (alone.rewards, alone.advantages)
    assert len(short.advantages) == 2
    assert len(long.advantages) == 4
    assert with_advantages([], algorithm(), [1.0]) == []


def test_the_control_keeps_the_scores_and_loses_their_owners(scored):
    rows = [[(float(10 * p + g), float(g % 2)) for g in range(4 - p % 2)] for p in range(6)]
    groups = scored(*rows)
    plain = with_advantages(groups, algorithm(), [1.0, 100.0])
    shuffled = with_advantages(groups, algorithm(), [1.0, 100.0], shuffle_seed=3)
    assert [len(g.rewards) for g in shuffled] == [4, 3] * 3
    # whole rows move: the weighted sums are the same numbers
    assert Counter(r for g in shuffled for r in g.rewards) == Counter(r for g in plain for r in g.rewards)
    moved = [
        a != b
        for s, g in zip(shuffled, plain, strict=True)
        for a, b in zip(s.rewards, g.rewards, strict=True)
    ]
    assert sum(moved) > len(moved) / 2
    crossed = [r % 100 // 10 != p for p, g in enumerate(shuffled) for r in g.rewards]
    assert sum(crossed) > len(crossed) / 2  # over prompts, not within a group alone
    assert [g.scores for g in shuffled] == [
        g.scores for g in groups
    ]  # what the rules said is recorded as it was
    again = with_advantages(groups, algorithm(), [1.0, 100.0], shuffle_seed=3)
    assert again == shuffled
    assert with_advantages(groups, algorithm(), [1.0, 100.0], shuffle_seed=4) != shuffled


def test_the_control_teaches_nothing_on_average(scored):
    groups = scored(*[[1.0, 0.0]] * 8)
    gained = [
        sum(g.advantages[0] for g in with_advantages(groups, algorithm("dr_grpo"), [1.0], shuffle_seed=seed))
        for seed in range(200)
    ]
    assert abs(torch.tensor(gained).mean()) < 0.35  # 8 · 0.5 without the control
