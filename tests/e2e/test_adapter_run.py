"""Whole runs that train an adapter, with real vLLM: merged and alone, gone on with, merged at the end."""

import json

import pytest
import torch
from safetensors.torch import load_file

from grpo.metrics import read_metrics
from grpo.samples import read_samples, sample_files

pytestmark = pytest.mark.engine
RULES = "rewards=[{rule: accuracy}, {rule: 'rules.py:brief', timeout: 120}]"
SYNCS = ("merged", "adapter")


@pytest.fixture(scope="module")
def runs(start, workplace):
    """Folders of the two runs, by what the engine was sent; the second was stopped after two steps."""
    for sync in SYNCS:
        adapter = f"model.adapter={{rank: 8, sync: {sync}}}"
        given = ["train", "tiny.yaml", RULES, adapter, "train.lr=1e-2", f"output.folder={sync}"]
        parts = (
            [["train.steps=4"]] if sync == "merged" else [["train.steps=2"], ["train.steps=4", "--resume"]]
        )
        for part in parts:
            code, _, err = start(*given, *part).end()
            assert (code, err) == (0, "")
    return {sync: workplace / sync for sync in SYNCS}


@pytest.mark.parametrize("sync", SYNCS)
def test_every_step_moved_the_adapter_and_the_engine_followed(runs, sync):
    rows = read_metrics(runs[sync])
    assert [row["step"] for row in rows] == [0, 1, 2, 3, 4]
    for row in rows[1:]:
        assert row["mismatch/sync_moved"] > 0.4
        assert row["mismatch/sync_max"] < 1e-4
        assert row["mismatch/max"] < 1e-4
        assert row["grad_norm"] > 0
    assert rows[0]["mismatch/sync_unmoved_groups"] == 0  # each kind of tensor was perturbed
    for step, file in enumerate(sample_files(runs[sync])):
        assert {row["version"] for row in read_samples(file)} == {step}


def test_both_ways_are_the_same_run(runs):
    merged, alone = (read_metrics(runs[sync]) for sync in SYNCS)
    for row, other in zip(merged, alone, strict=True):
        for key in ("tokens", "reward/mean", "eval/held-out/mean_length"):
            assert row.get(key) == other.get(key)
    ours, theirs = (
        load_file(runs[sync] / "checkpoints" / "step-4" / "adapter_model.safetensors") for sync in SYNCS
    )
    assert ours.keys() == theirs.keys()
    assert all(torch.allclose(ours[name], theirs[name], atol=1e-4) for name in ours)
    assert max(float(ours[name].abs().max()) for name in ours if "lora_B" in name) > 0.01


def test_the_last_checkpoint_is_merged_and_goes_back_into_the_engine(runs, start, workplace):
    code, out, err = start("merge", "merged/checkpoints/step-4", "whole-model").end()
    assert (code, err) == (0, "")
    assert out.startswith("whole-model: log-probs differ from the adapter's by ")
    given = ["pretrain=null", "model.path=./whole-model", "train.steps=1", "output.folder=again", RULES]
    code, _, err = start("train", "tiny.yaml", *given).end()
    assert (code, err) == (0, "")
    base = json.loads((workplace / "again" / "summary.json").read_text())["base"]
    trained = json.loads((runs["merged"] / "summary.json").read_text())["trained"]
    for key in ("pass@1", "mean_length", "tokens"):  # the same weights, prompts and seeds
        assert base[key] == trained[key]


def test_an_adapter_as_a_base_says_how_to_merge_it(runs, start):
    path = "merged/checkpoints/step-4"
    code, _, err = start("train", "tiny.yaml", "pretrain=null", f"model.path={path}").end()
    assert code == 2
    assert f"{path} is a PEFT adapter, no whole checkpoint. Merge it into its base first: grpo merge" in err


def test_targets_that_match_nothing_start_no_engine(start, workplace):
    given = ["model.adapter={targets: [query]}", "output.folder=nothing"]
    code, _, err = start("train", "tiny.yaml", *given).end()
    assert code == 2
    names = "down_proj, gate_proj, k_proj, o_proj, q_proj, up_proj, v_proj"
    assert err == (
        "error: model.adapter.targets: 'query' matches no linear layer. "
        f"Write all-linear, or some of {names}\n"
    )
    assert not (workplace / "nothing" / "engine.log").exists()
