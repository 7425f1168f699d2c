"""Completions of a tiny vocabulary, and a tiny model that reads them."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch

from grpo.losses import PRESETS
from grpo.recipe import Algorithm, Term
from grpo.types import Chunk, Group, Prompt, Rollout, Segment

VOCABULARY = 40


def make_chunk(lengths: list[int], advantages: list[float], **fields: torch.Tensor) -> Chunk:
    """A chunk of completions alone, without prompts, whose engine log-probs are -1."""
    sequence = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))
    zeros = torch.zeros(sum(lengths), dtype=torch.int64)
    values = {
        "token_ids": zeros,
        "positions": zeros,
        "segments": tuple(map(Segment, lengths)),
        "predicted": zeros,
        "source": zeros,
        "sequence": sequence,
        "behaviour": torch.full((sum(lengths),), -1.0),
        "versions": zeros,
        "advantages": torch.tensor(advantages)[sequence],
        "completion_lengths": torch.tensor(lengths),
    }
    return Chunk(**{**values, **fields})


@pytest.fixture
def chunk_of():
    """`make_chunk(lengths, advantages, **fields)`."""
    return make_chunk


@pytest.fixture
def preset():
    """A preset as an algorithm, changed: preset("grpo", kl={"coef": 0.1}, correction={"name": "none"})."""

    def make(name: str, entropy: float = 0.0, **changes: dict[str, Any]) -> Algorithm:
        row = dict(PRESETS[name])
        for kind, change in changes.items():
            row[kind] = change if "name" in change else {**row[kind], **change}
        return Algorithm(preset=name, entropy=entropy, **{kind: Term(**term) for kind, term in row.items()})

    return make


@pytest.fixture
def groups() -> list[Group]:
    """Three prompts of four completions, of unequal lengths and advantages, all sampled by the policy."""
    rng = random.Random(0)
    made = []
    for p in range(3):
        prompt_ids = tuple(rng.randrange(3, VOCABULARY) for _ in range(rng.randint(2, 6)))
        rollouts = []
        for g in range(4):
            n = rng.randint(1, 9)
            rollouts.append(
                Rollout(
                    prompt_id=f"p{p}",
                    sample=g,
                    prompt_ids=prompt_ids,
                    token_ids=tuple(rng.randrange(3, VOCABULARY) for _ in range(n)),
                    sampled=(True,) * n,
                    logprobs=tuple(-3.7 + 0.8 * rng.random() for _ in range(n)),
                    versions=(p,) * n,
                    text="",
                    finish_reason="stop",
                )
            )
        advantages = tuple(rng.uniform(-1.5, 1.5) for _ in range(4))
        prompt = Prompt(id=f"p{p}", prompt="", answer=None, text="", token_ids=prompt_ids)
        made.append(Group(prompt=prompt, rollouts=tuple(rollouts), advantages=advantages))
    return made


@pytest.fixture
def tiny_llama():
    """A random Llama in float32 whose log-probs differ clearly from token to token."""
    from transformers import LlamaConfig, LlamaForCausalLM

    from grpo.attention import register

    register()
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        initializer_range=0.3,
        tie_word_embeddings=False,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    model = LlamaForCausalLM(config)
    model.set_attn_implementation("grpo_packed")
    return model
