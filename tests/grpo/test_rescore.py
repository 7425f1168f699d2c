"""Samples as a run writes them, scored again."""

from __future__ import annotations

import json

import pytest
import yaml

from grpo.errors import UserError
from grpo.old_run import compared_with, open_run, spec_for
from grpo.rescore import flat_share, move, request_of, rescore, total
from grpo.samples import read_samples, sample_files, write_samples
from grpo.trial import Lines
from grpo.types import Group, Prompt, Rollout
from rewards.score import Score

RECIPE = {
    "rewards": [
        {"rule": "accuracy", "weight": 2.0, "timeout": 3.0},
        {"rule": "rules.py:near", "target": 7},
    ],
    "train": {"steps": 9},
}


def group(ident, gold, texts, scores, messages=False, **columns):
    asked = [{"role": "user", "content": ident}] if messages else ident
    prompt = Prompt(ident, asked, gold, f"Q {ident} A", (1,), columns)
    rollouts = tuple(
        Rollout(ident, i, (1,), (5, 6 + i), (True,) * 2, (-1.0,) * 2, (0,) * 2, text, "stop")
        for i, text in enumerate(texts)
    )
    rows = tuple(tuple(Score(s, "none" if s is None else "ok", 0.0) for s in row) for row in scores)
    return Group(prompt, rollouts, rows, rewards=(0.0,) * len(texts), advantages=(0.0,) * len(texts))


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Folder of a run of two steps whose accuracy was wrong about some completions."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "run"
    right, wrong = r"\boxed{4}", r"\boxed{5}"
    first = [
        group("a", "4", [right, wrong], [(1.0, 0.5), (0.0, 0.5)], unit="cm"),
        group("b", "4", [right, right], [(1.0, 0.5), (0.0, 0.5)], unit="m"),  # the second was right
    ]
    second = [
        group(
            "c", "5", [right, wrong, wrong], [(1.0, 0.0), (1.0, 0.0), (None, 0.0)], messages=True, unit=None
        )
    ]
    for step, groups in ((1, first), (2, second)):
        write_samples(folder, step, groups, ["accuracy", "near"])
    (folder / "recipe.yaml").write_text(yaml.safe_dump(RECIPE))
    return folder


def again(run, rule, against=None, out=None, **options):
    old = open_run(run)
    with Lines(out) as lines:
        return rescore(old, spec_for(old, rule, options, {}), compared_with(old, rule, against), lines)


def test_what_would_have_changed(run, tmp_path):
    out = tmp_path / "out.jsonl"
    found = again(run, "accuracy", out=out)
    assert found.against == "accuracy"
    assert [(c.id, c.before, c.after, c.move, c.extracted) for c in found.changes] == [
        ("1/b/1", 0.0, 1.0, "up", "4"),
        ("2/c/0", 1.0, 0.0, "down", "4"),
        ("2/c/2", None, 1.0, "gained", "5"),
    ]
    assert found.moves == {"up": 1, "down": 1, "gained": 1}
    one, two = found.steps
    assert (one.step, one.completions, one.changed) == (1, 4, 1)
    assert (one.before, one.after) == (0.5, 0.75)
    assert (one.reward_before, one.reward_after) == (1.5, 2.0)  # weight 2 for accuracy, 1 for near's 0.5
    assert (one.flat_before, one.flat_after) == (0.0, 0.5)
    assert (two.before, two.after) == (1.0, pytest.approx(2 / 3))
    assert two.reward_before == pytest.approx(4 / 3)  # near alone gave the third its 0
    lines = [json.loads(line) for line in out.open()]
    assert [(x["step"], x["prompt_id"], x["sample"]) for x in lines][:3] == [
        (1, "a", 0),
        (1, "a", 1),
        (1, "b", 0),
    ]
    assert [x["before"] for x in lines] == [1, 0, 1, 0, 1, 1, None]
    assert [x["score"] for x in lines] == [1, 0, 1, 1, 0, 1, 1]
    assert {"verdict", "rung", "extracted"} <= set(lines[0])


