"""`grpo reward` on real files."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from grpo.cli.reward import quantile, read_rows, reward
from grpo.errors import UserError


@pytest.fixture
def grpo_reward(tmp_path):
    """Runs the command on some rows; gives its result, or raises what it raised."""
    app = typer.Typer()
    app.command()(reward)

    def run(rule, rows, *arguments):
        file = tmp_path / "rows.jsonl"
        file.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
        result = CliRunner().invoke(app, [rule, str(file), *arguments])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return run


ROWS = [
    {"prompt": "q", "completion": r"\boxed{4}", "answer": "4", "label": True},
    {"prompt": "q", "completion": r"\boxed{5}", "answer": "4", "label": 1},
    {"prompt": "r", "completion": "four", "answer": "4", "label": False},
    {"completion": [{"role": "assistant", "content": r"\boxed{x}"}], "answer": "x"},
]


def test_scores_in_order_and_a_summary(grpo_reward, tmp_path):
    out = tmp_path / "scores.jsonl"
    result = grpo_reward("accuracy", ROWS, "--out", str(out), "--json")
    assert result.exit_code == 0
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert [line["score"] for line in lines] == [1.0, 0.0, 0.0, 1.0]
    assert [line["verdict"] for line in lines] == ["right", "wrong", "unextracted", "right"]
    assert list(lines[0]) == ["score", "status", "seconds", "verdict", "rung", "extracted"]
    summary = json.loads(result.stdout)
    assert summary["rows"] == 4
    assert summary["mean"] == 0.5
    assert summary["statuses"] == {"ok": 4}
    assert summary["labelled"] == 3
    assert [(row["line"], row["label"], row["score"]) for row in summary["disagreements"]] == [(2, 1.0, 0.0)]
    assert set(summary["seconds"]) == {"p50", "p99", "max"}


def test_rules_of_length_read_a_column_of_token_ids(grpo_reward):
    rows = [{"completion": "x", "completion_ids": [1] * length} for length in (5, 9, 12)]
    result = grpo_reward("overlong", rows, "--option", "max_tokens=10", "--option", "cache=4", "--json")
    assert json.loads(result.stdout)["mean"] == pytest.approx((0 - 0.75 - 1) / 3)
    with pytest.raises(UserError, match="needs the completions' token ids"):
        grpo_reward("overlong", [*rows, {"completion": "x"}], "--option", "max_tokens=10")


def test_the_table(grpo_reward):
    output = grpo_reward("accuracy", ROWS).stdout
    assert "0.5000" in output
    assert "1 of 3" in output
    assert "line 2: label 1, score 0, extracted '5'" in output


def test_own_rule_with_options_a_group_at_a_time(grpo_reward, tmp_path):
    (tmp_path / "mine.py").write_text(
        "def f(prompts, completions, level, *, target=0):\n"
        "    return [len(completions) * target + (l or 0) for l in level]\n"
    )
    out = tmp_path / "scores.jsonl"
    rows = [
        *({"prompt": "q", "completion": "a", "level": i} for i in range(3)),
        {"prompt": "r", "completion": "a"},
    ]
    grpo_reward(f"{tmp_path}/mine.py:f", rows, "--option", "target=100", "--out", str(out))
    assert [json.loads(line)["score"] for line in out.open()] == [300.0, 301.0, 302.0, 100.0]


RAISING = """
def f(completions, always, **columns):
    if always[0]:
        raise KeyError("no unit")
    return [1.0 for _ in completions]
