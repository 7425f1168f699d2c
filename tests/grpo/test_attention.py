from dataclasses import replace

import pytest
import torch
from transformers import (
    Gemma2Config,
    Gemma2ForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from grpo.attention import layout, note_packing, packed_attention, packed_forward, register
from grpo.errors import UserError
from grpo.packing import _lay_out, sequences_chunk
from grpo.segments import LEAST_SHARED
from grpo.tally import Tally
from grpo.types import Segment

SMALL = {
    "vocab_size": 30,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "initializer_range": 0.3,
}
MODELS = {
    "llama": (LlamaConfig, LlamaForCausalLM, {}),
    "llama, no shared heads": (LlamaConfig, LlamaForCausalLM, {"num_key_value_heads": 4}),
    "qwen2": (Qwen2Config, Qwen2ForCausalLM, {}),
}
LENGTHS = {
    "falling": [12, 11, 7, 3, 2],
    "any order": [3, 12, 2, 7, 11, 12],
    "one": [9],
    "equal": [5, 5, 5],
}


def tiny(config, model, **options):
    register()
    torch.manual_seed(0)
    return model(config(**{**SMALL, **options})).train()


def sequences(lengths):
    generator = torch.Generator().manual_seed(1)
    return [torch.randint(30, (n,), generator=generator).tolist() for n in lengths]


def gradients(model) -> torch.Tensor:
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS)
@pytest.mark.parametrize("kind", MODELS)
def test_packed_is_one_by_one(kind, lengths):
    config, make, options = MODELS[kind]
    model, rows = tiny(config, make, **options), sequences(lengths)
    chunk = sequences_chunk(rows)
    pull = torch.randn(len(chunk.predicted), 32, generator=torch.Generator().manual_seed(2))

    model.set_attn_implementation("eager")
    alone = torch.cat([model.model(torch.tensor([row])).last_hidden_state[0, :-1] for row in rows])
    (alone * pull).sum().backward()
    expected = gradients(model)
    model.zero_grad()

    model.set_attn_implementation("grpo_packed")
    packed = packed_forward(model, chunk)
    (packed * pull).sum().backward()
    assert torch.allclose(packed, alone, atol=1e-5)
    assert (gradients(model) - expected).abs().max() / expected.abs().max() < 1e-5


def shared(prompts, completions, model):
    """A chunk of groups that share their prompts, and what the model gives row by row [T, H]."""
    rows = [
        (prompt, completion, [True] * len(completion))
        for prompt, members in zip(prompts, completions, strict=True)
        for completion in members
    ]
    chunk = _lay_out(rows, "cpu")
    model.set_attn_implementation("eager")
    alone = [
        model.model(torch.tensor([prompt + completion])).last_hidden_state[0, len(prompt) - 1 : -1]
        for prompt, completion, _ in rows
    ]
    model.set_attn_implementation("grpo_packed")
    return chunk, torch.cat(alone)


@pytest.mark.parametrize("beginning", [0, LEAST_SHARED])
@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("kind", MODELS)
def test_shared_prompts_are_one_by_one(kind, checkpointing, beginning):
    config, make, options = MODELS[kind]
    model = tiny(config, make, **options)
    start, *rest = sequences([LEAST_SHARED, 3, 5, 5, 1, 4, 9, 2, 8, 1, 7, 7, 6])
    prompts = [start[:beginning] + row for row in rest[:3]]
    chunk, alone = shared(prompts, [rest[3:7], rest[7:11], rest[11:12]], model)
    pull = torch.randn(len(chunk.predicted), 32, generator=torch.Generator().manual_seed(2))
    (alone * pull).sum().backward()
    expected = gradients(model)
    model.zero_grad()
    if checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})

    packed = packed_forward(model, chunk)
    (packed * pull).sum().backward()
    assert torch.allclose(packed, alone, atol=1e-5)
    assert (gradients(model) - expected).abs().max() / expected.abs().max() < 1e-5


def test_shared_prompts_go_through_the_model_once():
    model = tiny(LlamaConfig, LlamaForCausalLM)
    prompt, *completions = sequences([9, 3, 3, 2])
    chunk, _ = shared([prompt], [completions], model)
    seen = []
    model.model.layers[0].mlp.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0].shape[1]))
    packed_forward(model, chunk)
    assert seen == [9 + 3 + 3 + 2]


def test_without_its_prompt_a_completion_reads_otherwise():
    model = tiny(LlamaConfig, LlamaForCausalLM)
    prompt, *completions = sequences([9, 3, 4])
    chunk, alone = shared([prompt], [completions], model)
    orphans = tuple(segment._replace(parent=-1) for segment in chunk.segments)
    assert (packed_forward(model, replace(chunk, segments=orphans)) - alone).abs().max() > 0.01


def test_sequences_cannot_see_each_other():
    model, rows = tiny(LlamaConfig, LlamaForCausalLM), sequences([6, 9, 8])
    model.set_attn_implementation("grpo_packed")
    before = packed_forward(model, sequences_chunk(rows))
    changed = [rows[0], [(token + 1) % 30 for token in rows[1]], rows[2]]
    after = packed_forward(model, sequences_chunk(changed))
    own = torch.tensor([0] * 5 + [1] * 8 + [2] * 7)
    assert torch.equal(before[own != 1], after[own != 1])
    assert not torch.allclose(before[own == 1], after[own == 1])


def test_the_check_of_isolation_sees_a_leak():
    model, rows = tiny(LlamaConfig, LlamaForCausalLM), sequences([6, 9])
    model.set_attn_implementation("grpo_packed")
    chunk = sequences_chunk(rows)
    joined = packed_forward(model, replace(chunk, segments=(Segment(15),)))  # as if the two were one
    apart = packed_forward(model, chunk)
    assert torch.allclose(joined[:5], apart[:5], atol=1e-5)
    assert (joined[5:] - apart[5:]).abs().max() > 0.01