def test_the_rule_sees_what_it_saw_in_the_run(run):
    first, second = (read_samples(path) for path in sample_files(run))
    seen = request_of(first[2:], 9)
    assert (seen.prompts, seen.completions) == (["b", "b"], [r"\boxed{4}"] * 2)
    assert seen.columns == {"unit": ["m"] * 2, "answer": ["4"] * 2, "prompt_text": ["Q b A"] * 2}
    assert seen.completion_ids == [[5, 6], [5, 7]]
    assert seen.trainer_state == {"global_step": 0, "max_steps": 9}
    messages = request_of(second, 9)
    assert messages.prompts[0] == [{"role": "user", "content": "c"}]
    assert messages.completions[1] == [{"role": "assistant", "content": r"\boxed{5}"}]
    assert messages.trainer_state["global_step"] == 1


def test_an_own_rule_against_one_of_the_runs(run, tmp_path):
    (tmp_path / "own.py").write_text(
        "def longer(completions, unit, *, least=3):\n"
        "    if unit[0] is None:\n        raise ValueError('no unit')\n"
        "    return [float(len(u) >= least) for u in unit]\n"
    )
    alone = again(run, "own.py:longer", least=2)
    assert (alone.against, alone.changes, alone.steps[0].before) == (None, [], None)
    assert alone.steps[0].after == 0.5  # cm has two letters, m one
    assert alone.statuses == {"ok": 4, "error": 3}
    assert alone.error.startswith("2/c/0: ")
    compared = again(run, "own.py:longer", against="accuracy", least=2)
    assert [(c.id, c.move) for c in compared.changes] == [
        ("1/a/1", "up"), ("1/b/0", "down"), ("2/c/0", "lost"), ("2/c/1", "lost"),
    ]  # fmt: skip


def test_options_and_limit_are_the_runs_unless_given(run):
    old = open_run(run)
    assert spec_for(old, "near", {}, {}).options == {"target": 7}
    assert spec_for(old, "rules.py:near", {"target": 1}, {"timeout": 2.0}).options == {"target": 1}
    assert spec_for(old, "other.py:near", {}, {}).options == {}  # a file of its own
    assert [spec_for(old, "accuracy", {}, limits).timeout for limits in ({}, {"timeout": 1.0})] == [3.0, 1.0]
    assert spec_for(old, "format", {}, {}).timeout == 5.0
    assert [compared_with(old, rule, None) for rule in ("accuracy", "new.py:near", "format")] == [0, 1, None]


def test_a_wrong_run_is_one_clear_line(run, tmp_path):
    with pytest.raises(UserError, match=r"--against: the run had no rule 'acuracy'\. Did you mean accuracy"):
        compared_with(open_run(run), "format", "acuracy")
    with pytest.raises(UserError, match="no samples of a run"):
        open_run(tmp_path)
    (run / "recipe.yaml").write_text(yaml.safe_dump(RECIPE | {"rewards": RECIPE["rewards"][:1]}))
    with pytest.raises(UserError, match="1 rules, but the samples hold scores of 2"):
        open_run(run)
    (run / "recipe.yaml").write_text("[")
    with pytest.raises(UserError, match="no recipe of a run") as error:
        open_run(run)
    assert "\n" not in str(error.value)


def test_moves_totals_and_flat_groups():
    assert [move(*pair) for pair in ((0, 1), (1, 0), (None, 0), (0, None), (None, None), (0.5, 0.5))] == [
        "up", "down", "gained", "lost", None, None,
    ]  # fmt: skip
    assert total([1.0, None, 0.5], [2.0, 9.0, 1.0]) == 2.5
    assert total([None, None], [1.0, 1.0]) is None
    assert flat_share([1.0, 1.0, 1.0, 0.0, 1.0, None], [2, 2, 2]) == pytest.approx(2 / 3)
