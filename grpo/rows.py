"""Rows as their source holds them to items: our columns, golds taken out, each prompt once."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eval.sets import registry
from grpo.errors import UserError
from grpo.recipe import Data
from grpo.sources import FUNCTION, Row, Source, find_file, load_function, parse_source, read_rows
from grpo.templates import PromptText

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Item:
    """One prompt of the data, not yet rendered."""

    prompt: PromptText
    answer: str | None
    key: str  # its hash decides the split
    columns: Row  # every other column


def read_items(data: Data, *, seed: int, folder: Path = Path()) -> list[Item]:
    """The rows of `data.train` with our columns, golds taken out, repeated prompts dropped (and logged).

    Raises:
        UserError: no rows, a missing column, a prompt that is neither text nor messages, a gold not found.
    """
    source = parse_source(data.train, folder)
    data = _with_set_defaults(data, source)
    rows = read_rows(source, data.options, seed)
    if not rows:
        raise UserError("holds no rows", data.train, "Give at least one prompt and its answer")
    take_gold = _gold_taker(data.gold, folder)
    items: dict[str, Item] = {}
    dropped, conflicts = 0, 0
    for number, row in enumerate(rows, 1):
        item = _item(_renamed(row, data, number), data, number, take_gold)
        text = canonical(item.prompt)
        kept = items.setdefault(text, item)
        if kept is not item:
            dropped, conflicts = dropped + 1, conflicts + (kept.answer != item.answer)
    if dropped:
        log.warning(
            "%s: %d repeated prompts dropped, %d of them with another answer than the one kept",
            data.train,
            dropped,
            conflicts,
        )
    return list(items.values())


def _with_set_defaults(data: Data, source: Source) -> Data:
    if source.kind != "set":
        return data
    found = registry.get(source.name)
    return data.model_copy(
        update={
            "columns": {**found.columns, **data.columns},
            "gold": data.gold or found.gold,
            "split_key": data.split_key or found.split_key,
        }
    )


def _renamed(row: Row, data: Data, number: int) -> Row:
    wanted = {"prompt": "prompt", "answer": "answer", **data.columns}
    missing = [theirs for theirs in wanted.values() if theirs not in row]
    if missing:
        has = ", ".join(sorted(map(str, row)))
        raise UserError(
            f"row {number} has no column {missing[0]!r}; it has {has}",
            data.train,
            "Name them: data.columns: {prompt: …, answer: …}",
        )
    rest = {name: value for name, value in row.items() if name not in wanted.values()}
    return {**rest, **{ours: row[theirs] for ours, theirs in wanted.items()}}


def _item(row: Row, data: Data, number: int, take_gold: Callable[[Any], Any] | None) -> Item:
    prompt, answer = row.pop("prompt"), row.pop("answer")
    where = f"{data.train} row {number}"
    if not (isinstance(prompt, str) and prompt) and not _is_messages(prompt):
        raise UserError(
            f"the prompt is {_kind(prompt)}", where, "It should be text, or a list of {role: …, content: …}"
        )
    if take_gold and answer is not None:
        answer = take_gold(answer)
        if answer is None:
            raise UserError("data.gold finds no gold in the answer column", where)
    if answer is not None and not isinstance(answer, str | int | float):
        raise UserError(f"the answer is {_kind(answer)}", where, "It should be text or a number")
    key = canonical(prompt)
    if data.split_key is not None:
        if data.split_key not in row:
            raise UserError(
                f"no column {data.split_key!r}; there are {', '.join(sorted(row))}", "data.split_key"
            )
        key = str(row[data.split_key])
    return Item(prompt, None if answer is None else str(answer), key, row)


def _is_messages(prompt: Any) -> bool:
    return (
        isinstance(prompt, list)
        and bool(prompt)
        and all(
            isinstance(message, dict)
            and isinstance(message.get("role"), str)
            and isinstance(message.get("content"), str)
            for message in prompt
        )
    )


def _kind(value: Any) -> str:
    if value is None or value in ("", []):
        return "empty"
    kinds = {bool: "true or false", int: "a number", float: "a number", str: "text", dict: "a mapping"}
    return kinds.get(type(value), "a list")


def _gold_taker(gold: str | None, folder: Path) -> Callable[[Any], Any] | None:
    if gold is None:
        return None
    function = FUNCTION.match(gold)
    if function:
        return load_function(find_file(function["file"], folder), function["name"])
    pattern = re.compile(gold)

    def take(answer: Any) -> str | None:
        found = pattern.search(str(answer))
        return found[1] if found else None

    return take


def canonical(prompt: PromptText) -> str:
    """A prompt as one string: itself, or its messages as JSON."""
    return prompt if isinstance(prompt, str) else json.dumps(prompt, ensure_ascii=False, sort_keys=True)
