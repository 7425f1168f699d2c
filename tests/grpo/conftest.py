"""A tiny untrained base with the corpus tokenizer, recipes for it, groups of completions, a policy."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from grpo.recipe import Recipe
from grpo.recipe_file import load_recipe
from grpo.types import Group, Prompt, Rollout
from rewards.score import Score

RECIPE = """
model: {dtype: float32, device: cpu}
pretrain: {corpus: addition, hidden_size: 32, layers: 1, heads: 1, context: 64, steps: 3, batch_size: 8}
data: {train: addition, holdout: 0.2, options: {digits: 2, count: 90}}
rollout: {engine: hf, group_size: 2, max_tokens: 8, context: 64}
rewards: [{rule: format}]
algorithm: {preset: grpo}
train: {steps: 4, prompts_per_step: 2, lr: 1.0e-2, save_every: 2}
eval: {every: 2, prompts: 2, samples: 1}
output: {folder: run}
"""


@pytest.fixture
def recipe_of(tmp_path):
    """recipe_of("train.steps=2", …): the small recipe with these overrides, its run folder in tmp_path."""

    def make(*overrides: str) -> Recipe:
        path = tmp_path / "recipe.yaml"
        path.write_text(RECIPE)
        return load_recipe(path, [f"output.folder={tmp_path / 'run'}", *overrides])

    return make


@pytest.fixture(scope="session")
def tokenizer():
    """The addition corpus's own tokenizer."""
    from grpo.corpus import CORPORA
    from grpo.stages.pretrain import build_tokenizer

    return build_tokenizer(CORPORA["addition"])


@pytest.fixture(scope="session")
def base(tmp_path_factory, tokenizer) -> str:
    """Folder of a tiny decoder with random weights (tied embeddings, as the demo's) and its tokenizer."""
    from grpo.recipe import Pretrain
    from grpo.stages.pretrain import build_decoder

    folder = tmp_path_factory.mktemp("base")
    build_decoder(Pretrain(hidden_size=32, layers=1, heads=2, context=64), tokenizer).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


@pytest.fixture
def policy_of(base, tokenizer):
    """policy_of(recipe, checkpoint=base): policy and reference in the recipe's precision."""
    from grpo.policy import load_policy

    def make(recipe: Recipe, checkpoint: str = base):
        return load_policy(recipe, checkpoint, checkpoint, tokenizer)

    return make


@pytest.fixture
def group_of(tokenizer):
    """group_of("1+2=", ["<answer>", …], advantages): a group drawn at log-prob -1; scores where given."""

    def make(
        text: str,
        completions: Sequence[str],
        advantages: Sequence[float] = (),
        scores: Sequence[Sequence[float | None]] = (),
    ) -> Group:
        prompt = Prompt(text, text, None, text, tuple(tokenizer(text)["input_ids"]))
        rollouts = []
        for sample, completion in enumerate(completions):
            ids = tuple(tokenizer(completion)["input_ids"])
            n = len(ids)
            rollouts.append(
                Rollout(
                    prompt.id,
                    sample,
                    prompt.token_ids,
                    ids,
                    (True,) * n,
                    (-1.0,) * n,
                    (0,) * n,
                    completion,
                    "stop",
                )
            )
        rows = tuple(
            tuple(Score(s, "ok" if s is not None else "none", 0.0, {}) for s in row) for row in scores
        )
        return Group(prompt, tuple(rollouts), rows, advantages=tuple(advantages))

    return make
