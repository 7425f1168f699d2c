"""Base against trained, from the summary or from what is evaluated so far."""

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
