"""A rule tried on stored completions: rows of a JSONL file to groups, scores in order, lines as they come."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from itertools import accumulate, groupby
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from grpo.errors import UserError
from rewards.call import Request
from rewards.runner import Runner, Score

Row = dict[str, Any]
Label = float | str | None  # the right score, or "ungraded", or none given
LABELS: dict[str, float | str] = {"right": 1.0, "wrong": 0.0, "ungraded": "ungraded"}
LOGGED = ("verdict", "rung", "extracted")  # what rules that grade answers log; in every line of --out
SHAPE = 'Write {"completion": …, "answer": …}'


def read_rows(file: Path) -> list[Row]:
    """The rows of a JSONL file, each checked for a completion."""
    if not file.is_file():
        raise UserError("no such file", str(file), "Give a JSONL file with a completion a line")
    text = file.read_text(encoding="utf-8-sig", errors="surrogateescape").rstrip()
    if not text:
        raise UserError("the file is empty", str(file), "Give a JSONL file with a completion a line")
    return [read_row(line, f"{file}:{number}") for number, line in enumerate(text.split("\n"), 1)]


def read_row(line: str, where: str) -> Row:
    """One line of the file; `where` names it in errors."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UserError(f"not JSON: {error}", where, SHAPE) from error
    if not isinstance(row, dict):
        raise UserError("a line must hold an object", where, SHAPE)
    if not isinstance(row.get("completion"), str | list):
        columns = ", ".join(row) or "none"
        raise UserError(f"no text or messages in column 'completion'; columns: {columns}", where)
    return row


def read_label(row: Row, where: str) -> Label:
    """What a row's `label` says of it: true, false or the right score, or one of the words of LABELS."""
    label = row.get("label")
    if isinstance(label, bool | int | float):
        return float(label)
    if label is None or (isinstance(label, str) and label in LABELS):
        return None if label is None else LABELS[label]
    instead = "Write true, false, the right score, or right, wrong, ungraded"
    raise UserError(f"label {label!r} is none", where, instead)


def read_options(pairs: Sequence[str]) -> dict[str, Any]:
    """Options given as `key=value`, the value read as in a recipe."""
    import yaml

    options = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise UserError(f"{pair!r} is no option", "--option", "Write key=value")
        try:
            options[key] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise UserError(f"{value!r} is no YAML value", f"--option {key}", "Quote it") from error
    return options


def groups_of_rows(rows: Sequence[Row]) -> list[Request]:
    """Consecutive rows with one prompt as one group; a row without a prompt stands alone."""

    def key(index: int) -> str | int:
        return json.dumps(rows[index]["prompt"]) if "prompt" in rows[index] else index

    own = ("prompt", "completion", "completion_ids")
    names = dict.fromkeys(name for row in rows for name in row if name not in own)
    groups = []
    for _, indices in groupby(range(len(rows)), key=key):
        members = [rows[index] for index in indices]
        groups.append(
            Request(
                [row.get("prompt", "") for row in members],
                [row["completion"] for row in members],
                {name: [row.get(name) for row in members] for name in names},
                [row["completion_ids"] for row in members]
                if all("completion_ids" in row for row in members)
                else None,
            )
        )
    return groups


def score_groups(
    runner: Runner, groups: Sequence[Request], tell: Callable[[int, Score], None]
) -> list[Score]:
    """The scores of a runner's one rule, a completion each, in order.

    Args:
        runner: idle, with one rule.
        groups: what to score; completions are numbered through all of them.
        tell: called with a completion's number and score as soon as they are known, in any order.
    """
    sizes = [len(group.completions) for group in groups]
    starts = [0, *accumulate(sizes)]
    for key, group in enumerate(groups):
        runner.submit(
            key, group.prompts, group.completions, group.columns, group.completion_ids, group.trainer_state
        )
    scores: dict[int, Score] = {}
    for finished, result, _ in runner.wait():
        assert isinstance(finished, int)  # the keys given above
        for index, (score,) in enumerate(result, starts[finished]):
            scores[index] = score
            tell(index, score)
    return [scores[index] for index in range(len(scores))]


def line_of(score: Score) -> Row:
    """A score as a line of a file: score, status, seconds, verdict, rung, extracted, and all else logged.

    A rule that failed to judge has said nothing: its verdict is `ungraded`.
    """
    line: Row = {"score": score.score, "status": score.status, "seconds": round(score.seconds, 6)}
    line |= dict.fromkeys(LOGGED)
    line["verdict"] = "ungraded" if score.ungraded else None
    return line | {name: value for name, value in score.extras.items() if name not in ("score", "status")}


class Lines:
    """JSON lines in order, each written as soon as all before it are known.

    What is known behind a gap when the work is cut short is written too, with status `not run` in the gap.
    An older file is replaced only once there is a first line. Without a path nothing is written.
    """

    def __init__(self, path: Path | None) -> None:
        if path is not None and not path.parent.is_dir():
            raise UserError(f"no folder {path.parent}", "--out", "Make it first")
        self._path, self._next = path, 0
        self._file: TextIO | None = None
        self._waiting: dict[int, Row] = {}

    def __enter__(self) -> Lines:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        gap = {"score": None, "status": "not run", "seconds": 0.0}
        for index in range(self._next, max(self._waiting, default=-1) + 1):
            self._write(self._waiting.pop(index, gap))
        if self._file is not None:
            self._file.close()

    def put(self, index: int, line: Row) -> None:
        """Takes the line with that number."""
        self._waiting[index] = line
        while self._next in self._waiting:
            self._write(self._waiting.pop(self._next))
            self._next += 1

    def _write(self, line: Row) -> None:
        if self._path is None:
            return
        if self._file is None:
            self._file = self._path.open("w", encoding="utf-8")
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()
