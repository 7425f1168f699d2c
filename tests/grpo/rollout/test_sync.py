"""The sync check must pass on real engines, and stop on every planted fault."""

import pytest
import torch

from grpo.errors import SyncError
from grpo.rollout.sync import Sync, compare, difference, group_of, must_move, parameter_groups
from grpo.rollout.transfer import checksum
from grpo.types import Group, Prompt


class Wrapped:
    """A real engine behind a faulty trainer-side call; everything else goes through."""

    def __init__(self, engine, update_weights):
        self._engine, self._update = engine, update_weights

    def __getattr__(self, name):
        return getattr(self._engine, name)

    def update_weights(self, weights, version):
        return self._update(self._engine, weights, version)


def masters_of(policy):
    return {name: tensor.detach().clone() for name, tensor in policy.named_masters()}


@pytest.mark.engine
@pytest.mark.parametrize("kind", ["untied", "tied"])
def test_a_whole_run_passes_and_leaves_the_masters_bit_equal(kind, request, policy_of, probes):
    engine = request.getfixturevalue(kind)
    policy = policy_of(engine)
    before = masters_of(policy)
    sync = Sync(engine, policy, probes, "float32")
    metrics = sync.start()
    assert metrics["mismatch/sync_mean"] < 1e-4
    assert metrics["mismatch/sync_unmoved_groups"] == 0
    assert all(torch.equal(tensor, before[name]) for name, tensor in policy.named_masters())
    for _ in range(2):
        policy.step(lr=1e-6)
        assert sync.send(stepped=True)["mismatch/sync_moved"] > 0.9
        assert sync.check()["mismatch/sync_max"] < 1e-4
    assert engine.version == 2


@pytest.mark.engine
@pytest.mark.parametrize(
    ("kind", "fault", "named"),
    [
        ("tied", "no repack", "model.embed_tokens.weight"),
        ("untied", "drop the head", "lm_head.weight"),
    ],
)
def test_a_stale_head_is_named_by_the_perturbation_test(
    kind, fault, named, request, policy_of, probes, planted
):
    engine = request.getfixturevalue(kind)
    policy = policy_of(engine)
    before = masters_of(policy)
    with planted(engine, fault), pytest.raises(SyncError, match=f"does not take over {named}"):
        Sync(engine, policy, probes, "float32").start()
    assert all(torch.equal(tensor, before[name]) for name, tensor in policy.named_masters())


@pytest.mark.engine
@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("lose one tensor", r"model.layers.1.mlp.up_proj.weight never reached the engine's loader \(1 of 21"),
        ("change one tensor", r"model.norm.weight reached the engine changed \(1 of 21"),
        ("consume nothing", r"never reached the engine's loader \(21 of 21"),
    ],
)
def test_tensors_that_do_not_arrive_are_named(fault, says, untied, policy_of, probes, planted):
    policy = policy_of(untied)
    sync = Sync(untied, policy, probes, "float32")
    sync.start()
    policy.step(lr=1e-3)
    with planted(untied, fault), pytest.raises(SyncError, match=says):
        sync.send(stepped=True)


@pytest.mark.engine
def test_a_skipped_send_is_seen(untied, policy_of, probes):
    policy = policy_of(untied)
    sync = Sync(untied, policy, probes, "float32")
    sync.start()
    policy.step(lr=1e-6)
    with pytest.raises(SyncError, match="the engine holds version 0, not 1"):
        sync.check()


@pytest.mark.engine
def test_a_send_that_is_only_claimed_is_seen_by_the_perturbation_test(untied, policy_of, probes):
    def claim(engine, weights, version):
        return {name: checksum(tensor) for name, tensor in weights}

    with pytest.raises(SyncError, match=r"does not take over model\.embed_tokens"):
        Sync(Wrapped(untied, claim), policy_of(untied), probes, "float32").start()


@pytest.mark.engine
def test_other_weights_at_the_start_are_seen(untied, policy_of, probes):
    policy = policy_of(untied)
    with torch.no_grad():
        policy.model.model.norm.weight.mul_(1.5)
    with pytest.raises(SyncError, match="log-probs of engine and trainer differ by"):
        Sync(untied, policy, probes, "float32").start()


