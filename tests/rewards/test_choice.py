"""Which choice an answer names."""

from __future__ import annotations

import pytest

import rewards
from rewards.choice import choice, label_of, texts_of

TEXTS = ["4", "Paris", "a dog", "None of these"]

NAMED = [
    ("B", "B"),
    ("b", "B"),
    ("(B)", "B"),
    ("[b]", "B"),
    ("B.", "B"),
    ("B)", "B"),
    (r"\text{B}", "B"),
    (r"\text{(B)}", "B"),
    ("$B$", "B"),
    ("**B**", "B"),
    ("Answer: B", "B"),
    ("The correct answer is (B).", "B"),
    ("Option B", "B"),
    (" B\n", "B"),
]
NONE = [
    "",
    "A or B",
    "A, B",
    "AB",
    "(A)(B)",
    "A and B",
    "not B",
    "B?",
    "I don't know",
    "Banana",
    "7",
    "B or C)",
]


@pytest.mark.parametrize("texts", [(), TEXTS])
@pytest.mark.parametrize(("answer", "label"), NAMED)
def test_letters(answer, label, texts):
    assert label_of(answer, texts) == label


@pytest.mark.parametrize("texts", [(), TEXTS])
@pytest.mark.parametrize("answer", NONE)
def test_no_choice_or_several(answer, texts):
    assert label_of(answer, texts) is None


@pytest.mark.parametrize(
    ("answer", "known", "unknown"),
    [
        ("Paris", "B", None),
        ("paris.", "B", None),
        ("B) Paris", "B", "B"),
        ("(B) Paris", "B", "B"),
        ("B Paris", "B", None),
        ("B) London", None, "B"),
        ("A) Paris", None, "A"),
        ("B) Paris or C) a dog", None, None),
        ("C) A dog", "C", None),  # without the texts, A may be a second letter
        ("A dog", "C", None),
        ("E", None, "E"),  # there are four
        ("4", "A", None),
        (2, "C", "C"),
        (4, None, "E"),
        (-1, None, None),
        (True, None, None),
    ],
)
def test_texts(answer, known, unknown):
    assert label_of(answer, TEXTS) == known
    assert label_of(answer) == unknown


def test_a_text_that_stands_twice_names_none():
    assert label_of("x", ["x", "x", "y"]) is None
    assert label_of("C", ["x", "x", "y"]) == "C"


def test_forms_of_choices():
    assert texts_of(["A)21", "B) 22", "(C) 23", "Dover"]) == ["21", "22", "23", "Dover"]
    assert texts_of({"label": ["A", "B"], "text": ["x", "y"]}) == ["x", "y"]
    assert texts_of({"A": "x", "B": "y"}) == ["x", "y"]
    assert texts_of(None) == []


def test_scores():
    logged = {}
    rule = rewards.get("choice")
    assert rule is choice
    assert rule.grades_answer
    texts = [
        "<think>A?</think><answer>B</answer>",
        r"so \boxed{\text{A}}",
        "B",  # no answer form
        "<answer>Paris</answer>",
        "<answer>B</answer>",
        "<answer>A or B</answer>",
    ]
    scores = rule(
        prompts=[""] * 6,
        completions=[[{"role": "assistant", "content": text}] for text in texts],
        answer=["B", "B", "B", "Paris", None, "B"],
        choices=[TEXTS] * 5 + [None],
        log_extra=lambda name, values: logged.update({name: values}),
    )
    assert scores == [1, 0, 0, 1, None, 0]
    assert logged == {"chosen": ["B", "A", None, "B", "B", None]}
    assert choice([""], ["<answer>B</answer>"], ["b"]) == [1]
