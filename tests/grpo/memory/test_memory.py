"""The estimate of a run's memory: against counted tensors, and what it says to change."""

from dataclasses import fields
from itertools import pairwise

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from grpo.attention import NAME, register
from grpo.memory.change import changed, changes
from grpo.memory.estimate import Estimator
from grpo.memory.room import Room
from grpo.memory.simulate import Shape, Simulated, full_chunk
from grpo.model import TokenLogprobs
from grpo.recipe import Adapter
from grpo.recompute import recompute

CONFIG = LlamaConfig(
    vocab_size=64,
    hidden_size=64,
    intermediate_size=160,
    num_hidden_layers=4,
    num_attention_heads=2,
    num_key_value_heads=1,
    tie_word_embeddings=True,
    max_position_embeddings=256,
)
SHAPE = Shape(tokens=1000, prompt=20, completion=50, group=4)
MIB = 1 << 20


def counted(model, chunk):
    """Bytes that autograd keeps of a forward pass, weights and the chunk itself left out."""
    ours = [*model.parameters(), *model.buffers()]
    ours += [value for f in fields(chunk) if isinstance(value := getattr(chunk, f.name), torch.Tensor)]
    outside, kept, found = {t.untyped_storage().data_ptr() for t in ours}, {}, []

    def keep(tensor):
        storage = tensor.untyped_storage()
        found.append(storage)  # or its address would be given out again
        if storage.data_ptr() not in outside:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        model(chunk, 1.0)
    return sum(kept.values())


@pytest.mark.parametrize("recomputed", [0, 4])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_activations_are_what_autograd_keeps(dtype, recomputed):
    register()
    chunk = full_chunk(SHAPE)
    assert len(chunk.token_ids) == SHAPE.tokens
    model = LlamaForCausalLM(CONFIG)
    model.set_attn_implementation(NAME)
    recompute(model, recomputed)
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype == "bfloat16"):
        saved = counted(TokenLogprobs(model), chunk)
    taken = Simulated(CONFIG, dtype, None).update(SHAPE, recomputed)
    assert taken.kept == pytest.approx(saved, rel=0.02 if not recomputed else 0.2)
    assert taken.peak > taken.kept


def test_weights_and_what_is_trained_of_them():
    numbers = sum(p.numel() for p in LlamaForCausalLM(CONFIG).parameters())
    whole, narrow = Simulated(CONFIG, "bfloat16", None), Simulated(CONFIG, "bfloat16", Adapter(rank=4))
    assert (whole.weights, whole.trained) == (4 * numbers, numbers)
    assert narrow.weights == 2 * numbers + 4 * narrow.trained
    linear = [(64, 64), (64, 32), (64, 32), (64, 64), (64, 160), (64, 160), (160, 64)]
    assert narrow.trained == 4 * sum(4 * (a + b) for a, b in linear)


def test_fewer_kept_by_each_layer_that_is_recomputed():
    model = Simulated(CONFIG, "float32", None)
    kept = [model.update(SHAPE, layers).kept for layers in range(5)]
    steps = [a - b for a, b in pairwise(kept)]
    assert min(steps) > 0
    assert max(steps) == min(steps)


@pytest.fixture
def recipe(recipe_of):
    return recipe_of(
        "train.token_budget=4096", "rollout.max_tokens=50", "rollout.context=128", "pretrain.context=128"
    )


def test_auto_recomputes_as_few_layers_as_fit(recipe):
    recipe = changed(recipe, train={"gradient_checkpointing": "auto"})
    wide, none = Estimator(CONFIG, Room(1 << 40, False, "x")), Estimator(CONFIG, Room(0, False, "x"))
    assert wide.of(recipe).recomputed == 0
    assert none.of(recipe).recomputed == 4
    needed = [wide.of(recipe, layers).needed for layers in range(5)]
    assert sorted(needed, reverse=True) == needed
    for bytes_there in needed:  # the last layer is made again while nothing else is: its own saves nothing
        found = Estimator(CONFIG, Room(bytes_there, False, "x")).of(recipe)
        assert found.recomputed == needed.index(bytes_there)


def test_each_change_fits_by_the_estimate_itself(recipe):
    free = Estimator(CONFIG, Room(1 << 40, False, "x"))
    least = free.of(changed(recipe, train={"gradient_checkpointing": True})).needed
    estimator = Estimator(CONFIG, Room((least + free.of(recipe).needed) // 2, False, "x"))
    assert not estimator.of(recipe).fits
    found = {change.overrides[0].split("=")[0]: change for change in changes(estimator, recipe)}
    assert {"train.gradient_checkpointing", "train.token_budget"} <= set(found)
    assert all(change.needed <= estimator.room.bytes for change in found.values())
    budget = int(found["train.token_budget"].overrides[0].split("=")[1])
    assert estimator.of(changed(recipe, train={"token_budget": budget})).fits
    assert not estimator.of(changed(recipe, train={"token_budget": budget + 256})).fits


def test_nothing_fits_in_nothing(recipe):
    assert changes(Estimator(CONFIG, Room(MIB, False, "x")), recipe) == []


def test_an_engine_elsewhere_or_asleep_leaves_its_memory_to_the_trainer(recipe):
    recipe = changed(recipe, rollout={"engine": "vllm"})
    estimator = Estimator(CONFIG, Room(1 << 33, True, "x"))
    beside = estimator.of(recipe)
    trainer, engine = sum(beside.trainer.values()), sum(beside.engine.values())
    assert beside.needed == trainer + engine
    alone = estimator.of(changed(recipe, rollout={"device": "cuda:1"}))
    assert (alone.needed, alone.engine) == (trainer, {})
    assert "on a GPU of its own" in alone.to_lines()[-1]
    asleep = estimator.of(changed(recipe, rollout={"sleep": True}))
    at_rest = trainer - beside.trainer["gradients"] - beside.trainer["activations"]
    assert asleep.needed == max(trainer, at_rest + engine) < beside.needed
    small = Estimator(CONFIG, Room(int(1.6 * trainer), True, "x"))
    assert not small.of(recipe).fits
    assert "rollout.sleep=true" in {change.overrides[0] for change in changes(small, recipe)}


def test_processes_of_a_machine_that_share_an_engine_have_one(recipe):
    recipe = changed(recipe, rollout={"engine": "vllm"})
    estimator = Estimator(CONFIG, Room(1 << 40, False, "x"), each=4)
    many = estimator.of(recipe).engine
    one = estimator.of(changed(recipe, rollout={"engines": "shared"})).engine
    assert many["process"] == 4 * one["process"]
    assert many["weights"] == 4 * one["weights"]
