"""Completions of a run, ready for JSON and bounded in size: which steps, which prompts, how many tokens.

A completion's tokens are numbers into its step's table of texts, and its log-probs whole thousandths, which
takes a third of the room that texts and fractions would.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from grpo.errors import UserError
from grpo.samples import groups_of, read_samples, rule_names, sample_files
from grpo.screen import safe

Row = dict[str, Any]
HEAD, TAIL = 3000, 1000  # tokens of a completion that are kept, where it has more
CHARACTERS = 4 * (HEAD + TAIL)  # of a completion whose tokens are not known, and of a prompt
NEEDED = ("step", "prompt_id", "sample", "completion", "reward", "advantage")


@dataclass
class Step:
    """Completions of one step, by prompt."""

    step: int
    rules: list[str]
    texts: list[str]  # of tokens; a completion holds indices into it
    groups: list[Row]  # those kept
    prompts: int  # of the step, those left out included

    def to_json(self) -> Row:
        """The step as the page reads it."""
        return dict(vars(self))


def step_files(folder: Path) -> dict[int, Path]:
    """The sample files of a run by step; none where it has not sampled yet."""
    try:
        files = sample_files(folder)
    except UserError:
        return {}
    return {int(path.stem.removeprefix("step-")): path for path in files}


def spread(items: Sequence[int], count: int) -> list[int]:
    """`count` of the items, evenly spaced, the first and the last among them (the last, of one)."""
    if len(items) <= count:
        return list(items)
    if count == 1:
        return [items[-1]]
    last = len(items) - 1
    return [items[round(i * last / (count - 1))] for i in range(count)]


def read_step(file: Path, most: int | None = None) -> Step:
    """One sample file, its first `most` prompts.

    Files without texts and log-probs of tokens, as older runs have them, give completions as one text.

    Raises:
        UserError: the file cannot be read, or is no sample file.
    """
    rows, rules = read_samples(file), rule_names(file)
    missing = [name for name in NEEDED if rows and name not in rows[0]]
    if missing:
        raise UserError(f"has no column {missing[0]!r}", str(file), "It is no sample file of a run")
    groups = list(groups_of(rows))
    table: dict[str, int] = {}
    kept = [_group(group, rules, table) for group in groups[:most]]
    return Step(int(rows[0]["step"]) if rows else 0, rules, list(table), kept, len(groups))


def _group(rows: Sequence[Row], rules: Sequence[str], table: dict[str, int]) -> Row:
    first = rows[0]
    return {
        "id": first["prompt_id"],
        "prompt": _shortened(first.get("prompt") or ""),
        "answer": None if first.get("answer") is None else safe(str(first["answer"])),
        "rows": [_completion(row, rules, table) for row in rows],
    }


def _completion(row: Row, rules: Sequence[str], table: dict[str, int]) -> Row:
    found: Row = {name: row.get(name) for name in ("sample", "finish_reason", "tokens", "version")}
    found |= {name: _number(row.get(name)) for name in ("reward", "advantage", "mean_logprob")}
    found["scores"] = [_number(row.get(f"score/{rule}")) for rule in rules]
    found["status"] = [row.get(f"status/{rule}") for rule in rules]
    found["extras"] = [_extras(row.get(f"extras/{rule}")) for rule in rules]
    pieces, logprobs = row.get("pieces"), row.get("logprobs")
    if pieces is None or logprobs is None:
        return found | {"text": _shortened(row["completion"])}
    numbers = [table.setdefault(safe(piece), len(table)) for piece in _ends(pieces)]
    left_out = len(pieces) - len(numbers)
    return found | {
        "pieces": numbers,
        "logprobs": [None if value is None else round(1000 * value) for value in _ends(logprobs)],
        **({"left_out": left_out, "head": HEAD} if left_out else {}),
    }


def _ends(values: Sequence[Any]) -> Sequence[Any]:
    """All values, or the first HEAD and the last TAIL of too many."""
    return values if len(values) <= HEAD + TAIL else [*values[:HEAD], *values[-TAIL:]]


def _shortened(text: str) -> str:
    """The text, made safe to show, without its middle where it is too long."""
    if len(text) <= CHARACTERS:
        return safe(text)
    half = CHARACTERS // 2
    return f"{safe(text[:half])}\n… {len(text) - 2 * half} characters …\n{safe(text[-half:])}"


def _number(value: float | None) -> float | None:
    """Four decimals; null for NaN, which JSON lacks."""
    return None if value is None or value != value else round(value, 4)


def _extras(text: str | None) -> dict[str, str]:
    """What a rule logged of a completion, in words."""
    try:
        found = json.loads(text or "{}")
    except ValueError:
        return {}
    if not isinstance(found, Mapping):
        return {}
    words = {name: value if isinstance(value, str) else json.dumps(value) for name, value in found.items()}
    return {safe(name): _shortened(value) for name, value in words.items()}


def select(files: Mapping[int, Path], *, steps: int, groups: int, room: int) -> Iterator[Step]:
    """Completions of at most `steps` steps, evenly spaced, and `groups` prompts of each, within `room`.

    Where the room is too small, the same number of prompts is left out of every step.

    Args:
        files: from `step_files`.
        room: bytes of JSON that all of it may take.
    """
    chosen = spread(sorted(files), steps)
    share = room // max(1, len(chosen))
    for number in chosen:
        yield _within(read_step(files[number], groups), share)


def _within(step: Step, room: int) -> Step:
    """The step without those last prompts that do not fit; what its table then holds too much is little."""
    used = len(json.dumps(step.texts, ensure_ascii=False).encode())
    for index, group in enumerate(step.groups):
        used += len(json.dumps(group, ensure_ascii=False, separators=(",", ":")).encode())
        if used > room:
            del step.groups[index:]
            break
    return step
