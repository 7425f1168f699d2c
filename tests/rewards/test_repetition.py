"""The share of repeated n-grams."""

from __future__ import annotations

import random

import pytest
from trl.rewards import get_repetition_penalty_reward

from rewards.errors import RuleError
from rewards.load import load
from rewards.repetition import repetition


# Values of Open-R1's tests: text, n, penalty, score
@pytest.mark.parametrize(
    ("text", "ngram", "penalty", "expected"),
    [
        ("this is a test sentence", 2, -1.0, 0),
        ("this this this this this", 2, -1.0, -0.75),
        ("this is a this is a test", 2, -1.0, -1 / 3),
        ("this is a this is a test", 3, -2.0, -0.4),
        ("test test test test", 3, -0.5, -0.25),
        ("", 2, -1.0, 0),
        ("two words", 3, -1.0, 0),
        ("word word word word", 3, -1.0, -0.5),
        ("A b C a B c", 3, -1.0, -0.25),
        ("A B C A B C E F G A B C A B C", 3, -1.0, -5 / 13),
    ],
)
def test_words(text, ngram, penalty, expected):
    found = repetition([text], ngram=ngram, penalty=penalty, unit="word")
    assert found == [pytest.approx(expected)]


def test_tokens_as_trl():
    draw = random.Random(0)
    ids = [[draw.randrange(3) for _ in range(length)] for length in range(40)]
    for ngram, penalty in ((1, -1.0), (2, -0.5), (3, -1.0), (5, -3.0)):
        theirs = get_repetition_penalty_reward(ngram_size=ngram, max_penalty=penalty)(ids)
        ours = repetition([""] * 40, completion_ids=ids, ngram=ngram, penalty=penalty)
        assert ours == pytest.approx(theirs)
    assert repetition([""] * 40, completion_ids=ids) == pytest.approx(get_repetition_penalty_reward()(ids))


def test_a_million_tokens_take_one_pass():
    assert repetition([""], completion_ids=[[7] * 1_000_000]) == [pytest.approx(-1, abs=1e-5)]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"ngram": 0}, "'ngram' is 0"),
        ({"penalty": 0.5}, "'penalty' is 0.5. Give a number of at most 0"),
        ({"unit": "letter"}, "'unit' is 'letter': input should be 'token' or 'word'"),
    ],
)
def test_wrong_options(options, said):
    with pytest.raises(RuleError, match=said):
        load("repetition", options)


def test_without_tokens_it_says_so():
    with pytest.raises(RuleError, match="repetition: needs the completions' token ids"):
        repetition(["x"])
