"""What a rule is given and what it may return."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest

from rewards.call import Request, call
from rewards.errors import RuleError
from rewards.load import load

REQUEST = Request(
    ["q", "q"], ["a", "b"], {"answer": ["1", "2"], "level": [3, 4]}, [[1], [2, 3]], {"global_step": 7}
)


@pytest.fixture
def run(rule_file):
    def run(body: str, request: Request = REQUEST, **options):
        return call(load(f"{rule_file(body)}:f", options), request)

    return run


def test_a_rule_gets_what_it_names(run):
    assert run("def f(completions, level): return level").scores == [3.0, 4.0]
    assert run("def f(completions, nothing=(8, 9)): return nothing").scores == [8.0, 9.0]


def test_a_rule_with_columns_gets_everything(run):
    seen = run(
        "def f(**kw):\n"
        "    kw['log_extra']('seen', [','.join(sorted(kw))] * 2)\n"
        "    kw['log_extra']('step', [kw['trainer_state'].global_step] * 2)\n"
        "    return [len(ids) for ids in kw['completion_ids']]"
    )
    assert seen.scores == [1.0, 2.0]
    assert seen.extras[0] == {
        "seen": "answer,completion_ids,completions,level,log_extra,log_metric,prompts,trainer_state",
        "step": 7,
    }


def test_options_reach_the_rule_and_columns_of_their_name_do_not(run):
    source = "def f(completions, *, level=5, **columns): return [level] * 2"
    assert run(source).scores == [5.0, 5.0]
    assert run(source, level=6).scores == [6.0, 6.0]


def test_async_rules_are_awaited(run):
    assert run(
        "import asyncio\nasync def f(completions):\n    await asyncio.sleep(0)\n    return [1, None]"
    ).scores == [1.0, None]


def test_numbers_of_all_kinds_and_none(run):
    answer = run(
        "from fractions import Fraction\ndef f(completions): return (True, Fraction(1, 2))",
    )
    assert answer.scores == [1.0, float(Fraction(1, 2))]
    assert run("def f(completions): return [None, float('nan')]").scores == [None, None]


def test_metrics_are_means_and_show_in_every_extras(run):
    answer = run(
        "def f(completions, log_metric, log_extra):\n"
        "    log_metric('m', 1); log_metric('m', 2); log_extra('e', [object, 2.5])\n    return [0, 0]"
    )
    assert math.isclose(answer.metrics["m"], 1.5)
    assert answer.extras == [{"m": 1.5, "e": "<class 'object'>"}, {"m": 1.5, "e": 2.5}]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("def f(completions): return [1.0]", "returned 1 scores for 2 completions"),
        ("def f(completions): return 1.0", "returned float, not a list"),
        ("def f(completions): return 'ab'", "returned str, not a list"),
        ("def f(completions): return {'a': 1, 'b': 2}", "returned dict, not a list"),
        ("def f(completions): return ['1', 2]", "returned '1' as a score"),
        ("def f(completions): return [[1], 2]", r"returned \[1\] as a score"),
        ("def f(completions): return [float('inf'), 2]", "returned inf as a score"),
        ("def f(completions): return [10**400, 2]", "returned 10+ as a score"),
        ("def f(completions, solution): return [1, 2]", "wants column 'solution'.*Columns: answer, level"),
        ("def f(completions, log_extra): log_extra('x', [1])", "was given 1 values for 2 completions"),
    ],
)
def test_a_wrong_answer_is_a_rule_error(run, body, message):
    with pytest.raises(RuleError, match=message) as error:
        run(body)
    assert "my_rules.py:f" in str(error.value)


def test_rows_of_a_request():
    one = REQUEST.rows([1])
    assert (one.prompts, one.completions, one.completion_ids) == (["q"], ["b"], [[2, 3]])
    assert one.columns == {"answer": ["2"], "level": [4]}
    assert REQUEST.rows([0, 1]) is REQUEST