"""


def test_what_a_rule_raised_is_told(grpo_reward, tmp_path):
    (tmp_path / "mine.py").write_text(RAISING)
    out = tmp_path / "scores.jsonl"
    rows = [{"prompt": str(i), "completion": "a", "always": i > 0} for i in range(3)]
    some = grpo_reward(f"{tmp_path}/mine.py:f", rows, "--out", str(out))
    assert some.exit_code == 0
    assert "first error: KeyError" in some.stdout
    assert [json.loads(line)["score"] for line in out.open()] == [1.0, None, None]
    none = grpo_reward(f"{tmp_path}/mine.py:f", rows[1:], "--json", "--out", str(out))
    assert none.exit_code == 1  # not one score
    assert "no unit" in json.loads(none.stdout)["error"]
    assert len(out.read_text().splitlines()) == 2


def test_a_hanging_completion_is_shown(grpo_reward, tmp_path):
    rows = [{"completion": r"\boxed{9^{9^{9^9}}}", "answer": "3"}, ROWS[0]]
    out = tmp_path / "scores.jsonl"
    result = grpo_reward("accuracy", rows, "--timeout", "0.5", "--json", "--out", str(out))
    assert json.loads(result.stdout)["statuses"] == {"timeout": 1, "ok": 1}
    assert [json.loads(line)["status"] for line in out.open()] == ["timeout", "ok"]


@pytest.mark.parametrize(
    ("rule", "rows", "arguments", "message"),
    [
        ("accuracy", [ROWS[0], "{oops"], (), r"rows.jsonl:2: not JSON"),
        ("accuracy", [ROWS[0], "[1]"], (), r"rows.jsonl:2: a line must hold an object"),
        (
            "accuracy",
            [{"text": "x", "answer": "4"}],
            (),
            r"rows.jsonl:1: .*'completion'; columns: text, answer",
        ),
        ("accuracy", [], (), "the file is empty"),
        ("accuracy", [{"completion": "x"}], (), "accuracy: wants column 'answer'"),
        ("accuracy", [{**ROWS[0], "label": "yes"}], (), "rows.jsonl:1: label 'yes' is no number"),
        ("acuracy", ROWS, (), "Did you mean 'accuracy'"),
        ("format", ROWS, ("--option", "prefilled"), "'prefilled' is no option"),
        ("format", ROWS, ("--option", "prefilled=["), r"--option prefilled: '\[' is no YAML value"),
        ("format", ROWS, ("--option", "prefiled=true"), "Did you mean 'prefilled'"),
        ("format", ROWS, ("--out", "no/such/folder/x"), "no folder no/such/folder"),
    ],
)
def test_wrong_input_is_one_clear_line(grpo_reward, rule, rows, arguments, message):
    with pytest.raises(UserError, match=message) as error:
        grpo_reward(rule, rows, *arguments)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("rule", "row"), [("acuracy", ROWS[0]), ("accuracy", {"completion": "x"})])
def test_wrong_input_leaves_older_scores_alone(grpo_reward, tmp_path, rule, row):
    (tmp_path / "scores.jsonl").write_text("older")
    with pytest.raises(UserError):
        grpo_reward(rule, [row], "--out", str(tmp_path / "scores.jsonl"))
    assert (tmp_path / "scores.jsonl").read_text() == "older"


def test_a_missing_file():
    with pytest.raises(UserError, match="no such file"):
        read_rows(Path("nowhere.jsonl"))


def test_nothing_computed_is_lost_on_ctrl_c(tmp_path):
    (tmp_path / "mine.py").write_text(
        "import time\n"
        "def f(completions):\n    time.sleep(600 * (completions[0] == 'hang'))\n    return [1.0]\n"
    )
    rows = ["a", "hang", "a", "a", "hang", "hang"]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps({"completion": text}) + "\n" for text in rows))
    script = (
        "import typer; from grpo.cli.reward import reward; app = typer.Typer(); app.command()(reward); "
        "import os; os.cpu_count = lambda: 2; app()"
    )
    command = [
        sys.executable,
        "-c",
        script,
        "mine.py:f",
        "rows.jsonl",
        "--out",
        "out.jsonl",
        "--timeout",
        "600",
    ]
    process = subprocess.Popen(
        command, cwd=tmp_path, stderr=subprocess.DEVNULL, env={**os.environ, "COLUMNS": "80"}
    )
    try:
        out = tmp_path / "out.jsonl"
        for _ in range(600):  # the first row is written at once, the second holds up the rest
            if out.exists() and out.read_text():
                break
            time.sleep(0.05)
        time.sleep(2)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) != 0
    finally:
        process.kill()
        process.wait()
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert [line["status"] for line in lines] == ["ok", "not run", "ok", "ok"]


def test_quantile():
    assert quantile([1.0, 2.0, 3.0, 4.0], 0.5) == 2.0
    assert quantile([1.0, 2.0, 3.0, 4.0], 0.99) == 4.0
    assert quantile([1.0], 0.5) == 1.0
