"""Rows to prompts: columns, golds, template, tokens, the hash split, and a seeded stream that can be resumed.

Rows with one prompt are one prompt: the first is kept, wherever the others would have gone. A row's split
key (`data.split_key`, else the set's own, else the prompt) alone decides its split, so rows that share a key
stay together. Held-out prompts come in hash order: the first n of them are a fair sample of all, the same in
every run.
"""

from __future__ import annotations

import hashlib
import logging
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from grpo.errors import UserError
from grpo.recipe import Data
from grpo.rows import Item, canonical, read_items
from grpo.sources import parse_source
from grpo.templates import TEMPLATES, PromptText, Tokenizer, get_template
from grpo.types import Prompt

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class DataSplits:
    """Prompts by what they may be used for. No split key is in two of them."""

    train: list[Prompt]
    select: list[Prompt]  # held out: chooses the best checkpoint
    report: list[Prompt]  # held out: feeds summary.json, chooses nothing
    shots: tuple[Item, ...] = ()  # worked examples in front of every prompt, in no split


def in_holdout(key: str, fraction: float) -> bool:
    """Whether rows with this split key are held out, for a share `fraction` of all keys.

    A hash, because a rule on the key itself (a residue, a length) holds out one kind of problem.
    """
    return _unit("holdout", key) < fraction


def half(key: str) -> Literal["select", "report"]:
    """Which half of the held-out rows a key belongs to, independent of `in_holdout`."""
    return "select" if _unit("half", key) < 0.5 else "report"


def open_data(
    items: Sequence[Item], data: Data, *, tokenizer: Tokenizer, max_prompt_tokens: int
) -> DataSplits:
    """The prompts of a run.

    Args:
        items: from `read_items`.
        data: the recipe's section.
        tokenizer: of the model.
        max_prompt_tokens: longest prompt; `data.overlong` says what happens to longer ones.

    Raises:
        UserError: a prompt cannot be rendered or is too long, or a split comes out empty.
    """
    shots = choose_shots(items, data)
    shown = {item.key for item in shots}
    rest = [item for item in items if item.key not in shown]
    prompts = _prompts(rest, data, tokenizer, max_prompt_tokens, shots)
    splits: dict[str, list[Prompt]] = {"train": [], "select": [], "report": []}
    for item, prompt in prompts:
        splits[half(item.key) if in_holdout(item.key, data.holdout) else "train"].append(prompt)
    check_splits({name: len(members) for name, members in splits.items()}, data)
    return DataSplits(
        splits["train"], _in_hash_order(splits["select"]), _in_hash_order(splits["report"]), shots
    )


def choose_shots(items: Sequence[Item], data: Data) -> tuple[Item, ...]:
    """The `data.shots` worked examples: rows that are not held out, one a key, in an order by hash.

    Raises:
        UserError: the template takes none, or there are fewer rows with a gold.
    """
    if not data.shots:
        return ()
    if get_template(data.template).shot is None:
        takers = [name for name, template in TEMPLATES.items() if template.shot]
        raise UserError(
            f"template {data.template} takes no worked examples",
            "data.shots",
            f"Use {', '.join(takers)}, or 0",
        )
    able = {item.key: item for item in items if item.answer and not in_holdout(item.key, data.holdout)}
    if len(able) < data.shots:
        raise UserError(
            f"{data.shots} worked examples, but {len(able)} rows have a gold and are not held out",
            "data.shots",
            "Take fewer, or give more rows",
        )
    return tuple(able[key] for key in sorted(able, key=lambda key: _unit("shot", key))[: data.shots])


def render(prompt: PromptText, data: Data, tokenizer: Tokenizer | None, shots: Sequence[Item]) -> str:
    """A prompt as the model reads it, behind the worked examples."""
    template = get_template(data.template)
    text = template.render(prompt, data.system, tokenizer)
    if template.shot is None:
        return text
    examples = [(template.render(item.prompt, data.system, tokenizer), item.answer or "") for item in shots]
    return "".join(template.shot(*example) for example in examples) + text


def count_splits(items: Sequence[Item], data: Data) -> dict[str, int]:
    """Prompts by split, before any is dropped for its length."""
    counts = {"train": 0, "select": 0, "report": 0}
    for item in items:
        counts[half(item.key) if in_holdout(item.key, data.holdout) else "train"] += 1
    return counts


def check_splits(counts: Mapping[str, int], data: Data, a_step: int = 1) -> None:
    """Checks that there is something to train and to report on.

    Args:
        counts: prompts by split.
        data: the recipe's section.
        a_step: prompts that a step takes.

    Raises:
        UserError: a split is empty, or one step would take more prompts than there are.
    """
    total = sum(counts.values())
    for name, count in counts.items():
        if not count:
            raise UserError(
                f"a holdout of {data.holdout:g} leaves none of {total} prompts for the {name} split",
                "data.holdout",
                "Change the share, or give more rows",
            )
    if counts["train"] < a_step:
        raise _too_few(counts["train"], a_step)


def _too_few(prompts: int, a_step: int) -> UserError:
    return UserError(
        f"{a_step} prompts a step, but there are {prompts} to train on",
        "train.prompts_per_step",
        "Take fewer, or give more rows",
    )


