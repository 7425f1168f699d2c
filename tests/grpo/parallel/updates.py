"""Updates over stored groups, by one process or by each of several: what test_updates.py compares.

As a program: `updates.py BASE FOLDER CASE …`, started once a rank; the first rank writes FOLDER/CASE.pt.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import torch

from grpo.checkpoint import load_state, save_checkpoint
from grpo.parallel.ranks import ALONE, Ranks, joined
from grpo.policy import load_policy
from grpo.quiet import quieten
from grpo.recipe import Recipe
from grpo.recipe_file import load_recipe
from grpo.stages.rl import load_tokenizer
from grpo.trainer import update
from grpo.types import Group, Prompt, Rollout

RECIPE = """
model: {dtype: float32, device: cpu}
data: {train: addition}
rollout: {group_size: 4, max_tokens: 32, context: 64}
rewards: [{rule: format}]
algorithm: {preset: grpo}
train: {steps: 5, prompts_per_step: 4, lr: 2.0e-4, token_budget: 96}
output: {folder: run}
"""
STEPS = 5
# What a case changes in the recipe; how its groups get their advantages is `advantages_of`.
CASES: dict[str, tuple[str, ...]] = {
    "plain": (),
    "one_chunk": ("train.token_budget=16384",),
    "half_flat": (),
    "one_acts": (),
    "all_flat": (),
    "minibatches": ("train.minibatches=2",),
    "kl": ("algorithm.kl.coef=0.1", "algorithm.entropy=0.01"),
    "dapo": ("algorithm.preset=dapo", "train.minibatches=2"),
    "checkpointing": ("train.gradient_checkpointing=true",),
    "bfloat16": ("model.dtype=bfloat16",),
}


def advantages_of(case: str, prompt: int, sample: int, drawn: random.Random) -> float:
    """Advantage of one completion."""
    value = drawn.gauss(0, 1)
    flat = {
        "half_flat": prompt >= 2,  # all that the second of two ranks draws
        "one_acts": (prompt, sample) != (1, 2),  # so that a rank has nothing to train on
        "all_flat": True,
    }
    return 0.0 if flat.get(case) else value


def groups_of(case: str, step: int) -> list[Group]:
    """Four prompts of four completions, of 1 to 32 tokens, drawn at made-up log-probs."""
    drawn = random.Random(f"{step}")
    groups = []
    for p in range(4):
        prompt_ids = tuple(drawn.randrange(5, 20) for _ in range(drawn.randrange(2, 24)))
        rollouts, advantages = [], []
        for sample in range(4):
            n = drawn.choice([1, 3, 8, 32])
            rollouts.append(
                Rollout(
                    prompt_id=f"{step}-{p}",
                    sample=sample,
                    prompt_ids=prompt_ids,
                    token_ids=tuple(drawn.randrange(5, 20) for _ in range(n)),
                    sampled=(True,) * n,
                    logprobs=tuple(-3 + drawn.gauss(0, 0.3) for _ in range(n)),
                    versions=(step,) * n,
                    text="",
                    finish_reason="stop",
                )
            )
            advantages.append(advantages_of(case, p, sample, drawn))
        prompt = Prompt(f"{step}-{p}", "", None, "", prompt_ids)
        groups.append(Group(prompt, tuple(rollouts), advantages=tuple(advantages)))
    return groups


def recipe_of(folder: Path, base: str, *overrides: str) -> Recipe:
    """The recipe of a case."""
    path = folder / "recipe.yaml"
    if not path.exists():
        path.write_text(RECIPE)
    return load_recipe(path, [f"model.path={base}", *overrides])


def take_steps(
    policy: Any, reference: Any, recipe: Recipe, case: str, steps: range
) -> list[dict[str, float]]:
    """The metrics of each update."""
    return [update(policy, reference, groups_of(case, step), recipe, step) for step in steps]


def weights_of(policy: Any) -> dict[str, torch.Tensor]:
    """Copies of all weights, whole."""
    return {name: tensor.detach().clone() for name, tensor in policy.weights()}


def run_case(recipe: Recipe, case: str, ranks: Ranks = ALONE, folder: Path | None = None) -> dict[str, Any]:
    """Five updates: their metrics and the weights after them; a checkpoint at the third where asked for."""
    base = str(recipe.model.path)
    tokenizer = load_tokenizer(base)
    policy, reference = load_policy(recipe, base, base, tokenizer, ranks)
    terms = take_steps(policy, reference, recipe, case, range(3))
    if folder is not None:
        save_checkpoint(folder, policy, {})
    terms += take_steps(policy, reference, recipe, case, range(3, STEPS))
    sharded = sum(hasattr(p, "device_mesh") for p in policy.model.parameters())
    return {"terms": terms, "weights": weights_of(policy), "sharded": sharded}


def resume_case(recipe: Recipe, case: str, checkpoint: Path, ranks: Ranks = ALONE) -> dict[str, Any]:
    """The last two updates, from the checkpoint before them."""
    base = str(recipe.model.path)
    policy, reference = load_policy(recipe, str(checkpoint), base, load_tokenizer(base), ranks)
    policy.restore(load_state(checkpoint))
    terms = take_steps(policy, reference, recipe, case, range(3, STEPS))
    return {"terms": terms, "weights": weights_of(policy)}


def average(real: Callable[..., Any]) -> Callable[..., Any]:
    """An all-reduce that averages, as data-parallel wrappers do."""

    def reduce(tensor: torch.Tensor, *args: Any, **options: Any) -> None:
        real(tensor, *args, **options)
        tensor /= torch.distributed.get_world_size()

    return reduce


def deaf(real: Callable[..., Any]) -> Callable[..., Any]:
    """An all-reduce whose result the second rank does not take."""

    def reduce(tensor: torch.Tensor, *args: Any, **options: Any) -> None:
        own = tensor.clone()
        real(tensor, *args, **options)
        if torch.distributed.get_rank() == 1:
            tensor.copy_(own)

    return reduce


FAULTS = {"average": average, "deaf": deaf}


def main(base: str, folder: Path, *names: str) -> None:
    """Runs cases named CASE, CASE/fsdp2, CASE/resume, or CASE/FAULT, each after the other."""
    quieten()
    with joined(recipe_of(folder, base)) as ranks:
        for name in names:
            case, _, how = name.partition("/")
            shard = ["train.shard=fsdp2"] if "fsdp2" in how else []
            recipe = recipe_of(folder, base, *CASES[case], *shard)
            root = folder / name.replace("/", "-")
            if "resume" in how:
                found = resume_case(recipe, case, folder / "whole" / "step-3", ranks)
            elif how in FAULTS:
                fault = FAULTS[how](torch.distributed.all_reduce)
                with mock.patch("torch.distributed.all_reduce", fault):
                    found = run_case(recipe, case, ranks)
                found["every"] = ranks.exchange(found["weights"])
            else:
                found = run_case(recipe, case, ranks, root)
            if ranks.first:
                torch.save(found, root.with_suffix(".pt"))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:])