@pytest.mark.parametrize("kind", MODELS)
def test_bfloat16_autocast_stays_near_float32(kind):
    config, make, options = MODELS[kind]
    model = tiny(config, make, **{**options, "initializer_range": 0.05})
    model.set_attn_implementation("grpo_packed")
    chunk = sequences_chunk(sequences([12, 9, 4]))
    exact = packed_forward(model, chunk)
    with torch.autocast("cpu", torch.bfloat16):
        rough = packed_forward(model, chunk)
        rough.float().square().sum().backward()
    assert 0 < (rough.float() - exact).abs().max() < 0.1
    assert gradients(model).isfinite().all()


def test_gradient_checkpointing_changes_nothing():
    model, chunk = tiny(LlamaConfig, LlamaForCausalLM), sequences_chunk(sequences([12, 9, 4]))
    model.set_attn_implementation("grpo_packed")
    found = []
    for checkpointing in (False, True):
        if checkpointing:
            model.gradient_checkpointing_enable({"use_reentrant": False})
        packed_forward(model, chunk).square().sum().backward()
        found.append(gradients(model))
        model.zero_grad()
    assert torch.allclose(*found, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("scaling", [None, 0.05, 1.0])
def test_scaling_and_head_sizes_are_the_models(scaling):
    lengths, generator = [4, 7, 5], torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(1, h, 16, d, generator=generator) for h, d in ((4, 6), (2, 6), (2, 5)))
    found, _ = packed_attention(
        torch.nn.Module(), q, k, v, None, scaling=scaling, packed_layout=layout([Segment(n) for n in lengths])
    )
    start = 0
    for n in lengths:
        own = slice(start, start + n)
        keys, values = (x[0, :, own].repeat_interleave(2, 0) for x in (k, v))
        products = q[0, :, own] @ keys.transpose(1, 2) * (6**-0.5 if scaling is None else scaling)
        seen = torch.ones(n, n).tril().log() + products
        assert torch.allclose(found[0, own].transpose(0, 1), seen.softmax(-1) @ values, atol=1e-5)
        start += n


def test_layout_covers_every_token_and_pads_little():
    lengths = [3, 100, 98, 20, 19, 18, 97]
    made = layout([Segment(n) for n in lengths])
    assert made.buckets == ((3, 100, 0), (3, 20, 0), (1, 3, 0))
    assert made.queries[made.packed].tolist() == list(range(sum(lengths)))
    assert len(made.queries) == 3 * 100 + 3 * 20 + 3
    assert made.keys is made.queries
    assert made.longest == 100
    assert not made.identity
    assert layout([Segment(7), Segment(7), Segment(2)]).identity


def test_the_share_that_is_no_padding_is_noted():
    tally = Tally(optimiser_steps=2)
    note_packing(tally, sequences_chunk([[1] * n for n in (10, 9, 5)]))  # padded: two of 10, one of 5
    note_packing(tally, sequences_chunk([[1] * 25]))
    assert tally.values() == {"packing/tokens": 24.5, "packing/real_share": pytest.approx(49 / 50)}


REFUSED = {
    "a sliding window of 8 over 9 tokens": (MistralConfig, MistralForCausalLM, {"sliding_window": 8}),
    "logit soft-capping": (Gemma2Config, Gemma2ForCausalLM, {"head_dim": 8, "sliding_window": 64}),
    "dropout": (LlamaConfig, LlamaForCausalLM, {"attention_dropout": 0.1}),
}


@pytest.mark.parametrize("what", REFUSED)
def test_models_it_would_falsify_are_refused(what):
    config, make, options = REFUSED[what]
    model = tiny(config, make, **options)
    model.set_attn_implementation("grpo_packed")
    with pytest.raises(UserError, match=f"does not do {what}"):
        packed_forward(model, sequences_chunk(sequences([9, 4])))


def test_a_window_no_sequence_reaches_is_served():
    model = tiny(MistralConfig, MistralForCausalLM, sliding_window=9)
    model.set_attn_implementation("grpo_packed")
    assert packed_forward(model, sequences_chunk(sequences([9, 4]))).shape == (11, 32)


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"s_aux": torch.zeros(2)}, "attention sinks"),
        ({"position_bias": torch.zeros(1)}, "a position bias"),
        ({"is_causal": False}, "attention that is not causal"),
    ],
)
def test_options_it_would_ignore_are_refused(options, what):
    q = torch.zeros(1, 2, 5, 4)
    with pytest.raises(UserError, match=what):
        packed_attention(torch.nn.Module(), q, q, q, None, packed_layout=layout([Segment(5)]), **options)


def test_masks_batches_and_calls_without_layout_are_refused():
    q, module = torch.zeros(1, 2, 5, 4), torch.nn.Module()
    with pytest.raises(UserError, match="an attention mask"):
        packed_attention(module, q, q, q, torch.ones(1, 1, 5, 5), packed_layout=layout([Segment(5)]))
    with pytest.raises(UserError, match="a batch or a cache"):
        packed_attention(module, q.expand(2, -1, -1, -1), q, q, None, packed_layout=layout([Segment(5)]))
    with pytest.raises(UserError, match="without a layout"):
        packed_attention(module, q, q, q, None)


def test_a_model_that_attends_otherwise_is_refused():
    model = tiny(LlamaConfig, LlamaForCausalLM)
    model.set_attn_implementation("sdpa")
    with pytest.raises(UserError, match="0 of 2 layers attended within their sequences"):
        packed_forward(model, sequences_chunk(sequences([9, 4])))
