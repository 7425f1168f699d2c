"""What to change in a recipe that does not fit, each change tried on the estimate itself."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from grpo.memory.engine import CACHE, SHARE, least_share, longest, share_of
from grpo.memory.estimate import Estimator
from grpo.memory.room import room_for
from grpo.parallel.launch import local_count
from grpo.parallel.ranks import Ranks
from grpo.recipe import Adapter, Recipe
from grpo.rollout.memory import size
from grpo.rollout.vllm_args import WIDTHS, sequence_bytes, token_bytes

STEP = 256  # tokens between the budgets tried
RANKS = (2, 4, 8)  # processes tried


@dataclass(frozen=True)
class Change:
    """Overrides of a recipe, and what it needs with them."""

    overrides: tuple[str, ...]
    note: str
    needed: int

    def to_line(self) -> str:
        """As one would type it."""
        note = f" ({self.note})" if self.note else ""
        return f"  would fit  {' '.join(self.overrides)}{note}: {size(self.needed)}"


def layers_to_recompute(recipe: Recipe, config: Any, ranks: Ranks) -> int:
    """Layers under gradient checkpointing: all or none as the recipe says, or as few as memory asks for.

    Args:
        recipe: resolved.
        config: of its model.
        ranks: of which the first decides for all: sharded layers are gathered by all together.
    """
    said = recipe.train.gradient_checkpointing
    if said != "auto":
        return int(config.get_text_config().num_hidden_layers) if said else 0

    def fewest() -> int:
        room = room_for(recipe.model)
        each = 1 if room.on_gpu else local_count()
        return Estimator(config, room, ranks=ranks.count, each=each).fewest_layers(recipe)

    return ranks.once(fewest)


def changes(estimator: Estimator, recipe: Recipe) -> list[Change]:
    """Changes each of which makes the recipe fit alone; if none does, those that do so together."""
    alone = [change for change in _single(estimator, recipe) if change.needed <= estimator.room.bytes]
    if alone:
        return alone
    small, words = recipe, tuple[str, ...]()
    for word, values in (
        ("train.gradient_checkpointing=true", {"train": {"gradient_checkpointing": True}}),
        ("model.adapter={}", {"model": {"adapter": recipe.model.adapter or Adapter()}}),
    ):
        small, words = changed(small, **values), (*words, word)
        estimate = estimator.of(small)
        if estimate.fits:
            return [Change(words, "", estimate.needed)]
        if budget := _largest_budget(estimator, small):
            return [Change((*words, budget.overrides[0]), "", budget.needed)]
    return []


def changed(recipe: Recipe, **sections: dict[str, Any]) -> Recipe:
    """The recipe with other values: `train={"token_budget": 512}`."""
    copies = {name: getattr(recipe, name).model_copy(update=values) for name, values in sections.items()}
    return recipe.model_copy(update=copies)


def _single(estimator: Estimator, recipe: Recipe) -> Iterator[Change]:
    if recipe.train.gradient_checkpointing is False:
        found = estimator.of(changed(recipe, train={"gradient_checkpointing": "auto"}))
        note = f"recomputes {found.recomputed} of {found.layers} layers"
        yield Change(("train.gradient_checkpointing=auto",), note, found.needed)
    if budget := _largest_budget(estimator, recipe):
        yield budget
    in_parts, in_float32 = recipe.train.shard == "fsdp2", recipe.train.optimizer == "adamw"
    if recipe.model.adapter is None and not in_parts:
        found = estimator.of(changed(recipe, model={"adapter": Adapter()}))
        yield Change(("model.adapter={}",), "LoRA of rank 16; raise train.lr tenfold", found.needed)
    if in_float32 and not in_parts:
        found = estimator.of(changed(recipe, train={"optimizer": "adamw_8bit"}))
        yield Change(("train.optimizer=adamw_8bit",), "needs bitsandbytes", found.needed)
    yield from _engine(estimator, recipe)
    if estimator.room.on_gpu and recipe.model.adapter is None and in_float32 and not in_parts:
        yield from _shards(estimator, changed(recipe, train={"shard": "fsdp2"}))


def _largest_budget(estimator: Estimator, recipe: Recipe) -> Change | None:
    """The largest token budget that fits and holds the longest sequence."""
    least = estimator.prompt + recipe.rollout.max_tokens
    low, high = -(-least // STEP), (recipe.train.token_budget - 1) // STEP
    best = None
    while low <= high:
        middle = (low + high) // 2
        found = estimator.of(changed(recipe, train={"token_budget": STEP * middle}))
        if found.fits:
            best = Change((f"train.token_budget={STEP * middle}",), "", found.needed)
            low = middle + 1
        else:
            high = middle - 1
    return best


def _engine(estimator: Estimator, recipe: Recipe) -> Iterator[Change]:
    """The least that the engine can do with."""
    if recipe.rollout.engine != "vllm":
        return
    given, config = recipe.rollout.engine_args, estimator.config.get_text_config()
    if recipe.rollout.device:
        return
    if estimator.room.on_gpu and not recipe.rollout.sleep:
        found = estimator.of(changed(recipe, rollout={"sleep": True}))
        yield Change(("rollout.sleep=true",), "the engine asleep during updates", found.needed)
    if estimator.room.on_gpu:
        share = least_share(recipe, config, estimator.numbers(recipe), estimator.room)
        if share >= share_of(recipe):
            return
        name, value = SHARE, share
    else:
        token = token_bytes(config, WIDTHS[recipe.model.dtype])
        name, value = CACHE, sequence_bytes(token, longest(recipe, config))
        if value >= estimator.engine(recipe)["cache"]:
            return
    found = estimator.of(changed(recipe, rollout={"engine_args": {**given, name: value}}))
    yield Change((f"rollout.engine_args.{name}={value}",), "the least it starts with", found.needed)


def _shards(estimator: Estimator, recipe: Recipe) -> Iterator[Change]:
    for ranks in RANKS:
        found = estimator.on_ranks(ranks).of(recipe)
        if found.fits:
            yield Change(("train.shard=fsdp2",), f"on {ranks} GPUs of this size, by torchrun", found.needed)
            return
