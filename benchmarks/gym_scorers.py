"""What reasoning-gym's scorers give to golds, to nothing and to garbage: docs/rewards.md, `gym`.

    python benchmarks/gym_scorers.py [--size 50] [--all]

Scorers are asked through the rule's own guard. A task gets a line where a gold scores less than 1 or is
missing, where no answer or garbage scores more than 0 or raises, or where another row's gold scores 1
("foreign": of the rows whose golds differ). With --all every task gets one.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import itertools
from collections.abc import Iterable, Sequence
from typing import Any

import reasoning_gym
from reasoning_gym.factory import DATASETS
from rich.console import Console
from rich.table import Table

from rewards.gym import Scored, ask

GARBAGE = ("?", "0", "-1", "[]", "{}", "no idea", "9**9", "\0", "(((")
COLUMNS = ("task", "golds at 1", "none", "empty", "'?'", "other garbage", "foreign")


def line(task: str, size: int) -> tuple[str, ...]:
    """The cells of a task's line."""
    data = reasoning_gym.create_dataset(task, size=size, seed=7)
    entries = list(data)

    def asked(answer: Any, entry: dict[str, Any]) -> Scored:
        return ask(data.score_answer, answer, entry)

    with_gold = [entry for entry in entries if entry["answer"] is not None]
    right = sum(asked(entry["answer"], entry).number == 1 for entry in with_gold)
    pairs = list(itertools.pairwise(with_gold))
    others = [(one["answer"], two) for one, two in pairs if one["answer"].strip() != two["answer"].strip()]
    foreign = sum((asked(answer, entry).number or 0) >= 1 for answer, entry in others)
    return (
        task,
        f"{right} of {len(with_gold)}",
        said(asked(None, entry) for entry in entries),
        said(asked("", entry) for entry in entries),
        said(asked("?", entry) for entry in entries),
        said(asked(text, entry) for text in GARBAGE[1:] for entry in entries),
        f"{foreign} of {len(others)}",
    )


def said(answers: Iterable[Scored]) -> str:
    """The least and greatest number of several answers, and whether any raised."""
    numbers, raised = [], False
    for answer in answers:
        raised |= answer.number is None
        numbers += [] if answer.number is None else [answer.number]
    ends = [f"{end:.3g}" for end in (min(numbers), max(numbers))] if numbers else []
    return " to ".join(dict.fromkeys(ends)) + (" raises" if raised else "")


def is_plain(cells: Sequence[str], size: int) -> bool:
    """Whether a task's line says nothing: all golds right, nothing else scored."""
    return cells[1] == f"{size} of {size}" and set(cells[2:6]) == {"0"} and cells[6].startswith("0 of")


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--size", type=int, default=50, help="rows a task")
    parser.add_argument("--all", action="store_true", help="a line for every task")
    args = parser.parse_args()
    table, tasks = Table(*COLUMNS), sorted(set(DATASETS) - {"composite"})
    with contextlib.redirect_stdout(io.StringIO()):  # some tasks print
        lines = [line(task, args.size) for task in tasks]
    for cells in lines:
        if args.all or not is_plain(cells, args.size):
            table.add_row(*cells)
    plain = sum(is_plain(cells, args.size) for cells in lines)
    console = Console()
    console.print(table)
    console.print(f"{len(tasks)} tasks, {plain} of them plain")


if __name__ == "__main__":
    main()
