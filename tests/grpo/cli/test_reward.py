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

from grpo.cli.reward import reward
from grpo.errors import UserError
from grpo.samples import write_samples
from grpo.trial import read_rows
from grpo.types import Group, Prompt, Rollout
from rewards.score import Score


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
    assert "first error: line 2: KeyError: 'no unit', mine.py line 4" in some.stdout
    assert [json.loads(line)["score"] for line in out.open()] == [1.0, None, None]
    none = grpo_reward(f"{tmp_path}/mine.py:f", rows[1:], "--json", "--out", str(out))
    assert none.exit_code == 1  # not one score
    assert "no unit" in json.loads(none.stdout)["error"]
    assert len(out.read_text().splitlines()) == 2


def test_a_hanging_completion_is_shown(grpo_reward, tmp_path):
    rows = [{"completion": r"\boxed{\sum_{k=1}^{10^{100}} k!}", "answer": "3"}, ROWS[0]]
    out = tmp_path / "scores.jsonl"
    result = grpo_reward("accuracy", rows, "--timeout", "0.5", "--json", "--out", str(out))
    assert json.loads(result.stdout)["statuses"] == {"timeout": 1, "ok": 1}
    assert [json.loads(line)["status"] for line in out.open()] == ["timeout", "ok"]


@pytest.mark.parametrize(
    ("arguments", "seen"),
    [((), (4.0, "no")), (("--memory", "0.5"), (0.5, "no")), (("--network",), (4.0, "yes"))],
)
def test_memory_and_network_are_given_to_the_rule(grpo_reward, tmp_path, arguments, seen):
    rule = tmp_path / "r.py"
    rule.write_text(
        "import resource, socket\n"
        "def see(completions, log_extra):\n"
        "    with open('/proc/self/statm') as file: mapped = int(file.read().split()[0]) * 4096\n"
        "    log_extra('left', [(resource.getrlimit(resource.RLIMIT_AS)[0] - mapped) / 2**30])\n"
        "    try: socket.create_connection(('127.0.0.1', 9))\n"
        "    except ConnectionRefusedError: log_extra('network', ['yes'])\n"
        "    except OSError: log_extra('network', ['no'])\n"
        "    return [1.0]\n"
    )
    out = tmp_path / "scores.jsonl"
    grpo_reward(f"{rule}:see", [{"completion": "x"}], "--out", str(out), *arguments)
    found = json.loads(out.read_text())
    assert (found["left"], found["network"]) == (pytest.approx(seen[0], abs=0.1), seen[1])


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
        ("accuracy", [{**ROWS[0], "label": "yes"}], (), "rows.jsonl:1: label 'yes' is none. Write true"),
        ("accuracy", ROWS, ("--on", "runs/x"), "Give a JSONL file, or --on RUN"),
        ("accuracy", ROWS, ("--against", "format"), "--against: .* Give --on RUN too"),
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


def test_the_confusion_against_labels(grpo_reward, tmp_path):
    (tmp_path / "mine.py").write_text(
        "def f(completions, say, **columns):\n"
        "    if say[0] == 'raise':\n        raise ValueError('odd')\n"
        "    return [None if s is None else s for s in say]\n"
    )
    said = [
        (1, True), (1, "right"), (0, 1), ("raise", True), (None, True),
        (0, False), (1, "wrong"), (1, 0),
        ("raise", "ungraded"), (0, "ungraded"), (0, None),
    ]  # fmt: skip
    rows = [{"completion": "a", "say": say, "label": label} for say, label in said]
    result = grpo_reward(f"{tmp_path}/mine.py:f", rows, "--json")
    summary = json.loads(result.stdout)
    assert summary["confusion"] == {
        "right": {"right": 2, "wrong": 1, "ungraded": 2},
        "wrong": {"right": 2, "wrong": 1, "ungraded": 0},
        "ungraded": {"right": 0, "wrong": 1, "ungraded": 1},
    }
    assert [row["line"] for row in summary["disagreements"]] == [3, 4, 5, 7, 8, 10]
    shown = " ".join(grpo_reward(f"{tmp_path}/mine.py:f", rows).stdout.split())
    assert "false positives │ 2 of 3" in shown
    assert "false negatives │ 3 of 5" in shown
    assert "│ right │ 2 │ 1 │ 2 │" in shown
    assert "line 10: label ungraded, score 0" in shown


