"""Adapters on real engines, merged and alone: the sync check passes, and stops on every planted fault."""

import contextlib

import pytest
import torch
from transformers import AutoTokenizer

from grpo.errors import EngineError, SyncError
from grpo.merge import merge_adapter
from grpo.packing import sequences_chunk
from grpo.policy import load_policy
from grpo.rollout.sync import Sync, difference
from grpo.rollout.wire import Lora

pytestmark = pytest.mark.engine
TRAINED = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
LORA = Lora(rank=4, alpha=8, targets=TRAINED)


@pytest.fixture(scope="session")
def alone(start_vllm, checkpoint):
    """An engine that is sent the adapter alone."""
    return start_vllm(checkpoint("tied"), lora=LORA)


@pytest.fixture
def adapter_policy(recipe_of):
    """adapter_policy(engine, kind, sync, dtype): a fresh adapter on the engine's checkpoint."""

    def make(engine, *overrides, sync="adapter", kind="lora", dtype="float32"):
        spec = f"model.adapter={{kind: {kind}, rank: {LORA.rank}, alpha: {LORA.alpha}, sync: {sync}}}"
        recipe = recipe_of(spec, f"model.dtype={dtype}", "rollout.engine=vllm", *overrides)
        tokenizer = AutoTokenizer.from_pretrained(engine.checkpoint)
        policy, _ = load_policy(recipe, engine.checkpoint, engine.checkpoint, tokenizer)
        engine._fault = None
        engine.update_weights(policy.weights(), 0)
        return policy

    return make


def step(policy, probes):
    policy.backward(-policy.logprobs(sequences_chunk(probes))[0].mean())
    policy.step(0)
    policy.version += 1


@contextlib.contextmanager
def planted(engine, fault):
    engine.fault_file.write_text(fault)
    try:
        yield
    finally:
        engine.fault_file.write_text("")


def names(policy):
    return {name for name, _ in policy.weights()}


@pytest.mark.parametrize(("mode", "kind"), [("merged", "lora"), ("merged", "dora"), ("adapter", "lora")])
def test_a_whole_run_passes_and_moves(mode, kind, request, adapter_policy, probes, requests):
    engine = request.getfixturevalue("tied" if mode == "merged" else "alone")
    policy = adapter_policy(engine, "train.lr=1e-3", sync=mode, kind=kind)
    sync = Sync(engine, policy, probes, "float32")
    before = {name: tensor.detach().clone() for name, tensor in policy.named_masters()}
    metrics = sync.start()
    assert metrics["mismatch/sync_mean"] < 1e-4
    assert metrics["mismatch/sync_unmoved_groups"] == 0  # every kind of tensor was perturbed, and followed
    assert all(torch.equal(tensor, before[name]) for name, tensor in policy.named_masters())
    first = engine.logprobs(probes)
    for number in (1, 2, 3):
        step(policy, probes)
        assert sync.send(stepped=True)["mismatch/sync_moved"] > 0.4  # at the first step A rests: B is 0
        assert sync.check()["mismatch/sync_max"] < 1e-4
        (rollout,) = engine.generate(requests(1, 1, step=number, max_tokens=8))
        assert set(rollout.versions) == {number}
        drawn = policy.sequence_logprobs([[*rollout.prompt_ids, *rollout.token_ids]])[0]
        assert drawn[-len(rollout.token_ids) :] == pytest.approx(rollout.logprobs, abs=1e-4)
    assert difference(first, engine.logprobs(probes)).mean > 0.05
    alone = {name for name in names(policy) if "lora_" in name}
    assert len(alone) == (0 if mode == "merged" else 2 * 2 * len(TRAINED))  # A and B in two layers


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("wrong scaling", "does not take over .*lora_AB"),
        ("stale A", "does not take over .*lora_AB"),
        ("stale adapter", "does not take over .*lora_AB"),
        ("lose a module", r"layers.1.mlp.up_proj.lora_A.weight never reached the engine's loader \(2 of 28"),
        ("change one tensor", r"q_proj.lora_A.weight reached the engine changed \(1 of 28"),
    ],
)
def test_a_planted_fault_stops_the_start(fault, says, alone, adapter_policy, probes):
    policy = adapter_policy(alone)
    with planted(alone, fault), pytest.raises(SyncError, match=says):
        Sync(alone, policy, probes, "float32").start()


@pytest.mark.parametrize("mode", ["merged", "adapter"])
def test_a_skipped_update_is_seen(mode, request, adapter_policy, probes):
    engine = request.getfixturevalue("tied" if mode == "merged" else "alone")
    policy = adapter_policy(engine, sync=mode)
    sync = Sync(engine, policy, probes, "float32")
    sync.start()
    step(policy, probes)
    with pytest.raises(SyncError, match="the engine holds version 0, not 1"):
        sync.check()


def test_after_the_start_a_stale_adapter_is_seen_by_log_probs(alone, adapter_policy, probes):
    policy = adapter_policy(alone, "train.lr=1e-2")
    sync = Sync(alone, policy, probes, "float32")
    sync.start()
    step(policy, probes)
    with planted(alone, "stale adapter"):
        sync.send(stepped=True)
    with pytest.raises(SyncError, match="log-probs of engine and trainer differ by"):
        sync.check()


def test_in_bfloat16_the_adapter_alone_is_followed(start_vllm, checkpoint, adapter_policy, probes):
    engine = start_vllm(checkpoint("tied"), dtype="bfloat16", lora=LORA)
    policy = adapter_policy(engine, "train.lr=1e-3", dtype="bfloat16")
    assert {tensor.dtype for _, tensor in policy.named_masters()} == {torch.float32}
    assert {tensor.dtype for _, tensor in policy.weights()} == {torch.bfloat16}
    sync = Sync(engine, policy, probes, "bfloat16")
    assert sync.start()["mismatch/sync_unmoved_groups"] == 0
    step(policy, probes)
    sync.send(stepped=True)
    sync.check()


def test_an_old_number_ends_the_engine_with_a_line(start_vllm, checkpoint, adapter_policy, probes):
    engine = start_vllm(checkpoint("tied"), lora=LORA)
    policy = adapter_policy(engine)
    with planted(engine, "an old number"), pytest.raises(EngineError, match="the engine"):
        engine.update_weights(policy.weights(), 1)


def test_vllm_loads_the_merged_checkpoint_as_it_is(start_vllm, tied, adapter_policy, probes, tmp_path):
    policy = adapter_policy(tied, "train.lr=1e-2", sync="merged")
    for _ in range(2):
        step(policy, probes)
    policy.save(tmp_path / "step-2")
    merge_adapter(tmp_path / "step-2", tmp_path / "whole")
    engine = start_vllm(str(tmp_path / "whole"))
    assert difference(policy.sequence_logprobs(probes), engine.logprobs(probes)).max < 1e-4
