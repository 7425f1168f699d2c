"""Base against trained, from the summary or from what is evaluated so far."""

from dataclasses import replace

from grpo.protocols import Measured
from grpo.report.figures import comparison
from grpo.report.read import read_run


def test_a_finished_run_tells_its_summary(run):
    found = comparison(read_run(run))
    assert (found["final"], found["set"], found["prompts"], found["steps"]) == (
        True,
        "held-out-report",
        5,
        [0, 4],
    )
    rows = {row["label"]: row for row in found["rows"]}
    assert rows["pass@1"]["base"] == {"value": 0.2, "interval": [0.1, 0.3]}
    assert rows["pass@1"]["trained"]["value"] == 0.9
    assert rows["score accuracy"]["base"] == {"value": 0.2, "interval": [0.1, 0.3]}
    assert rows["share thinking"]["trained"] == {"value": 0.4, "interval": [0.2, 0.6]}
    assert rows["length, tokens"]["base"] == {"value": 9.0, "interval": None}  # an end is not known
    assert rows["cut at max_tokens"]["base"] == {"value": 0.25, "interval": None}
    assert "pass@1 of thinking" not in rows  # no figure


OWN = Measured("raw, T=1", "accuracy", (0.2, 0.1, 0.3), (0.7, 0.6, 0.8))
OTHER = Measured("qa, 8 shots, T=0", "accuracy/2", (0.45, 0.35, 0.55), (0.6, 0.5, 0.7))


def test_other_protocols_are_rows_and_the_gain_is_told(run, measure):
    measure(run, [OWN, OTHER])
    found = comparison(read_run(run))
    assert found["gain"].startswith("+0.250 over the base at its best (qa, 8 shots, T=0; accuracy/2); ")
    assert found["rows"][-2:] == [
        {
            "label": "raw, T=1 (accuracy)",
            "base": {"value": 0.2, "interval": [0.1, 0.3]},
            "trained": {"value": 0.7, "interval": [0.6, 0.8]},
        },
        {
            "label": "qa, 8 shots, T=0 (accuracy/2)",
            "base": {"value": 0.45, "interval": [0.35, 0.55]},
            "trained": {"value": 0.6, "interval": [0.5, 0.7]},
        },
    ]


def test_the_recipes_own_protocol_alone_adds_nothing(run, measure):
    before = comparison(read_run(run))
    measure(run, [OWN, replace(OWN, rule="accuracy/2")])
    assert comparison(read_run(run)) == before
    assert "gain" not in before


def test_before_the_end_it_is_the_newest_evaluation(make_run):
    found = comparison(read_run(make_run(3, ended=False)))
    assert (found["final"], found["set"], found["steps"]) == (False, "held-out", [0, 2])
    rows = {row["label"]: row for row in found["rows"]}
    assert rows["pass@1"]["trained"] == {"value": 0.4, "interval": [0.2, 0.4 + 0.2]}
    assert rows["score accuracy"]["trained"] == {"value": 0.4, "interval": None}
    assert list(rows) == ["pass@1", "score accuracy", "length, tokens", "cut at max_tokens"]


def test_before_any_evaluation_there_is_nothing(tmp_path):
    (tmp_path / "metrics.jsonl").touch()
    assert comparison(read_run(tmp_path)) == {"final": False, "rows": []}
