"""What a recipe would do, without loading model or engine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from grpo.data import check_splits, count_splits, data_of_set, prompt_of
from grpo.errors import UserError
from grpo.golds import check_golds
from grpo.memory.tell import Memory, memory_of
from grpo.named_models import resolved_if_made
from grpo.recipe import Recipe
from grpo.recipe_checks import check_context
from grpo.recipe_file import dump_recipe
from grpo.rollout.vllm_args import check_start
from grpo.rows import Item, canonical, read_items
from grpo.scoring import Scorer
from grpo.shots import choose_shots, render
from grpo.stages.held_out import protocol_prompts
from grpo.stages.rl import context_of, open_prompts
from grpo.templates import Tokenizer, get_template
from grpo.trackers import check_trackers


@dataclass(frozen=True)
class Plan:
    """What `grpo train --dry-run` shows."""

    recipe: Recipe
    prompt: str | None  # the first one, rendered; None where only the model's tokenizer could
    prompt_tokens: int | None  # None where no tokenizer is on this machine
    checkpoint: str  # folder, hub id, or that it is still to be made
    checkpoint_bytes: int | None  # of its weights; None where they are not on this machine
    reference: bool  # the KL term has a model that it pulls towards
    rows: dict[str, int]  # prompts by split, before any is dropped for its length
    completions: int  # steps × prompts a step × group size
    memory: Memory

    def to_json(self) -> dict[str, Any]:
        """Everything as JSON values."""
        recipe, memory = self.recipe.model_dump(mode="json"), self.memory.to_json()
        return {**vars(self), "recipe": recipe, "memory": memory}

    def to_text(self) -> str:
        """Everything as text for a person; the recipe first, as YAML."""
        train, rollout = self.recipe.train, self.recipe.rollout
        steps = f"{train.steps} steps × {train.prompts_per_step} prompts × {rollout.group_size}"
        size = f", {self.checkpoint_bytes / 1e6:,.1f} MB" if self.checkpoint_bytes is not None else ""
        tokens = f", {self.prompt_tokens} tokens" if self.prompt_tokens is not None else ""
        rows = ", ".join(f"{count} {name}" for name, count in self.rows.items())
        prompt = self.prompt
        if prompt is None:
            prompt = "(rendered by the model's own tokenizer, which is not on this machine)"
        return "\n".join(
            [
                dump_recipe(self.recipe),
                f"first prompt{tokens}:",
                prompt,
                "",
                f"checkpoint   {self.checkpoint}{size}",
                f"engine       {rollout.engine}, {self.recipe.model.dtype}",
                f"trained      {self._trained()}",
                f"reference    {self._reference()}",
                f"prompts      {rows}",
                f"completions  {steps} = {self.completions:,}",
                f"run folder   {self.recipe.output.folder}",
                *self.memory.to_lines(),
            ]
        )

    def _trained(self) -> str:
        if (adapter := self.recipe.model.adapter) is None:
            return "all weights"
        return f"{adapter.kind} of rank {adapter.rank} on {', '.join(adapter.targets)}"

    def _reference(self) -> str:
        if not self.reference:
            return "none"
        off = "the model without its adapter, no second copy"
        return off if self.recipe.model.adapter else "a frozen copy of the checkpoint"


def plan(recipe: Recipe, gpu_gib: float | None = None) -> Plan:
    """Reads the data, tries the golds on the rules, and reads of the model its size, context and tokenizer.

    Args:
        recipe: resolved.
        gpu_gib: GiB of the GPU that memory is estimated for; this machine's memory when None.

    Raises:
        UserError: what a run would refuse, as far as it can be known without weights: data, rules, golds,
            and where the model's tokenizer is here, prompts too long for budget or context.
    """
    check_start(recipe.rollout)
    check_trackers(recipe.output.trackers)
    folder = _local_checkpoint(recipe)
    if folder and (folder / "config.json").is_file():
        check_context(recipe, folder / "config.json")
        if recipe.model.adapter:
            from grpo.adapters import check_targets

            check_targets(recipe.model.adapter, str(folder))
    items = read_items(recipe.data, seed=recipe.output.seed)
    rows = count_splits(items, recipe.data)
    check_splits(rows, recipe.data, recipe.train.prompts_per_step)
    tokenizer = _tokenizer(str(folder) if folder else recipe.model.path)
    _try_prompts(recipe, items, folder, tokenizer)
    template, prompt, shots = get_template(recipe.data.template), None, choose_shots(items, recipe.data)
    try:
        prompt = render(items[0].prompt, recipe.data, tokenizer, shots)
    except UserError:
        if tokenizer is not None:
            raise
    tokens = None
    if tokenizer is not None and prompt is not None:
        tokens = len(tokenizer([prompt], add_special_tokens=template.special_tokens)["input_ids"][0])
    train = recipe.train
    return Plan(
        recipe=recipe,
        prompt=prompt,
        prompt_tokens=tokens,
        checkpoint=str(folder or recipe.model.path or "none yet: made by the recipe's pretrain section"),
        checkpoint_bytes=_weight_bytes(folder) if folder else None,
        reference=recipe.algorithm.kl.options.get("coef", 0.0) > 0,
        rows=rows,
        memory=memory_of(recipe, folder, tokens, gpu_gib),
        completions=train.steps * train.prompts_per_step * recipe.rollout.group_size,
    )


def _try_prompts(recipe: Recipe, items: Sequence[Item], folder: Path | None, tokenizer: Any | None) -> None:
    """All prompts as the run opens them; without the model here, golds alone are tried, and sets read."""
    with Scorer(recipe.rewards) as scorer:
        if folder and tokenizer:
            splits, _ = open_prompts(recipe, items, str(folder), tokenizer, scorer)
            protocol_prompts(recipe, splits, tokenizer, context_of(recipe, str(folder)))
            return
        prompts = [prompt_of(item, canonical(item.prompt), ()) for item in items]
        form = get_template(recipe.data.template).answer_form
        check_golds(scorer, prompts, form, recipe.data.bad_gold, name=recipe.data.train)
    for name in recipe.eval.sets:
        read_items(data_of_set(name, recipe.data), seed=recipe.output.seed)


def _local_checkpoint(recipe: Recipe) -> Path | None:
    if recipe.model.path:
        return resolved_if_made(recipe.model.path)
    from grpo.stages.pretrain import cache_folder

    folder = cache_folder(recipe)
    return folder if folder.is_dir() else None


def _weight_bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.glob("*.safetensors"))


def _tokenizer(name: str | None) -> Tokenizer | None:
    if name is None:
        return None
    from transformers import AutoTokenizer

    try:
        return cast(Tokenizer, AutoTokenizer.from_pretrained(name, local_files_only=True))
    except (OSError, ValueError):  # not in the cache, or a folder without one
        return None
