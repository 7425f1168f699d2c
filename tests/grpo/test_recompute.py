"""Layers that are recomputed: as many as asked for, with the gradients of none."""

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from grpo.attention import NAME, register
from grpo.model import TokenLogprobs
from grpo.packing import sequences_chunk
from grpo.recompute import layer_count, recompute


@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_first_layers_run_twice_and_gradients_are_the_same(count):
    register()
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 2}
    # attention's own dropout would act in training mode
    model = LlamaForCausalLM(LlamaConfig(vocab_size=32, attention_dropout=0.5, **sizes))
    model.set_attn_implementation(NAME)
    model.eval()  # as it is loaded
    chunk, gradients, calls = sequences_chunk([[5, 6, 7, 8], [9, 8, 7]]), [], [0] * 3
    for number, layer in enumerate(model.model.layers):
        layer.mlp.register_forward_pre_hook(  # recomputing ends before it would return
            lambda *_, number=number: calls.__setitem__(number, calls[number] + 1)
        )
    assert layer_count(model) == 3
    for layers in (0, count):
        calls[:] = [0] * 3
        recompute(model, layers)
        model.zero_grad()
        TokenLogprobs(model)(chunk, 1.0)[0].mean().backward()
        assert calls == [2] * layers + [1] * (3 - layers)
        gradients.append([p.grad.clone() for p in model.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))
