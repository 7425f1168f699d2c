"""Whole runs by two ranks on transformers' engine: what they write, and how they end when something fails."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from grpo.metrics import read_metrics

HERE = Path(__file__).parent
RECIPE = """
model: {{path: {base}, dtype: float32, device: cpu}}
data: {{train: addition, holdout: 0.2, options: {{digits: 2, count: 90}}}}
rollout: {{engine: hf, group_size: 3, max_tokens: 8, context: 64}}
rewards: [{{rule: "rule.py:short", timeout: 120}}]
algorithm: {{preset: grpo}}
train: {{steps: 2, prompts_per_step: 4, lr: 1.0e-3, save_every: 1}}
eval: {{every: 2, prompts: 2, samples: 1}}
output: {{folder: run}}
"""
RULE = "def short(completions): return [-len(c) for c in completions]"
SAME = (
    "loss",
    "grad_norm",
    "reward/mean",
    "tokens",
    "policy/entropy",
    "mismatch/max",
    "completions/mean_length",
)


@pytest.fixture(scope="module")
def place(tmp_path_factory, base):
    folder = tmp_path_factory.mktemp("place")
    (folder / "recipe.yaml").write_text(RECIPE.format(base=base))
    (folder / "rule.py").write_text(RULE)
    return folder


@pytest.fixture(scope="module")
def train(two_ranks, place):
    """train(where, rank, *arguments): each rank's exit code and words."""

    def run(where, rank, *arguments, count=2):
        program = str(HERE / "failing.py")
        return two_ranks(
            program, where, str(rank), "train", "recipe.yaml", *arguments, count=count, cwd=place
        )

    return run


@pytest.fixture(scope="module")
def alone(train, place):
    ((code, _, err),) = train("nowhere", 0, "output.folder=alone", count=1)
    assert code == 0, err
    return read_metrics(place / "alone")


@pytest.mark.parametrize("how", ["rollout.engines=per_rank", "rollout.engines=shared train.shard=fsdp2"])
def test_two_ranks_run_what_one_runs(train, place, alone, how):
    folder = place / how.split("=")[1].split()[0]
    ended = train("nowhere", 0, f"output.folder={folder.name}", *how.split())
    assert [code for code, _, _ in ended] == [0, 0], ended
    assert ended[1][1:] == ("", "")  # the second is silent
    rows = read_metrics(folder)
    assert [row["step"] for row in rows] == [0, 1, 2]
    for row, other in zip(rows[1:], alone[1:], strict=True):
        assert {name: row[name] for name in SAME} == pytest.approx({n: other[n] for n in SAME}, abs=1e-5)
        assert set(row) == set(other)
    assert json.loads((folder / "environment.json").read_text())["processes"] == 2
    assert sorted(path.name for path in (folder / "checkpoints").iterdir()) == ["step-1", "step-2"]


@pytest.mark.slow
def test_sharded_ranks_go_on_where_they_stopped(train, place):
    how = ("output.folder=stopped", "rollout.engines=shared", "train.shard=fsdp2")
    assert [code for code, _, _ in train("nowhere", 0, *how)] == [0, 0]
    again = train("nowhere", 0, *how, "train.steps=3", "--resume", "--json")
    assert [code for code, _, _ in again] == [0, 0], again
    assert json.loads(again[0][1])["steps"] == 3
    assert again[1][1:] == ("", "")
    assert [row["step"] for row in read_metrics(place / "stopped")] == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("where", "code", "said"),
    [
        pytest.param("bug", 1, "ZeroDivisionError: a mistake of ours\n", marks=pytest.mark.slow),
        ("killed", 1, "error: a process of the run ended or no longer answers. It said nothing;"),
    ],
)
def test_an_error_on_one_rank_ends_all_in_one_voice(train, where, code, said):
    ended = train(where, 1, f"output.folder={where}")
    assert ended[0][0] == code
    assert ended[1][0] == (code if where != "killed" else -9)
    errors = ended[0][2] + ended[1][2]
    assert said in errors
    assert errors.count("\n") == 1 or where == "bug"
    assert errors.count("Traceback") == (where == "bug")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("train.stepps=1", "error: command line: train.stepps: unknown key. Did you mean steps?\n"),
        (
            "train.prompts_per_step=3",
            "error: train.prompts_per_step: 2 processes do not divide the 3 prompts of a step. Take 4, or "
            "another number of processes, or rollout.engines: shared.\n",
        ),
        pytest.param("data.train=nothing.jsonl", "error: ", marks=pytest.mark.slow),
    ],
)
def test_a_mistake_is_told_once_and_all_exit_with_2(train, wrong, said):
    ended = train("nowhere", 0, "output.folder=wrong", wrong)
    errors = ended[0][2] + ended[1][2]
    assert errors.startswith(said)
    assert errors.count("\n") == 1
    assert ended[0][0] == 2
    assert ended[1][0] == 2


def test_torchrun_ends_too_and_says_it_once(place):
    command = [
        "-m",
        "torch.distributed.run",
        "--nproc-per-node",
        "2",
        str(HERE / "failing.py"),
        "engine",
        "1",
    ]
    done = subprocess.run(
        [sys.executable, *command, "train", "recipe.yaml", "output.folder=torchrun"],
        cwd=place,
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode != 0
    assert (done.stdout + done.stderr).count("the engine died (killed by SIGKILL)") == 1
    assert done.stderr.count("failing.py FAILED") == 1
