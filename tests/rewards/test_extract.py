"""Which answer a completion ends on."""

from __future__ import annotations

import pytest

from rewards.extract import EXTRACTORS, final_answer, last_box

CASES = [
    (r"\boxed{5}", "5"),
    (r"so \boxed{4} no, \boxed{5}.", "5"),
    (r"\boxed{\frac{1}{\sqrt{2}}}", r"\frac{1}{\sqrt{2}}"),
    (r"\boxed{\{1, 2\}}", r"\{1, 2\}"),
    (r"\boxed{\boxed{5}}", "5"),
    (r"\boxed{3 + \boxed{4}}", "3 + {4}"),
    (r"\boxed {5}", "5"),
    (r"\fbox{5}", "5"),
    ("<answer>5</answer>", "5"),
    ("<answer> 4 </answer> hm <answer> 5 </answer>", "5"),
    (r"<answer>It is \boxed{5}</answer>", "5"),
    (r"\boxed{4} <answer>5</answer>", "5"),
    (r"<answer>4</answer> or \boxed{5}", "5"),
    (r"<think>\boxed{4}</think> \boxed{5}", "5"),
    ("<think><answer>4</answer></think><answer>5</answer>", "5"),
    (r"{ stray \boxed{5}", "5"),
    (r"} stray \boxed{5}", "5"),
    (r"\boxed{ lost \boxed{5}", "5"),
    # no answer
    ("5", None),
    ("", None),
    (r"\boxed{}", None),
    ("<answer>  </answer>", None),
    (r"\boxed 5", None),
    (r"<think>\boxed{5}</think> so it is", None),
    ("<think><answer>5</answer></think>", None),
    (r"\boxed{5} wait, \boxed{6", None),
    ("<answer>5</answer> wait, <answer>6", None),
    (r"<answer>5</answer> wait, \boxed{6", None),
    (r"\boxed{5} wait, <answer>6", None),
    (r"<answer>\boxed{5</answer>", None),
    (r"\\boxed{5}", None),  # a line break, then the word
]


@pytest.mark.parametrize(("text", "answer"), CASES)
def test_final_answer(text, answer):
    assert final_answer(text) == answer


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("{" * 100_000, None),
        (r"\boxed{" * 50_000, None),
        (r"\boxed{" * 50_000 + "}" * 50_000, "{" * 49_998 + "}" * 49_998),  # a quadratic scan takes minutes
        (r"\boxed{" + "{" * 100_000 + "x" + "}" * 100_000 + "}", "{" * 99_999 + "x" + "}" * 99_999),
        ("<answer>" * 100_000, None),
    ],
)
def test_deep_nests_are_read_in_one_pass(text, answer):
    assert final_answer(text) == answer


def test_last_box_keeps_the_outer_of_two_nested():
    assert last_box(r"\boxed{a\boxed{b}c} and text") == "a{b}c"


@pytest.mark.parametrize(
    ("text", "whole", "number"),
    [
        (" 57.\n", "57", "57"),
        ("<think>1+2</think> 3 apples", "3 apples", "3"),
        ("", None, None),
        (" . ", None, None),
        ("10 + 34 = 44.", "10 + 34 = 44", "44"),
        ("it is -1,234,567.50 or so", "it is -1,234,567.50 or so", "-1234567.50"),
        ("12,34", "12,34", "34"),
        ("no number", "no number", None),
    ],
)
def test_other_places_of_an_answer(text, whole, number):
    assert EXTRACTORS["text"](text) == whole
    assert EXTRACTORS["last_number"](text) == number
