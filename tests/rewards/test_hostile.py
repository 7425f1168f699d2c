"""Hostile texts as answers, golds and whole completions, through the pool that a run uses."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

import pytest

from rewards.runner import RuleSpec, Runner

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
from hostile_texts import ANSWERS, CODE, HANGS, LAST_RUNG, WIDE
from soak_rewards import soak

INTEGRAL = r"\int_0^1 x\,dx"
GOLDS = ["3", r"2\sqrt{7}", "x + 1", "3:4", r"\{1, 2, 3\}", r"\text{Evelyn}", INTEGRAL]
PATIENT = 30.0  # seconds: much for what takes one, little for what grows with the square of its length
OTHERS = [
    RuleSpec(name, options, timeout=PATIENT)
    for name, options in (
        ("accuracy", {}),
        ("choice", {}),
        ("format", {}),
        ("format", {"strict": False}),
        ("json_schema", {"schema": {"type": "object"}}),
        ("language", {}),
        ("reasoning_steps", {}),
        ("repetition", {}),
        ("repetition", {"unit": "word"}),
        ("tag_count", {}),
        ("cosine_length", {"max_tokens": 100}),
        ("overlong", {"max_tokens": 100}),
    )
]


def boxed(answer):
    return rf"\boxed{{{answer}}}"


def tagged(answer):
    return f"<answer>{answer}</answer>"


def scored(runner, groups, rules=(0,)):
    """Scores by key; groups are keys with completions and golds. Accuracy alone, where no rules are named."""
    for key, (completions, golds) in groups.items():
        ids = [list(text.encode(errors="replace")) for text in completions]
        runner.submit(key, ["q"] * len(golds), completions, {"answer": golds}, ids, rules=rules)
    return {key: rows for key, rows, _ in runner.wait()}


@pytest.fixture(scope="module")
def patient():
    """Runs all rules; what goes through it must kill no worker."""
    with Runner(OTHERS, workers=2) as runner:
        runner.infos()
        yield runner


@pytest.fixture
def undisturbed(patient, workers):
    """Fails where a worker was replaced."""
    scored(patient, {k: ([boxed(3)], ["3"]) for k in range(4)})
    before = workers()
    assert len(before) == 2
    yield patient
    assert workers() == before


@pytest.mark.parametrize("written", [boxed, tagged])
def test_hostile_answers_are_wrong_and_cost_nobody_else(undisturbed, written):
    groups = {
        (name, gold): ([boxed(gold), written(text), boxed(5)], [gold] * 3)
        for name, text in ANSWERS.items()
        for gold in GOLDS
        if gold != INTEGRAL or name not in LAST_RUNG
    }
    for key, rows in scored(undisturbed, groups).items():
        scores = [(row[0].score, row[0].status) for row in rows]
        assert scores == [(1.0, "ok"), (0.0, "ok"), (0.0, "ok")], key


def test_hostile_golds_are_graded_or_excluded(undisturbed):
    groups = {name: ([boxed(3), boxed(text)], [text] * 2) for name, text in ANSWERS.items()}
    own = []
    for key, rows in scored(undisturbed, groups).items():
        first, itself = (row[0] for row in rows)
        assert first.score in (0.0, None), key
        assert first.status == ("none" if first.score is None else "ok"), key
        assert first.ungraded == (first.score is None), key
        own.append(itself.score)
    assert own.count(1.0) > len(own) / 2


@pytest.mark.parametrize(
    ("gold", "texts"), [("3", HANGS), (INTEGRAL, HANGS | {name: ANSWERS[name] for name in LAST_RUNG})]
)
def test_answers_that_hang_cost_themselves_alone(workers, eventually, gold, texts):
    others = workers()
    with Runner([RuleSpec("accuracy", timeout=2.0)], workers=2) as runner:
        hostile = [boxed(text) for text in texts.values()]
        rows = scored(runner, {"k": ([boxed(gold), *hostile, boxed(5)], [gold] * (len(hostile) + 2))})["k"]
        assert [(row[0].score, row[0].status) for row in rows] == [
            (1.0, "ok"),
            *[(0.0, "timeout")] * len(hostile),
            (0.0, "ok"),
        ]
        assert eventually(lambda: len(workers() - others) == 2)
        assert scored(runner, {"k": ([boxed(gold)], [gold])})["k"][0][0].score == 1.0


@pytest.mark.parametrize("name", WIDE)
def test_bait_for_the_rules_costs_no_worker(undisturbed, name):
    rows = scored(undisturbed, {"k": ([boxed(3), WIDE[name], boxed(5)], ["3"] * 3)}, range(len(OTHERS)))["k"]
    assert {score.status for row in rows for score in row} <= {"ok", "none"}
    assert [row[0].score for row in rows] == [1.0, 0.0, 0.0]


def test_code_in_answers_and_golds_is_not_run(undisturbed, tmp_path):
    mark = tmp_path / "mark"
    texts = [text.format(mark=mark) for text in CODE.values()]
    wanted = {}
    for text in texts:
        for said in (boxed(text), tagged(text), text):
            wanted |= {(said, gold): ([said], [gold]) for gold in (*GOLDS, text, boxed(text))}
    scored(undisturbed, wanted, range(len(OTHERS)))
    assert not mark.exists()


@pytest.mark.parametrize("name", ["import", "lambda", "eval", "sympify"])
def test_the_code_would_run_where_sympy_evaluates_it(tmp_path, name):
    from sympy.parsing.sympy_parser import parse_expr

    mark = tmp_path / "mark"
    with contextlib.suppress(Exception):
        parse_expr(CODE[name].format(mark=mark))
    assert mark.exists()


def test_tags_and_boxes_in_the_question_answer_nothing(undisturbed):
    question = r"</think><answer>3</answer> \boxed{3} What is 1 + 2? <think></think>"
    texts = ["so it is 3", boxed(5), tagged(5), boxed(3)]
    undisturbed.submit("k", [question] * 4, texts, {"answer": ["3"] * 4}, [[1]] * 4)
    ((_, rows, _),) = undisturbed.wait()
    assert [row[0].score for row in rows] == [0.0, 0.0, 0.0, 1.0]
    assert [row[2].score for row in rows] == [0.0] * 4


def test_memory_does_not_grow_with_repeats():
    """Caches of 512 entries fill meanwhile: 13 MB a worker in this many repeats, 25 MB in 10,000."""
    first, *_, last = soak(800)
    assert last.statuses == {"ok"}
    assert len(last.workers) == 2
    assert last.parent - first.parent < 10
    assert max(last.workers) - min(first.workers) < 40
