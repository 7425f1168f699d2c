"""DAPO's soft overlong punishment."""

from __future__ import annotations

import pytest
from trl.rewards import get_soft_overlong_punishment

from rewards.errors import RuleError
from rewards.load import load
from rewards.overlong import overlong


def scores(lengths, **options):
    return overlong([""] * len(lengths), completion_ids=[[1] * length for length in lengths], **options)


def test_worked_values():
    # L_max 100, L_cache 20: nothing to 80, then a twentieth a token
    lengths = [0, 79, 80, 81, 90, 99, 100, 101, 500]
    expected = [0, 0, 0, -0.05, -0.5, -0.95, -1, -1, -1]
    assert scores(lengths, max_tokens=100, cache=20) == pytest.approx(expected)


def test_as_trl():
    lengths = list(range(0, 70))
    for cache in (0, 1, 7, 50):
        theirs = get_soft_overlong_punishment(max_completion_len=50, soft_punish_cache=cache)
        ours = scores(lengths, max_tokens=50, cache=cache)
        assert ours == pytest.approx(theirs([[1] * length for length in lengths]))


def test_the_cache_is_a_fifth_as_in_the_paper():
    assert scores([16384, 16385], max_tokens=20480) == pytest.approx([0, -1 / 4096])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "'max_tokens' is not set. Give it the value of rollout.max_tokens"),
        ({"max_tokens": 0}, "'max_tokens' is 0"),
        ({"max_tokens": 10, "cache": 11}, "'cache' is 11. Give it between 0 and max_tokens, 10"),
        ({"max_tokens": 10, "cache": -1}, "'cache' is -1"),
    ],
)
def test_lengths_that_do_not_fit(options, said):
    with pytest.raises(RuleError, match=said):
        load("overlong", options)


def test_without_tokens_it_says_so():
    with pytest.raises(RuleError, match=r"overlong: needs the completions' token ids.*`completion_ids`"):
        overlong(["x"], max_tokens=5)
