"""A whole run with real vLLM: what it leaves, what survives SIGKILL, how Ctrl-C ends it."""

import json
import os
import signal
import time

import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file

from grpo.metrics import read_metrics

pytestmark = pytest.mark.engine

IN_A_RUN = {
    "recipe.yaml", "environment.json", "metrics.jsonl", "engine.log", "summary.json", "curves.png",
    "samples", "checkpoints", "eval",
}  # fmt: skip


@pytest.fixture(scope="module")
def whole(start, workplace):
    """Folder and output of a run that nothing disturbed."""
    code, out, err = start("train", "tiny.yaml", "output.folder=whole").end()
    assert code == 0, err
    return workplace / "whole", out, err


def weights(folder):
    return load_file(folder / "checkpoints" / "step-5" / "model.safetensors")


def test_everything_is_there(whole):
    folder, out, err = whole
    assert {path.name for path in folder.iterdir()} == IN_A_RUN
    assert err == ""
    assert "pass@1" in out
    assert "step 5/5" in out
    assert "train.steps=10 --resume" in out
    assert sorted(path.name for path in (folder / "checkpoints").iterdir()) == ["step-4", "step-5"]
    assert (folder / "curves.png").read_bytes().startswith(b"\x89PNG")
    environment = json.loads((folder / "environment.json").read_text())
    assert environment["packages"]["torch"] == torch.__version__
    assert {"seed", "command", "hardware", "git"} <= set(environment)


def test_the_summary_compares_base_and_trained(whole):
    summary = json.loads((whole[0] / "summary.json").read_text())
    assert (summary["base"]["version"], summary["trained"]["version"], summary["steps"]) == (0, 5, 5)
    for side in ("base", "trained"):
        low, high = summary[side]["interval"]
        assert 0 <= low <= summary[side]["pass@1"] <= high <= 1
        assert summary[side]["prompts"] == 6
        assert json.loads((whole[0] / "eval" / f"{side}-held-out-report.json").read_text()) == summary[side]
    own, other = summary["protocols"]
    assert (own["protocol"], other["protocol"]) == ("raw, T=1", "qa, 1 shots, T=0, 8 tokens")
    assert own["base"] == summary["base"]["rules"]["accuracy"]
    greedy = json.loads((whole[0] / "eval" / "trained-protocol-qa-1-shots-T=0-8-tokens.json").read_text())
    assert (greedy["prompts"], greedy["samples"]) == (6, 1)
    assert other["trained"] == greedy["rules"]["accuracy"]
    assert summary["seconds"] > 0
    assert summary["tokens"] == sum(row["tokens"] for row in read_metrics(whole[0])[1:])


def test_every_step_trained_and_was_synced(whole):
    rows = read_metrics(whole[0])
    assert [row["step"] for row in rows] == [0, 1, 2, 3, 4, 5]
    assert rows[0]["mismatch/sync_unmoved_groups"] <= 2  # the others were perturbed, and the engine followed
    assert rows[0]["mismatch/sync_max"] < 1e-4
    for row in rows[1:]:
        assert row["mismatch/sync_moved"] > 0.1
        assert row["mismatch/sync_max"] < 1e-4
        assert row["mismatch/max"] < 1e-4  # engine and trainer agree on the tokens trained on, float32
        assert row["staleness/mean"] == 0
        assert row["grad_norm"] > 0
        assert {
            "loss", "lr", "tokens", "reward/mean", "reward/std", "reward/brief", "reward/accuracy",
            "reward/ungraded", "completions/mean_length", "completions/clipped_ratio", "groups/dropped",
            "groups/zero_std_ratio", "policy/entropy", "policy/clip_ratio_low", "policy/clip_ratio_high",
            "policy/ratio_max", "mismatch/kl", "time/rollout", "time/update", "time/sync",
            "throughput/tokens_per_second", "memory/peak_bytes",
        } <= set(row)  # fmt: skip
    evaluated = [row["step"] for row in rows if "eval/held-out/pass@1" in row]
    assert evaluated == [0, 2, 4, 5]
    assert [row["step"] for row in rows if "eval/held-out-report/pass@1" in row] == [0, 5]


