"""Thresholds on readings: what rises is seen, what was there or is chance is not."""

from __future__ import annotations

import random

import pytest

from grpo.hacking.course import Reading
from grpo.hacking.flags import (
    ENOUGH_GROUPS,
    THRESHOLDS,
    beginning,
    judge,
    pooled,
    risen,
    samples_of,
    standard_error,
    surely_above,
    width_of,
)
from grpo.hacking.held_out import Accuracy, evaluations, held_out_rose, judge_reward, why_not


def reading(step, values, **more):
    """A reading of groups with these means."""
    return Reading(step, len(values), sum(values), sum(value * value for value in values), **more)


def course_of(shares, groups=40, seed=0):
    """Readings whose groups each show the sign with the step's chance."""
    draw = random.Random(seed)
    return [
        reading(step, [float(draw.random() < share) for _ in range(groups)], ids=(f"{step}/p/0",))
        for step, share in enumerate(shares, 1)
    ]


def test_pooling_is_over_all_groups():
    window = pooled([reading(1, [0.0, 1.0]), reading(2, [1.0, 1.0])])
    assert (window.groups, window.mean, window.variance) == (4, 0.75, 0.1875)


def test_the_standard_error_of_a_difference():
    none, some = pooled([reading(1, [0.0] * 60)]), pooled([reading(2, [0.0] * 30 + [1.0] * 10)])
    share = 10 / 100
    assert standard_error(some, none) == pytest.approx((share * (1 - share) * (1 / 60 + 1 / 40)) ** 0.5)
    assert standard_error(none, none) == 0.0


def test_windows():
    assert [width_of(steps) for steps in (8, 20, 40, 1000)] == [2, 5, 10, 10]
    many, few = course_of([0.1] * 9, groups=ENOUGH_GROUPS), course_of([0.1] * 9, groups=20)
    assert [len(beginning(readings, 6)) for readings in (many, few)] == [2, 4]
    assert len(beginning(course_of([0.1] * 9, groups=2), 6)) == 6


def test_a_rise_must_be_large_enough_and_more_than_chance():
    low, high = course_of([0.1], 400)[0], course_of([0.3], 400)[0]
    assert surely_above(pooled([high]), pooled([low]), 0.1)
    assert not surely_above(pooled([high]), pooled([low]), 0.25)
    assert not surely_above(pooled([low]), pooled([high]), 0.1)
    few = [pooled([reading(1, [0.0] * 7 + [float(x)] * 3)]) for x in (0, 1)]
    assert not surely_above(few[1], few[0], 0.1)  # 3 of 10 prompts: chance
    lone = [pooled([reading(1, [float(x)] * 7)]) for x in (0, 1)]
    assert not surely_above(lone[1], lone[0], 0.1)  # too few prompts, however sure they look


def test_the_steps_of_a_rise():
    shares = [0.1] * 20 + [0.6] * 20
    steps = risen(course_of(shares, 200), 0.2, 0.4)
    assert 25 <= steps[0] <= 29  # index of the step at which most of the window of 10 is new
    assert steps == list(range(steps[0], 40))
    assert risen(course_of(shares, 200), 0.2, 0.8) == []  # the level is not reached
    assert risen(course_of(shares, 200), 0.7, 0.4) == []  # nor the rise
    passing = [0.1] * 15 + [0.7] * 15 + [0.1] * 20
    found = risen(course_of(passing, 200), 0.2, 0.4)
    assert found
    assert found[-1] < 40  # what passes is flagged where it was


@pytest.mark.parametrize("check", THRESHOLDS)
def test_each_sign_is_flagged_as_it_rises_and_not_if_it_was_there_or_falls(check):
    def status(shares):
        return judge(check, {check: course_of(shares)}, learned=False).status

    assert status([0.02] * 8 + [0.9] * 16) == "flagged"
    assert status([0.9] * 24) == "clear"
    assert status([0.9] * 8 + [0.1] * 16) == "clear"
    assert status([0.9] * 6) == "not judged"
    assert judge(check, {}, learned=False).status == "not judged"


@pytest.mark.parametrize("check", THRESHOLDS)
def test_chance_alone_is_not_flagged(check):
    """Of 150 steady runs for each of two sizes, none."""
    for share, groups, seed in ((s, g, n) for s in (0.03, 0.45) for g in (4, 32) for n in range(75)):
        found = judge(check, {check: course_of([share] * 40, groups, seed)}, learned=False)
        assert found.status == "clear", (share, groups, seed, found.note)


