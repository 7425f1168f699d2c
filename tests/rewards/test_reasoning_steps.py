"""Marks of steps."""

from __future__ import annotations

import pytest

from rewards.errors import RuleError
from rewards.load import load
from rewards.reasoning_steps import reasoning_steps


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # Open-R1's values
        ("Step 1: First step\nStep 2: Second step\nStep 3: Third step", 1),
        ("First, we do this.\nSecond, we do that.\nFinally, we conclude.", 1),
        ("Step 1: Only step", 1 / 3),
        ("First, we do this.\nFinally, we conclude.", 2 / 3),
        ("Just plain text without any clear steps", 0),
        # ours
        ("1. a\n2. b", 2 / 3),
        ("- a\n* b\n  - c\n- d", 1),
        ("<think>First, a</think> Next, b. Then, c. Third, d", 1 / 3),
        ("First, a</think> Next, b", 1 / 3),
        ("The first, the 3.5 and a - b", 0),
        ("", 0),
    ],
)
def test_steps(text, expected):
    assert reasoning_steps([text]) == [pytest.approx(expected)]
    assert reasoning_steps([[{"role": "assistant", "content": text}]]) == [pytest.approx(expected)]


def test_enough():
    assert reasoning_steps(["First, a. Next, b."], enough=4) == [0.5]
    with pytest.raises(RuleError, match="'enough' is 0"):
        load("reasoning_steps", {"enough": 0})