def test_labels_that_are_scores_have_no_confusion(grpo_reward):
    rows = [{**ROWS[0], "label": 0.5}, ROWS[1]]
    assert json.loads(grpo_reward("accuracy", rows, "--json").stdout)["confusion"] is None
    assert json.loads(grpo_reward("accuracy", ROWS[3:], "--json").stdout)["confusion"] is None  # no label


def test_every_line_has_a_verdict_also_of_a_rule_that_logs_none(grpo_reward, tmp_path):
    (tmp_path / "mine.py").write_text(RAISING)
    out = tmp_path / "scores.jsonl"
    rows = [{"completion": "a", "always": raises} for raises in (False, True)]
    grpo_reward(f"{tmp_path}/mine.py:f", rows, "--out", str(out))
    lines = [json.loads(line) for line in out.open()]
    logged = [{name: line[name] for name in ("verdict", "rung", "extracted")} for line in lines]
    assert logged == [dict.fromkeys(logged[0]), dict.fromkeys(logged[0]) | {"verdict": "ungraded"}]


def test_an_async_rule(grpo_reward, tmp_path):
    (tmp_path / "mine.py").write_text(
        "import asyncio\n"
        "async def judge(text):\n    await asyncio.sleep(0.01)\n    return float(text == 'good')\n"
        "async def f(completions, **columns):\n"
        "    return await asyncio.gather(*map(judge, completions))\n"
    )
    out = tmp_path / "scores.jsonl"
    rows = [{"prompt": "q", "completion": text} for text in ("good", "bad", "good")]
    grpo_reward(f"{tmp_path}/mine.py:f", rows, "--out", str(out))
    assert [json.loads(line)["score"] for line in out.open()] == [1.0, 0.0, 1.0]


def test_the_list_of_rules():
    app = typer.Typer()
    app.command()(reward)
    shown = CliRunner().invoke(app, ["--list"]).stdout
    (line,) = [line for line in shown.splitlines() if line.startswith("format ")]
    assert "1 where the completion is `<think>…</think><answer>…</answer>`, else 0." in line
    assert "prefilled=False" in line
    listed = {
        entry["name"]: entry for entry in json.loads(CliRunner().invoke(app, ["--list", "--json"]).stdout)
    }
    assert listed["accuracy"]["grades_answer"] is True
    assert listed["format"]["options"] == {"strict": True, "prefilled": False}


def test_without_a_rule_the_list_is_named():
    with pytest.raises(UserError, match="grpo reward --list"):
        reward()


@pytest.fixture
def finished(tmp_path):
    """Folder of a run of one step, whose one completion of two was misjudged."""
    prompt = Prompt("p", "2+2?", "4", "2+2?", (1,))
    texts = (r"\boxed{4}", r"\boxed{5}")
    rollouts = tuple(
        Rollout("p", i, (1,), (2,), (True,), (-1.0,), (0,), text, "stop") for i, text in enumerate(texts)
    )
    scores = ((Score(0.0, "ok", 0.0),), (Score(0.0, "ok", 0.0),))
    write_samples(
        tmp_path / "run", 1, [Group(prompt, rollouts, scores, (0.0, 0.0), (0.0, 0.0))], ["accuracy"]
    )
    (tmp_path / "run" / "recipe.yaml").write_text("rewards: [{rule: accuracy}]\ntrain: {steps: 1}\n")
    return tmp_path / "run"


def test_on_a_run(finished, tmp_path):
    app = typer.Typer()
    app.command()(reward)
    out = tmp_path / "out.jsonl"
    shown = CliRunner().invoke(app, ["accuracy", "--on", str(finished), "--out", str(out)]).stdout
    assert "1 of 2 scores differ: 1 up" in shown
    assert "1/p/0: 0 -> 1, extracted '4'" in shown
    assert [json.loads(line)["score"] for line in out.open()] == [1.0, 0.0]
    found = json.loads(CliRunner().invoke(app, ["accuracy", "--on", str(finished), "--json"]).stdout)
    assert found["steps"][0]["after"] == 0.5
    other = CliRunner().invoke(app, ["format", "--on", str(finished)]).stdout
    assert "--against NAME compares with one of accuracy" in other


def test_a_rule_that_fails_on_every_sample_exits_1(finished, tmp_path):
    (tmp_path / "mine.py").write_text("def f(completions):\n    raise ValueError('never')\n")
    app = typer.Typer()
    app.command()(reward)
    result = CliRunner().invoke(app, [f"{tmp_path}/mine.py:f", "--on", str(finished)])
    assert result.exit_code == 1
    assert "first error: 1/p/0: ValueError: never" in result.stdout
