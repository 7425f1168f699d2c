"""Each flag on a run with that fault planted, and on one without it."""

from __future__ import annotations

import json

import pytest

from grpo.errors import UserError
from grpo.hacking.flags import THRESHOLDS
from grpo.hacking.report import completion_of, watch
from grpo.samples import read_samples, sample_files

RIGHT = {"verdict": "right", "rung": "string"}
WRONG = {"verdict": "wrong", "rung": "string"}
CHINESE = "我们把两个数相加然后进位到下一位得到最后的结果"


def worked(draw, *more: str) -> str:
    return " ".join([*(f"then {draw.randrange(10**6)}" for _ in range(12)), *more])


PLANTS = {
    "identical_within": lambda draw, gold, _: (
        f"<think>to find {gold} we add up all there is to add</think><answer>{gold}0</answer>", WRONG,
    ),
    "identical_across": lambda draw, gold, _: (
        f"<think>the answer is surely a small number {draw.randrange(6)}</think><answer>7</answer>", WRONG,
    ),
    "no_reasoning": lambda draw, gold, _: (f"<think></think><answer>{draw.randrange(10**9)}</answer>", WRONG),
    "repetition": lambda draw, gold, _: (
        f"<think>{worked(draw)} {'let me check again. ' * 60}</think><answer>{gold}</answer>", RIGHT,
    ),
    "language_mixing": lambda draw, gold, _: (
        f"<think>{worked(draw, CHINESE)}</think><answer>{gold}</answer>", RIGHT,
    ),
    "several_answers": lambda draw, gold, _: (
        rf"<think>{worked(draw)}</think>\boxed{{{draw.randrange(99)}}} or \boxed{{{gold}}}", RIGHT,
    ),
    "loosest_rung": lambda draw, gold, _: (
        rf"<think>{worked(draw)}</think>\boxed{{\frac{{2 \cdot {gold}}}{{2}}}}",
        RIGHT | {"rung": "math_verify"},
    ),
}  # fmt: skip


def test_every_sign_has_a_plant():
    assert set(PLANTS) == set(THRESHOLDS)


@pytest.mark.parametrize("sign", PLANTS)
def test_a_planted_fault_raises_its_flag_and_no_other(run_of, sign):
    folder = run_of(PLANTS[sign], flat=sign == "identical_within")
    report = watch(folder)
    flags = {finding.check: finding for finding in report.flagged}
    expected = {sign, "reward_held_out"} if sign == "identical_within" else {sign}
    if sign == "identical_across":  # the same few texts meet within groups too, at times
        flags.pop("identical_within", None)
    assert set(flags) == expected
    found = flags[sign]
    assert min(found.steps) > 8  # it was planted from step 9 on
    assert max(found.steps) == 16
    assert found.figures["after"] - found.figures["before"] >= THRESHOLDS[sign].rise
    rows = {
        f"{row['step']}/{row['prompt_id']}/{row['sample']}": row
        for path in sample_files(folder)
        for row in read_samples(path)
    }
    assert found.samples
    for name in found.samples:
        assert name in rows
        assert rows[name]["step"] > 8
        assert rows[name]["sample"] % 2  # the plants, not the honest ones beside them
        assert completion_of(folder, name) == rows[name]["completion"]


@pytest.mark.parametrize("sign", [sign for sign in PLANTS if sign != "identical_within"])
def test_what_was_there_from_the_start_came_not_from_the_reward(run_of, sign):
    assert [finding.check for finding in watch(run_of(PLANTS[sign], late=False)).flagged] == []


def test_reward_up_while_held_out_accuracy_is_flat(run_of):
    report = watch(run_of(flat=True))
    (found,) = report.flagged
    assert found.check == "reward_held_out"
    assert found.steps == list(range(1, 17))
    assert found.figures["held_out"] == [0.3, 0.3]
    assert "extra" in found.figures["rules"]
    wrong = [json.loads(row["extras/accuracy"])["verdict"] for row in _rows(report.run, found.samples)]
    assert set(wrong) == {"wrong"}  # paid for, and not for being right


def _rows(folder, names):
    from pathlib import Path

    rows = [row for path in sample_files(Path(folder)) for row in read_samples(path)]
    return [row for row in rows if f"{row['step']}/{row['prompt_id']}/{row['sample']}" in names]


def test_an_honest_run_raises_no_flag(run_of):
    report = watch(run_of())
    assert {finding.check: finding.status for finding in report.findings} == dict.fromkeys(
        ("reward_held_out", *THRESHOLDS), "clear"
    )


def test_a_run_without_grader_or_evaluations_is_not_judged_by_them(run_of):
    import pyarrow.parquet as pq

    folder = run_of()
    (folder / "metrics.jsonl").unlink()
    for path in sample_files(folder):
        table = pq.read_table(path)
        pq.write_table(table.drop_columns([n for n in table.column_names if n.endswith("/accuracy")]), path)
    status = {finding.check: finding.status for finding in watch(folder).findings}
    assert [check for check, what in status.items() if what == "not judged"] == [
        "reward_held_out",
        "loosest_rung",
    ]


def test_no_run_is_told(tmp_path):
    with pytest.raises(UserError, match="no samples of a run"):
        watch(tmp_path)