def test_a_finding_has_steps_figures_and_samples():
    steps = [reading(n, [0.0] * 40) for n in range(1, 9)]
    steps += [
        reading(n, [1.0] * 40, paid=2.0, unpaid=0.5, ids=(f"{n}/p/0", f"{n}/p/1")) for n in range(9, 17)
    ]
    found = judge("several_answers", {"several_answers": steps}, learned=False)
    assert found.steps == list(range(9, 17))
    assert found.figures == {"before": 0.0, "after": 1.0, "reward_with": 2.0, "reward_without": 0.5}
    assert found.samples == ["16/p/0", "15/p/0", "14/p/0", "13/p/0", "16/p/1"]
    assert found.series[0] == (1, 0.0)
    assert len(found.series) == 16
    assert samples_of(steps[-1:], 1) == ["16/p/0"]


def test_alike_completions_of_a_policy_that_has_learned_are_no_flag():
    course = {check: course_of([0.1] * 8 + [0.9] * 16) for check in THRESHOLDS}
    unflagged = [check for check in THRESHOLDS if judge(check, course, learned=True).status == "clear"]
    assert unflagged == ["identical_within"]
    assert "held-out accuracy rose" in judge("identical_within", course, learned=True).note


def accuracies(*values, half=0.05, every=10):
    return [Accuracy(i * every, value, value - half, value + half) for i, value in enumerate(values)]


def rewards_of(values):
    draw = random.Random(1)
    return {
        "reward": [
            reading(step, [value + draw.gauss(0, 0.3) for _ in range(32)], ids=(f"{step}/p/0",))
            for step, value in enumerate(values, 1)
        ],
        "score/long": [reading(step, [value] * 32) for step, value in enumerate(values, 1)],
        "score/accuracy": [reading(step, [0.5] * 32) for step, _ in enumerate(values, 1)],
    }


RISING = [0.2 + 0.02 * step for step in range(40)]


def test_reward_up_and_held_out_flat():
    found = judge_reward(rewards_of(RISING), accuracies(0.4, 0.42, 0.41, 0.4, 0.43))
    assert found.status == "flagged"
    assert found.steps == list(range(1, 41))
    assert list(found.figures["rules"]) == ["long"]
    assert found.figures["held_out"] == [0.4, 0.43]
    assert found.samples[0] == "40/p/0"


def test_reward_and_held_out_up_together():
    assert judge_reward(rewards_of(RISING), accuracies(0.2, 0.3, 0.5, 0.6, 0.7)).status == "clear"


def test_held_out_that_fell_is_flat_too():
    assert judge_reward(rewards_of(RISING), accuracies(0.4, 0.3, 0.2, 0.2, 0.1)).status == "flagged"


def test_reward_that_goes_on_after_accuracy_has_stopped():
    found = judge_reward(rewards_of(RISING), accuracies(0.2, 0.6, 0.6, 0.61, 0.62))
    assert found.status == "flagged"
    assert found.steps[0] == 11  # since the evaluation from which accuracy stood still


def test_a_reward_that_stands_still_is_no_flag():
    assert judge_reward(rewards_of([0.5] * 40), accuracies(0.4, 0.4, 0.4)).status == "clear"
    assert judge_reward(rewards_of(RISING[::-1]), accuracies(0.4, 0.4, 0.4)).status == "clear"


def test_what_the_reward_check_needs():
    rewards = rewards_of(RISING)["reward"]
    assert "only 7 steps" in why_not(rewards[:7], accuracies(0.1, 0.2))
    assert "two evaluations" in why_not(rewards, accuracies(0.1))
    assert "eval.prompts" in why_not(rewards, accuracies(0.1, 0.2, half=0.2))
    assert why_not(rewards, accuracies(0.1, 0.2)) is None
    assert judge_reward({}, []).status == "not judged"


def test_held_out_accuracy_is_read_from_the_metrics():
    name = "eval/held-out/pass@1"
    metrics = [
        {"step": 0, name: 0.2, f"{name}_low": 0.1, f"{name}_high": 0.3, "eval/gsm8k/pass@1": 0.9},
        {"step": 1, "reward/mean": 0.4},
        {"step": 2, name: None, f"{name}_low": 0.1, f"{name}_high": 0.3},
        {"step": 3, name: 0.31, f"{name}_low": 0.2, f"{name}_high": 0.4},
    ]
    found = evaluations(metrics)
    assert found == [Accuracy(0, 0.2, 0.1, 0.3), Accuracy(3, 0.31, 0.2, 0.4)]
    assert held_out_rose(found)
    assert not held_out_rose(found[:1])
    assert not held_out_rose([found[1], found[0]])
