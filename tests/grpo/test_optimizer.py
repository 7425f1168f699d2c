"""Optimisers with moments of 8 bits: their steps, their memory, resuming, and where they are refused."""

import pytest
import torch
from torch import nn

from grpo import optimizer as module
from grpo.errors import UserError
from grpo.memory.change import changed
from grpo.memory.estimate import Estimator
from grpo.memory.room import Room
from grpo.optimizer import check_optimizer, make_optimizer, moments_bytes
from grpo.recipe import Train

on_cpu = pytest.mark.skipif(torch.cuda.is_available(), reason="hardware: a GPU is visible here")


@pytest.fixture
def bitsandbytes():
    reason = "needs bitsandbytes: pip install --no-deps -r requirements/optional.txt"
    return pytest.importorskip("bitsandbytes", reason=reason)


def stepped(name: str, steps: int, train: Train) -> tuple[torch.Tensor, torch.optim.Optimizer]:
    """A weight of 128 x 64 and a bias of 64, after steps along the same gradients for every optimiser."""
    torch.manual_seed(0)
    weights = [nn.Parameter(torch.randn(128, 64)), nn.Parameter(torch.randn(64))]
    optimizer = make_optimizer(weights, train.model_copy(update={"optimizer": name}))
    random = torch.Generator().manual_seed(1)
    for _ in range(steps):
        for weight in weights:
            weight.grad = torch.randn(weight.shape, generator=random)
        optimizer.step()
        optimizer.zero_grad()
    return torch.cat([weight.detach().flatten() for weight in weights]), optimizer


def tensors(state: object) -> list[torch.Tensor]:
    if isinstance(state, dict):
        return [tensor for value in state.values() for tensor in tensors(value)]
    return [state] if isinstance(state, torch.Tensor) else []


def test_steps_are_those_of_adamw_but_for_rounding(bitsandbytes):
    train = Train(lr=1e-2, weight_decay=0.1, betas=(0.9, 0.99))
    start = stepped("adamw", 0, train)[0]
    first, narrow = stepped("adamw", 1, train)[0], stepped("adamw_8bit", 1, train)[0]
    assert torch.allclose(first, narrow, atol=1e-5)  # moments are rounded after the step
    many, narrow = stepped("adamw", 20, train)[0], stepped("adamw_8bit", 20, train)[0]
    moved, apart = (many - start).norm(), (narrow - many).norm()
    assert 0 < apart < 0.1 * moved


def test_moments_take_the_bytes_that_the_estimate_counts(bitsandbytes):
    for name in ("adamw", "adamw_8bit"):
        _, optimizer = stepped(name, 1, Train())
        kept = [
            tensor
            for state in optimizer.state.values()
            for key, tensor in state.items()
            if isinstance(tensor, torch.Tensor) and key != "step" and not key.startswith("qmap")
        ]
        found = sum(tensor.numel() * tensor.element_size() for tensor in kept)
        assert found == moments_bytes(name, [128 * 64, 64])
    assert {tensor.dtype for tensor in kept} == {torch.uint8, torch.float32}  # a small one stays whole


def test_a_resumed_optimizer_goes_on_with_the_same_moments(bitsandbytes, policy_of, recipe_of):
    recipe = recipe_of("train.optimizer=adamw_8bit", "pretrain.hidden_size=32", "train.max_grad_norm=1000")
    policies = [policy_of(recipe)[0] for _ in range(2)]

    def step(policy, number: int) -> None:
        random = torch.Generator().manual_seed(number)
        for parameter in policy.model.parameters():
            parameter.grad = torch.randn(parameter.shape, generator=random)
        policy.step(number)

    first, second = policies
    step(first, 0)
    assert any(tensor.dtype == torch.uint8 for tensor in tensors(first.optimizer_state()))
    second.restore({"version": 1, "optimizer": first.optimizer_state()})
    second.model.load_state_dict(first.model.state_dict())
    for policy in policies:
        step(policy, 1)
    for ours, theirs in zip(first.model.parameters(), second.model.parameters(), strict=True):
        assert torch.equal(ours, theirs)


@on_cpu
def test_paged_memory_is_refused_without_a_gpu(bitsandbytes, recipe_of):
    check_optimizer(recipe_of("train.optimizer=adamw_8bit"))
    with pytest.raises(UserError, match=r"train\.optimizer: paged memory is CUDA's.*adamw_8bit") as refused:
        check_optimizer(recipe_of("train.optimizer=adamw_8bit_paged"))
    assert refused.value.exit_code == 2


def test_without_its_package_it_is_refused(monkeypatch, recipe_of):
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    check_optimizer(recipe_of())
    with pytest.raises(UserError, match=r"needs the package bitsandbytes.*pip install") as refused:
        check_optimizer(recipe_of("train.optimizer=adamw_8bit"))
    assert refused.value.exit_code == 2


def test_it_does_not_shard(recipe_of):
    with pytest.raises(UserError, match=r"train\.optimizer: adamw_8bit cannot step the parts"):
        recipe_of("train.optimizer=adamw_8bit", "train.shard=fsdp2")


def test_the_estimate_counts_a_quarter(recipe_of):
    from transformers import LlamaConfig

    config = LlamaConfig(
        vocab_size=512,
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=64,
    )
    recipe = recipe_of()
    estimator = Estimator(config, Room(1 << 40, False, "x"))
    whole = estimator.of(recipe).trainer
    narrow = estimator.of(changed(recipe, train={"optimizer": "adamw_8bit"})).trainer
    assert 0.25 < narrow.pop("optimiser") / whole.pop("optimiser") < 0.27
    assert narrow == whole
