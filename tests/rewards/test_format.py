"""The strict format rule."""

from __future__ import annotations

import pytest

import rewards
from rewards.format import format_rule, is_soft, is_strict, thought

GOOD = [
    "<think>a</think><answer>b</answer>",
    "<think>a</think>\n<answer>b</answer>\n",
    "  <think>\na\n\nb</think> \n <answer> b </answer>",
    "<think></think><answer>b</answer>",
]
BAD = [
    "",
    "b",
    "<answer>b</answer>",
    "<think>a</think>",
    "<think>a</think><answer></answer>",
    "<think>a</think><answer> \n</answer>",
    "<think>a</think><answer>b",
    "<think>a<answer>b</answer>",
    "x<think>a</think><answer>b</answer>",
    "<think>a</think>x<answer>b</answer>",
    "<think>a</think><answer>b</answer>x",
    "<answer>b</answer><think>a</think>",
    "<think>a<answer>b</answer></think>",
    "<think><think>a</think><answer>b</answer>",
    "<think>a</think><answer>b</answer><answer>b</answer>",
    "<think>a</think></think><answer>b</answer>",
    "<think>a<answer></think>b</answer>",
    "<THINK>a</THINK><answer>b</answer>",
]


@pytest.mark.parametrize("text", GOOD)
def test_strict(text):
    assert is_strict(text)


@pytest.mark.parametrize("text", BAD)
def test_not_strict(text):
    assert not is_strict(text)


SOFT = [
    *GOOD,
    "x<think>a</think>y<answer>b</answer>z",
    "<think>a</think></think><answer>b</answer>",
    "<think>a</think><answer>b</answer><answer>c</answer>",
    "<think>a</think><answer></answer><answer>c</answer>",
    "<think>a</think><answer><answer>c</answer>",
]
NOT_SOFT = [
    "",
    "<think>a</think>",
    "<answer>b</answer>",
    "<think>a</think><answer> </answer>",
    "<think>a</think><answer>b",
    "<think>a<answer>b</answer>",
    "<think>a<answer>b</answer></think>",
    "<answer>b</answer><think>a</think>",
    "</think><think><answer>b</answer>",
    "<THINK>a</THINK><answer>b</answer>",
    "<think></think>" + "<answer>" * 100_000,
]


@pytest.mark.parametrize("text", SOFT)
def test_soft(text):
    assert is_soft(text)
    assert format_rule([""], [text], strict=False) == [1.0]
    assert format_rule([""], [text]) == [float(text in GOOD)]


@pytest.mark.parametrize("text", NOT_SOFT)
def test_not_soft(text):
    assert format_rule([""], [text], strict=False) == [0.0]


def test_registered_and_called_as_trl_calls_it():
    logged = {}
    rule = rewards.get("format")
    assert rule is format_rule
    scores = rule(
        prompts=["q"] * 3,
        completions=[[{"role": "assistant", "content": text}] for text in (GOOD[0], GOOD[3], BAD[2])],
        completion_ids=[[1]] * 3,
        answer=["b"] * 3,
        log_extra=lambda name, values: logged.update({name: values}),
    )
    assert scores == [1.0, 1.0, 0.0]
    assert logged == {"thinks": [1.0, 0.0, 0.0]}


def test_a_prompt_that_opens_the_thought_is_seen():
    unopened = "a</think><answer>b</answer>"
    assert format_rule(["Assistant: <think>\n"], [unopened]) == [1.0]
    assert format_rule(["Assistant: <think>\n"], [GOOD[0]]) == [0.0]  # opened twice
    assert format_rule(["Assistant:"], [unopened]) == [0.0]
    assert format_rule(["2+2?"], [unopened], prompt_text=["User: 2+2? Assistant: <think>"]) == [1.0]
    assert format_rule([[{"role": "user", "content": "2+2?"}]], [unopened], prefilled=True) == [1.0]


def test_thought():
    assert thought("<think> a </think>b") == " a "
    assert thought("<think>a") == ""
    assert thought("a</think>") == ""