def open_set(
    source: str,
    data: Data,
    *,
    tokenizer: Tokenizer,
    max_prompt_tokens: int,
    seed: int,
    folder: Path = Path(),
    shots: Sequence[Item] = (),
) -> list[Prompt]:
    """All prompts of one of `eval.sets`, rendered by the run's template and shots, in hash order.

    A named set brings its own columns and gold; any other source is read with those of `data`.
    """
    data = data_of_set(source, data, folder)
    items = read_items(data, seed=seed, folder=folder)
    prompts = _prompts(items, data, tokenizer, max_prompt_tokens, shots)
    return _in_hash_order([prompt for _, prompt in prompts])


def data_of_set(source: str, data: Data, folder: Path = Path()) -> Data:
    """The data section by which one of `eval.sets` is read."""
    own: dict[str, Any] = {"train": source, "split_key": None, "options": {}}
    if parse_source(source, folder).kind == "set":
        own |= {"columns": {}, "gold": None}
    return data.model_copy(update=own)


def _in_hash_order(prompts: list[Prompt]) -> list[Prompt]:
    return sorted(prompts, key=lambda prompt: _unit("order", prompt.id))


def _prompts(
    items: Sequence[Item],
    data: Data,
    tokenizer: Tokenizer,
    max_prompt_tokens: int,
    shots: Sequence[Item],
) -> list[tuple[Item, Prompt]]:
    template = get_template(data.template)
    texts = [render(item.prompt, data, tokenizer, shots) for item in items]
    tokens = tokenizer(texts, add_special_tokens=template.special_tokens)["input_ids"]
    made = [
        (item, prompt_of(item, text, token_ids))
        for item, text, token_ids in zip(items, texts, tokens, strict=True)
    ]
    fitting = [pair for pair in made if len(pair[1].token_ids) <= max_prompt_tokens]
    if len(fitting) < len(made):
        longest = max(len(prompt.token_ids) for _, prompt in made)
        what = (
            f"{len(made) - len(fitting)} of {len(made)} prompts are longer than the {max_prompt_tokens} "
            f"tokens that rollout.max_tokens leaves of the context; the longest has {longest}"
        )
        if data.overlong == "error" or not fitting:
            other = "set data.overlong: drop" if fitting else "lower rollout.max_tokens"
            raise UserError(what, data.train, f"Raise rollout.context, or {other}")
        log.warning("%s: %s; dropped", data.train, what)
    return fitting


def prompt_of(item: Item, text: str, token_ids: Sequence[int]) -> Prompt:
    """A prompt from its item, its rendered text and the text's tokens."""
    name = _digest("id", canonical(item.prompt)).hex()
    return Prompt(name, item.prompt, item.answer, text, tuple(token_ids), item.columns)


class PromptStream:
    """Prompts epoch by epoch, each epoch in an order of its own that depends on the seed alone."""

    def __init__(self, prompts: Sequence[Prompt], seed: int) -> None:
        self._prompts, self._seed = list(prompts), seed
        self._epoch, self._position = 0, 0
        self._deferred: list[int] = []  # of this epoch, passed over because the take had them already
        self._order = self._shuffled()

    def take(self, count: int) -> list[Prompt]:
        """The next `count` prompts. No prompt is in it twice, also where one epoch ends and the next begins.

        Raises:
            UserError: there are fewer prompts than `count`.
        """
        if count > len(self._prompts):
            raise _too_few(len(self._prompts), count)
        taken = self._deferred[:count]
        self._deferred = self._deferred[count:]
        while len(taken) < count:
            if self._position == len(self._order):
                self._epoch, self._position = self._epoch + 1, 0
                self._order = self._shuffled()
            index = self._order[self._position]
            self._position += 1
            (self._deferred if index in taken else taken).append(index)
        return [self._prompts[index] for index in taken]

    def state(self) -> dict[str, Any]:
        """Where the stream stands, as JSON values."""
        return {
            "epoch": self._epoch,
            "position": self._position,
            "deferred": list(self._deferred),
            "data": self._fingerprint(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Goes on exactly where `state` was taken.

        Raises:
            UserError: the prompts or the seed are others than they were.
        """
        if state["data"] != self._fingerprint():
            raise UserError(
                "the data, their order or the seed changed since the checkpoint",
                "data",
                "Resume with the recipe of the run, or start a new one in another output.folder",
            )
        self._epoch, self._position = state["epoch"], state["position"]
        self._deferred = list(state["deferred"])
        self._order = self._shuffled()

    def _shuffled(self) -> list[int]:
        order = list(range(len(self._prompts)))
        random.Random(f"{self._seed}/{self._epoch}").shuffle(order)
        return order

    def _fingerprint(self) -> str:
        return _digest(str(self._seed), *(prompt.id for prompt in self._prompts)).hex()


def _digest(*parts: str) -> bytes:
    return hashlib.blake2b("\0".join(parts).encode(), digest_size=8).digest()


def _unit(salt: str, key: str) -> float:
    """A number in [0, 1) that looks random and depends on salt and key alone."""
    return int.from_bytes(_digest(salt, key), "big") / 2**64
