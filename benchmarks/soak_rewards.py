"""Memory of the reward runner and its workers while hostile answers go through it again and again.

    python benchmarks/soak_rewards.py [--repeats 10000] [--workers 2]

A repeat is a group of one short hostile answer (benchmarks/hostile_texts.py, in turn) and an ordinary one,
changed a little each time so that no cache knows them. Rules `accuracy` and `format`. Megabytes resident at
the start (a tenth of the way: workers load and fill their caches first), in the middle and at the end.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hostile_texts import ANSWERS

from rewards.runner import RuleSpec, Runner

SHORT = 2100  # characters: longer ones are turned away by their length
GOLDS = ("3", r"2\sqrt{7}", "x + 1", r"\{1, 2, 3\}", "0.333", "3:4")
AT_ONCE = 50  # groups in the queue


@dataclass(frozen=True)
class Sizes:
    """Megabytes resident once so many repeats are done."""

    repeats: int
    parent: float
    workers: tuple[float, ...]
    statuses: frozenset[str]  # of all scores so far


def soak(repeats: int, workers: int = 2) -> Iterator[Sizes]:
    """Yields the sizes after a tenth of the repeats, half of them, and all."""
    texts = [text for text in ANSWERS.values() if len(text) <= SHORT]
    statuses: set[str] = set()
    marks = [repeats // 10, repeats // 2, repeats]
    others = set(children())
    with Runner([RuleSpec("accuracy", timeout=60.0), RuleSpec("format")], workers=workers) as runner:
        runner.infos()
        done = 0
        for mark in marks:
            while done < mark:
                for turn in range(done, min(done + AT_ONCE, mark)):
                    completions = [
                        f"<think></think><answer>{texts[turn % len(texts)]} + {turn}</answer>",
                        rf"<think></think><answer>\frac{{{turn}}}{{7}}</answer>",
                    ]
                    gold = GOLDS[turn // len(texts) % len(GOLDS)]
                    runner.submit(turn, ["q"] * 2, completions, {"answer": [gold] * 2})
                done = min(done + AT_ONCE, mark)
                statuses |= {score.status for _, rows, _ in runner.wait() for row in rows for score in row}
            own = sorted(resident(worker) for worker in set(children()) - others)
            yield Sizes(done, resident(os.getpid()), tuple(own), frozenset(statuses))


def resident(pid: int) -> float:
    """Megabytes of a process's memory that are in use."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def children() -> list[int]:
    """The worker processes of this one."""
    found = []
    for task in Path("/proc/self/task").iterdir():
        found += [int(pid) for pid in (task / "children").read_text().split()]
    return [pid for pid in found if b"rewards.worker" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=10_000)
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    short = sum(len(text) <= SHORT for text in ANSWERS.values())
    print(f"{short} hostile answers in turn")
    print("| repeats | parent, MB | workers, MB | statuses |\n| --- | --- | --- | --- |")
    for sizes in soak(arguments.repeats, arguments.workers):
        each = ", ".join(f"{size:.0f}" for size in sizes.workers)
        print(
            f"| {sizes.repeats:,} | {sizes.parent:.0f} | {each} | {', '.join(sorted(sizes.statuses))} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
