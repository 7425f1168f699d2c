"""Layers that are recomputed: as many as asked for, with the gradients of none."""

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, OPTConfig, OPTForCausalLM

from grpo.attention import NAME, register
from grpo.model import TokenLogprobs, load_model
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
        layer.mlp.register_forward_pre_hook(  # recomputing ends before the layer does
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


def test_a_layer_that_drops_without_a_module_for_it_drops_nothing(tmp_path):
    config = OPTConfig(
        vocab_size=32,
        hidden_size=32,
        word_embed_proj_dim=32,
        ffn_dim=48,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=32,
        dropout=0.5,
    )
    OPTForCausalLM(config).save_pretrained(tmp_path)
    model, chunk = load_model(tmp_path, torch.float32), sequences_chunk([[5, 6, 7, 8], [9, 8, 7]])
    as_loaded = TokenLogprobs(model)(chunk, 1.0)[0]
    recompute(model, 2)
    assert torch.equal(TokenLogprobs(model)(chunk, 1.0)[0], as_loaded)
