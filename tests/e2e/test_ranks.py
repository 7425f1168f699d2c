"""torchrun with real vLLM engines: two processes give the run that one gives."""

import os
import subprocess
import sys

import pytest
from safetensors.torch import load_file

from grpo.metrics import read_metrics

pytestmark = pytest.mark.engine

SHORT = ("train.steps=2", "eval.every=2", "eval.prompts=2", "eval.samples=1")
SAME = ("loss", "grad_norm", "reward/mean", "tokens", "policy/entropy", "completions/mean_length")


@pytest.fixture(scope="module")
def train(workplace, cache):
    """train(processes, folder, *overrides): the metrics of a run."""

    def run(processes, folder, *overrides):
        command = ["-m", "grpo", "train", "tiny.yaml", f"output.folder={folder}", *SHORT, *overrides]
        if processes > 1:
            command = ["-m", "torch.distributed.run", "--nproc-per-node", str(processes), *command]
        done = subprocess.run(
            [sys.executable, *command],
            cwd=workplace,
            env={**os.environ, "GRPO_CACHE": str(cache)},
            capture_output=True,
            text=True,
            timeout=1800,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("step 2/2") == 1  # the first alone speaks
        return read_metrics(workplace / folder)

    return run


@pytest.fixture(scope="module")
def alone(train):
    return train(1, "alone")


def same(rows, alone, folder, workplace):
    assert [row["step"] for row in rows] == [0, 1, 2]
    for row, other in zip(rows[1:], alone[1:], strict=True):
        assert {name: row[name] for name in SAME} == pytest.approx({n: other[n] for n in SAME}, abs=1e-5)
        assert row["mismatch/sync_max"] < 1e-4
        assert row["mismatch/sync_moved"] > 0.1
    path = "checkpoints/step-2/model.safetensors"
    ours, theirs = load_file(workplace / folder / path), load_file(workplace / "alone" / path)
    return all((ours[name] - theirs[name]).abs().max() < 5e-5 for name in theirs)


def test_an_engine_each(train, alone, workplace):
    assert same(train(2, "per_rank"), alone, "per_rank", workplace)
    assert (workplace / "per_rank" / "engine-1.log").exists()


@pytest.mark.slow
def test_one_engine_for_both_and_half_of_the_weights_each(train, alone, workplace):
    rows = train(2, "shared", "rollout.engines=shared", "train.shard=fsdp2")
    assert same(rows, alone, "shared", workplace)
    assert not (workplace / "shared" / "engine-1.log").exists()