def test_samples_hold_what_was_trained_on(whole):
    files = sorted((whole[0] / "samples").iterdir())
    assert [file.stem for file in files] == [f"step-{n:06d}" for n in range(1, 6)]
    for step, file in enumerate(files):
        rows = pq.read_table(file).to_pylist()
        assert len(rows) == 16
        assert {row["version"] for row in rows} == {step}
        for row in rows:
            assert row["score/brief"] == pytest.approx(-len(row["completion"]) / 24)
            assert row["reward"] == pytest.approx(row["score/brief"] + row["score/accuracy"])
        by_prompt = {}
        for row in rows:
            by_prompt.setdefault(row["prompt_id"], []).append(row["advantage"])
        assert all(abs(sum(advantages)) < 1e-4 for advantages in by_prompt.values())


@pytest.mark.slow
def test_its_checkpoint_is_a_model_and_goes_back_into_the_engine(whole, start, workplace):
    code, _, err = start(
        "train",
        "tiny.yaml",
        "pretrain=null",
        f"model.path={whole[0] / 'checkpoints' / 'step-5'}",
        "output.folder=again",
        "train.steps=1",
    ).end()
    assert code == 0, err
    base = json.loads((workplace / "again" / "summary.json").read_text())["base"]
    trained = json.loads((whole[0] / "summary.json").read_text())["trained"]
    for key in ("pass@1", "mean_length", "rules", "tokens"):  # the same weights, prompts and seeds
        assert base[key] == trained[key]


def test_killed_and_resumed_is_as_if_never_killed(whole, start, workplace):
    shared_memory, folder = set(os.listdir("/dev/shm")), workplace / "killed"
    (workplace / "hold").touch()
    killed = start("train", "tiny.yaml", "output.folder=killed")
    killed.wait_for(lambda: len(read_metrics(folder)) == 4 and (folder / "checkpoints" / "step-2").exists())
    family = killed.family()
    assert {"rewards.worker", "grpo.rollout.vllm_child"} <= {
        word for line in family.values() for word in line.split()
    }
    killed.process.kill()
    assert killed.end()[0] == -signal.SIGKILL
    assert killed.wait_until_gone() == {}
    assert set(os.listdir("/dev/shm")) <= shared_memory
    assert {path.name for path in folder.iterdir()} <= IN_A_RUN
    (workplace / "hold").unlink()

    code, out, err = start("train", "tiny.yaml", "output.folder=killed", "--resume").end()
    assert code == 0, err
    assert "training: 5 steps, 2 done" in out
    rows, undisturbed = read_metrics(folder), read_metrics(whole[0])
    assert [row["step"] for row in rows] == [0, 1, 2, 3, 4, 5]
    for row, other in zip(rows, undisturbed, strict=True):
        for key in ("tokens", "reward/mean", "eval/held-out/mean_length"):
            assert row.get(key) == other.get(key)
    ours, theirs = weights(folder), weights(whole[0])
    assert all(torch.allclose(ours[name], theirs[name], atol=1e-5) for name in theirs)


def test_the_comparison_above_would_see_another_run(whole):
    before = load_file(whole[0] / "checkpoints" / "step-4" / "model.safetensors")
    after = weights(whole[0])
    assert not any(torch.allclose(before[name], after[name], atol=1e-5) for name in after)


@pytest.mark.parametrize("when", ["starting the engine", "training"])
def test_ctrl_c_is_one_line_and_leaves_no_one(start, workplace, whole, when):
    shared_memory, folder = set(os.listdir("/dev/shm")), workplace / when.replace(" ", "_")
    (workplace / "hold").touch()
    run = start("train", "tiny.yaml", f"output.folder={folder.name}")
    if when == "training":
        run.wait_for(lambda: len(read_metrics(folder)) == 4)
    else:
        run.wait_for(lambda: any("vllm_child" in line for line in run.family().values()))
        time.sleep(1)  # well within its start
    os.killpg(run.process.pid, signal.SIGINT)
    code, out, err = run.end()
    (workplace / "hold").unlink()
    resume = f"grpo train tiny.yaml output.folder={folder.name} --resume"
    assert (code, err) == (130, f"interrupted; to go on from the newest checkpoint: {resume}\n")
    assert "Traceback" not in out
    assert run.wait_until_gone() == {}
    assert set(os.listdir("/dev/shm")) <= shared_memory