@pytest.mark.engine
def test_drift_below_the_absolute_limit_is_alarmed(untied, policy_of, probes):
    policy = policy_of(untied)
    sync = Sync(untied, policy, probes, "float32")
    sync.start()
    with torch.no_grad():
        policy.model.model.norm.weight.mul_(1.004)
    found = difference(policy.sequence_logprobs(probes), untied.logprobs(probes)).mean
    assert 1e-3 < found < 1e-2  # passes for a start, but is a hundred times this start's level
    with pytest.raises(SyncError, match="log-probs of engine and trainer differ by"):
        sync.check()


@pytest.mark.engine
def test_bfloat16_keeps_small_steps_with_float32_masters_and_loses_them_without(
    start_vllm, checkpoint, policy_of, probes
):
    engine = start_vllm(checkpoint("tied"), dtype="bfloat16")
    policy = policy_of(engine, "bfloat16", masters="float32")
    sync = Sync(engine, policy, probes, "bfloat16")
    assert sync.start()["mismatch/sync_unmoved_groups"] == 0
    policy.step(lr=1e-6)
    assert sync.send(stepped=True)["mismatch/sync_moved"] > 0.9
    sync.check()

    policy = policy_of(engine, "bfloat16", masters="bfloat16")
    sync = Sync(engine, policy, probes, "bfloat16")
    sync.start()
    policy.step(lr=1e-6)
    with pytest.raises(SyncError, match=r"moved 0\.0% of the weights: the update is lost in rounding"):
        sync.send(stepped=True)
    sync.send(stepped=False)  # no optimiser step, nothing to miss


@pytest.mark.parametrize(
    ("terms", "advantages", "must"),
    [
        ({}, (), False),
        ({"grad_norm": 0.0, "lr": 1e-6}, (0.0, 0.0), False),
        ({"grad_norm": 0.0, "lr": 1e-6}, (-1.0, 1.0), True),  # a loss that does not reach the weights
        ({"grad_norm": 1e-3, "lr": 1e-6}, (0.0, 0.0), True),
        ({"grad_norm": 1e-3, "lr": 6e-11}, (-1.0, 1.0), False),  # where a cosine decay of 200 steps ends
    ],
)
def test_what_must_move_the_weights(terms, advantages, must):
    group = Group(Prompt("p", "p", None, "p", (1,)), (), advantages=advantages)
    assert must_move(terms, [group], peak=1e-6) == must


@pytest.mark.engine
def test_experts_follow_with_the_repack_and_are_named_without(
    start_vllm, checkpoint, policy_of, probes, planted
):
    engine = start_vllm(checkpoint("experts"))
    policy = policy_of(engine)
    Sync(engine, policy, probes, "float32").start()
    with planted(engine, "no repack"), pytest.raises(SyncError, match=r"differ by|mlp\.experts"):
        Sync(engine, policy, probes, "float32").start()


def test_groups_leave_out_layer_and_expert_numbers():
    names = [
        "model.layers.0.mlp.experts.3.up_proj.weight",
        "model.layers.11.mlp.experts.0.up_proj.weight",
        "x.w",
    ]
    assert parameter_groups(iter(names)) == ["model.layers.mlp.experts.up_proj.weight", "x.w"]
    assert group_of("h.0.ln_1.bias") == "h.ln_1.bias"
    factors = ["l.0.q_proj.lora_A.default.weight", "l.1.q_proj.lora_B.default.weight"]
    assert {group_of(name) for name in factors} == {"l.q_proj.lora_AB.default.weight"}


def test_compare_names_the_first_and_counts():
    sent = {"a": "1", "b": "2", "c": "3"}
    compare(sent, dict(sent))
    with pytest.raises(SyncError, match=r"b never reached the engine's loader \(2 of 3"):
        compare(sent, {"a": "1"})
    with pytest.raises(SyncError, match=r"c reached the engine changed \(1 of 3"):
        compare(sent, {**sent, "c": "4"})
    with pytest.raises(SyncError, match="took d, which was not sent"):
        compare(sent, {**sent, "d": "4"})


def test_nan_never_agrees():
    assert difference([[0.0, float("nan")]], [[0.0, 0.0]]).mean == float("inf")
    assert difference([[0.0, -1.0]], [[-0.5, -1.0]]) == difference([[1.0], [2.0]], [[1.5], [2.0]])
