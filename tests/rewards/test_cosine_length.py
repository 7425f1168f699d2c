"""Correctness scaled by length along a cosine."""

from __future__ import annotations

import pytest
from trl.rewards import get_cosine_scaled_reward

from rewards.cosine_length import cosine_length
from rewards.errors import RuleError
from rewards.load import load

GOLD, OTHER = r"\frac{63}{400}", r"\frac{64}{400}"
PAPER = {"correct_short": 2, "correct_long": 1, "wrong_short": -10, "wrong_long": 0, "exceeded": -10}


def score(answer, length, gold=GOLD, **options):
    texts, ids = [rf"\boxed{{{answer}}}"], [[1] * length]
    return cosine_length([""], texts, answer=[gold], completion_ids=ids, **{"max_tokens": 100, **options})[0]


@pytest.mark.parametrize(
    ("answer", "length", "expected"),
    # Open-R1's own test values; its first text, meant to be of 20, is of 22
    [(GOLD, 22, 0.943), (GOLD, 80, 0.547), (OTHER, 22, -0.942), (OTHER, 80, -0.547)],
)
def test_values_of_open_r1(answer, length, expected):
    assert score(answer, length) == pytest.approx(expected, abs=1e-3)


def test_as_trl():
    values = {
        "min_value_wrong": -2.0,
        "max_value_wrong": -0.25,
        "min_value_correct": 0.125,
        "max_value_correct": 3.0,
    }
    ours = {"wrong_short": -2.0, "wrong_long": -0.25, "correct_long": 0.125, "correct_short": 3.0}
    lengths = [0, 1, 33, 50, 99, 100, 130]
    for theirs, mine in (
        (get_cosine_scaled_reward(max_len=100), {}),
        (get_cosine_scaled_reward(max_len=100, **values), ours),
    ):
        for answer in (GOLD, OTHER):
            messages = [[{"content": rf"\boxed{{{answer}}}"}]] * len(lengths)
            expected = theirs(messages, [GOLD] * len(lengths), [[1] * length for length in lengths])
            assert [score(answer, length, **mine) for length in lengths] == pytest.approx(expected)


def test_values_of_the_paper():
    assert score(GOLD, 0, **PAPER) == 2
    assert score(GOLD, 50, **PAPER) == pytest.approx(1.5)
    assert score(OTHER, 0, **PAPER) == -10
    assert score(OTHER, 50, **PAPER) == pytest.approx(-5)
    assert score(GOLD, 99, **PAPER) == pytest.approx(1, abs=1e-3)
    assert [score(answer, 100, **PAPER) for answer in (GOLD, OTHER)] == [-10, -10]


def test_no_gold_no_score_and_what_is_logged():
    assert score(GOLD, 5, gold=None) is None
    logged = {}
    cosine_length(
        ["", ""],
        [r"\boxed{4}", r"\boxed{5}"],
        answer=["4", "4"],
        completion_ids=[[1], [1]],
        log_extra=lambda name, values: logged.update({name: values}),
        max_tokens=10,
    )
    assert logged["correct"] == [1.0, 0.0]
    assert logged["verdict"] == ["right", "wrong"]


def test_it_must_know_the_longest_length():
    with pytest.raises(RuleError, match="cosine_length: option 'max_tokens' is not set"):
        load("cosine_length", {})
    loaded = load("cosine_length", {"max_tokens": 8})
    assert (loaded.info.grades_answer, loaded.info.gold_extra) == (True, "correct")
