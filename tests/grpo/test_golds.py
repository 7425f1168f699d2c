"""Golds against their own rules."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from grpo.errors import UserError
from grpo.golds import check_golds
from grpo.recipe import Rule
from grpo.scoring import Scorer
from grpo.types import Prompt

DATA = Path(os.environ.get("GRPO_TEST_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))


def prompts(*answers):
    return [Prompt(f"p{i}", "q", answer, "q", (1,)) for i, answer in enumerate(answers)]


def tags(answer):
    return f"<answer>{answer}</answer>"


def check(scorer, golds, form, action):
    return check_golds(scorer, golds, form, action, name="select")


@pytest.fixture(scope="module")
def scorer():
    with Scorer([Rule(rule="accuracy"), Rule(rule="format")], workers=2) as scorer:
        yield scorer


def test_good_golds_pass_whatever_the_other_rules_score(scorer):
    golds = prompts("1", r"\frac{1}{2}", "x^2", "(1, 2)")
    assert check(scorer, golds, tags, "error") == golds
    assert check(scorer, [], tags, "error") == []


BAD = ["1", "2</answer><answer>3", "4", *[r"\boxed{"] * 6]


def test_bad_golds_are_named(scorer):
    with pytest.raises(UserError) as error:
        check(scorer, prompts(*BAD), tags, "error")
    line = str(error.value)
    assert "7 of 9 golds are not right by accuracy, or cannot be read: p1 (" in line
    assert "p6" in line
    assert "p7" not in line
    assert "and 2 more" in line
    assert "data.bad_gold: drop" in line


def test_a_gold_that_equals_itself_but_nothing_reads_is_bad(scorer):
    golds = prompts("7", "t(0,4]", "Paris", r"\int_0^1 x\,dx")
    assert [p.id for p in check(scorer, golds, tags, "drop")] == ["p0", "p2", "p3"]
    with pytest.raises(UserError, match=r"1 of 4 golds .*: p1 \('t\(0,4\]'\)"):
        check(scorer, golds, tags, "error")


def test_bad_golds_are_dropped(scorer):
    assert [p.id for p in check(scorer, prompts(*BAD), tags, "drop")] == ["p0", "p2"]
    with pytest.raises(UserError, match="none of 1 golds is right"):
        check(scorer, prompts(r"\boxed{"), tags, "drop")


def test_an_answer_form_that_the_rule_does_not_read_is_found(scorer):
    with pytest.raises(UserError, match="2 of 2 golds are not right"):
        check(scorer, prompts("1", "2"), lambda answer: f"The answer is {answer}", "error")


def test_rows_without_a_gold(scorer):
    some = prompts("1", None, " ")
    with pytest.raises(UserError, match=r"2 of 3 rows have no answer, first p1.*bad_gold: drop"):
        check(scorer, some, tags, "error")
    assert check(scorer, some, tags, "drop") == some[:1]
    with pytest.raises(UserError, match=r"2 of 2 rows have no answer.*data.columns$"):
        check(scorer, some[1:], tags, "drop")
    with Scorer([Rule(rule="format")], workers=1) as ungraded:
        assert len(check(ungraded, prompts("1", None), tags, "error")) == 2


@pytest.mark.parametrize(
    ("golds", "dropped"), [(BAD, "7 of 9"), (["1", None, " "], "2 of 3"), (["1", None, *BAD], "8 of 11")]
)
def test_dropped_rows_are_told_in_one_line(scorer, golds, dropped, caplog):
    kept = check(scorer, prompts(*golds), tags, "drop")
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert caplog.messages == [
        f"select: {dropped} rows dropped: golds that are missing, or not right by their own rule"
    ]
    caplog.clear()
    assert check(scorer, kept, tags, "drop") == kept
    assert caplog.messages == []


def test_a_rule_that_raises_on_golds_is_found_before_the_run(tmp_path):
    (tmp_path / "r.py").write_text("def bad(completions): return [1 / 0 for _ in completions]")
    with (
        Scorer([Rule(rule="r.py:bad")], folder=tmp_path, workers=1) as scorer,
        pytest.raises(UserError, match="rule 'bad' raises on every gold tried, on p0: ZeroDivisionError"),
    ):
        check(scorer, prompts("1", "2"), tags, "error")


def test_gsm8k_golds_are_right(scorer):
    if not (DATA / "gsm8k_train.jsonl").exists():
        pytest.skip("data: GRPO_TEST_DATA does not hold gsm8k_train.jsonl")
    rows = [json.loads(line)["answer"] for line in (DATA / "gsm8k_train.jsonl").open()]
    golds = prompts(*(row.rpartition("####")[2].strip() for row in rows))
    assert len(check(scorer, golds, tags, "error")) == 7473


FORM_GATE = {"rule": "combine", "rules": [{"rule": "accuracy", "gate": "format"}, {"rule": "format"}]}


@pytest.mark.parametrize(
    "rule", [FORM_GATE, {"rule": "cosine_length", "max_tokens": 9}], ids=["gate", "length"]
)
def test_golds_are_tried_on_what_grades_them_and_not_on_the_whole_score(rule):
    with Scorer([Rule(**rule)], workers=1) as scorer:
        golds = prompts("1", "2")
        assert scorer.score(golds, [tags("1"), tags("2")])[0][0].score != 1.0
        assert check(scorer, golds, tags, "error") == golds
        with pytest.raises(UserError, match="1 of 2 golds are not right by"):
            check(scorer, prompts("1", r"\boxed{"), tags, "error")


def test_rules_of_length_can_be_tried_on_golds():
    rules = [Rule(rule="accuracy"), Rule(rule="overlong", max_tokens=9), Rule(rule="repetition")]
    with Scorer(rules, workers=1) as scorer:
        assert len(check(scorer, prompts("1", "2"), tags, "error")) == 2
