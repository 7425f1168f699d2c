"""Tags that stand once."""

from __future__ import annotations

import pytest

from rewards.tag_count import tag_count

FULL = "<think>\na\n</think>\n<answer>\nb\n</answer>"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (FULL, 1),
        ("<think>a</think><answer>b</answer>", 1),
        ("a</think><answer>b</answer>", 0.75),
        ("<think>a<answer>b", 0.5),
        ("<think><think>a</think><answer>b</answer>", 0.75),
        ("<answer>b</answer> <answer>b</answer>", 0),
        ("a", 0),
        ("", 0),
    ],
)
def test_a_quarter_a_tag(text, expected):
    assert tag_count([""], [text]) == [expected]


def test_open_r1_wants_lines():
    # Open-R1's values: all four; each missing or not on its line costs a quarter
    cases = {
        FULL: 1,
        FULL.removeprefix("<think>\n"): 0.75,
        FULL.replace("</think>", ""): 0.75,
        FULL.replace("<answer>", ""): 0.75,
        FULL.removesuffix("\n</answer>"): 0.75,
        "<think>a</think><answer>b</answer>": 0,
    }
    assert tag_count([""] * 6, list(cases), newlines=True) == list(cases.values())


def test_a_prompt_that_opens_the_thought():
    text = "a</think><answer>b</answer>"
    assert tag_count(["<think>\n"], [text]) == [1]
    assert tag_count(["q"], [text], prompt_text=["q <think>"]) == [1]
    assert tag_count(["q"], [text], prefilled=True) == [1]
