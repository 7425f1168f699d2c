"""Every function of trl.rewards by its name, against TRL's own call of it."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest
import trl.rewards

from rewards.call import Request, call
from rewards.errors import RuleError
from rewards.load import load

TEXTS = [
    r"<think>2 + 2</think> \boxed{4}",
    r"\boxed{4}",
    r"<think>2 + 2</think> \boxed{5}",
    "4 4 4 4 4 4",
]
IDS = [[1, 2, 3], [5] * 9, [7] * 12, []]
GOLDS = ["4", "4", "4", "x \\frac"]

# Of each: options, and what TRL's own call gives for the texts above, worked out by hand.
CASES = {
    "accuracy_reward": ({}, [1, 1, 0, None]),
    "reasoning_accuracy_reward": ({}, [1, 0, 0, 0]),
    "think_format_reward": ({}, [1, 0, 1, 0]),
    "get_cosine_scaled_reward": ({"max_len": 12, "max_value_correct": 2.0}, None),
    "get_repetition_penalty_reward": ({"ngram_size": 2}, [0, -7 / 8, -10 / 11, 0]),
    "get_soft_overlong_punishment": ({"max_completion_len": 10, "soft_punish_cache": 4}, [0, -0.75, -1, 0]),
}


def theirs(name, options):
    function = getattr(trl.rewards, name)
    function = function(**options) if name.startswith("get_") else function
    messages = [[{"role": "assistant", "content": text}] for text in TEXTS]
    return list(function(completions=messages, solution=GOLDS, completion_ids=IDS))


def ours(name, options, columns, messages=False):
    texts = [[{"role": "assistant", "content": text}] for text in TEXTS] if messages else TEXTS
    return call(load(f"trl:{name}", options), Request([""] * 4, texts, columns, IDS)).scores


def test_there_is_a_case_for_every_function_that_trl_has():
    functions = [n for n in trl.rewards.__all__ if inspect.isfunction(getattr(trl.rewards, n))]
    assert sorted(CASES) == sorted(functions)


@pytest.mark.parametrize("name", CASES)
def test_as_trl_calls_it(name):
    options, values = CASES[name]
    expected = theirs(name, options)
    assert len(set(expected)) > 1
    if values is not None:
        assert expected == pytest.approx(values)
    assert ours(name, options, {"answer": GOLDS}) == pytest.approx(expected)
    assert ours(name, options, {"answer": GOLDS}, messages=True) == pytest.approx(expected)
    own_column = {"answer": ["9"] * 4, "solution": GOLDS}
    assert ours(name, options, own_column) == pytest.approx(expected)


def test_options_reach_it():
    found = ours(
        "reasoning_accuracy_reward", {"reasoning_delimiters": ["+ 2</think>"]}, {"answer": ["4"] * 4}
    )
    assert found == [1, 0, 0, 0]
    found = ours("reasoning_accuracy_reward", {"reasoning_delimiters": [r"\bo"]}, {"answer": ["4"] * 4})
    assert found != [1, 0, 0, 0]
    assert ours("get_repetition_penalty_reward", {"ngram_size": 2, "max_penalty": -8.0}, {})[1] == -7


def test_no_gold_gives_none():
    assert ours("accuracy_reward", {}, {"answer": [None, "4", None, "4"]})[::2] == [None, None]


def test_which_grade_answers():
    assert load("trl:accuracy_reward", {}).info.grades_answer
    assert not load("trl:think_format_reward", {}).info.grades_answer


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("think_formt_reward", {}, "no function 'think_formt_reward'. Did you mean 'think_format_reward'?"),
        ("other_rewards", {}, "trl:other_rewards: trl.rewards has no function 'other_rewards'"),
        ("get_soft_overlong_punishment", {"max_completion_len": 9}, "'soft_punish_cache' is not set"),
        ("get_soft_overlong_punishment", {"max_len": 9}, "no option 'max_len'"),
        ("get_repetition_penalty_reward", {"ngram_size": "x"}, "option 'ngram_size' is 'x'"),
        ("think_format_reward", {"strict": True}, "no option 'strict'. It has none"),
    ],
)
def test_wrong_names_and_options(name, options, said):
    with pytest.raises(RuleError) as error:
        load(f"trl:{name}", options)
    assert said in str(error.value)


def test_a_column_that_it_needs_is_named():
    with pytest.raises(TypeError, match="solution"):
        ours("accuracy_reward", {}, {})


def test_trl_loads_when_one_is_used():
    script = (
        "import sys, rewards, grpo.recipe_file, rewards.load; rewards.names(); a = 'trl' in sys.modules\n"
        "rewards.load.load('trl:think_format_reward', {}); print(a, 'trl' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]
