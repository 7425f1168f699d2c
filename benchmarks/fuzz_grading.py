"""Throws made-up golds and answers at rule `accuracy`, in the pool that a run uses, for a time.

    python benchmarks/fuzz_grading.py --minutes 10 [--seed 0] [--workers 2]

The texts are benchmarks/formulas.py's: pieces of LaTeX in any order, and one value in many spellings. A group
is one gold and sixteen answers, itself among them. Nothing may raise, hang past the limit, or kill a worker.
"""

from __future__ import annotations

import argparse
import random
import time
from collections import Counter
from collections.abc import Iterator

from formulas import dressed, expressions, rationals, spelled, texts, written
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from rich.console import Console
from rich.table import Table

from rewards.runner import RuleSpec, Runner, Score

ANSWERS = 16  # a group
AT_ONCE = 400  # groups made and submitted together
SECONDS = 5.0


@st.composite
def groups(draw: st.DrawFn) -> tuple[str, list[str]]:
    """A gold and its answers; some of them spell its value."""
    kind = draw(st.sampled_from(["text", "text", "number", "expression"]))
    if kind == "number":
        same = spelled(draw(rationals())).flatmap(dressed)
    elif kind == "expression":
        same = written(draw(expressions())).flatmap(dressed)
    else:
        same = texts()
    gold = draw(same)
    return gold, [gold, *(draw(st.one_of(same, texts())) for _ in range(ANSWERS - 1))]


def made(number: int, seeded: int) -> list[tuple[str, list[str]]]:
    """So many groups."""
    found: list[tuple[str, list[str]]] = []

    @seed(seeded)
    @settings(
        max_examples=number, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
    )
    @given(groups())
    def collect(group: tuple[str, list[str]]) -> None:
        found.append(group)

    collect()
    return found


def scored(runner: Runner, made_groups: list[tuple[str, list[str]]]) -> Iterator[tuple[str, str, Score]]:
    """Every gold and answer with its score."""
    for key, (gold, answers) in enumerate(made_groups):
        boxed = [f"<answer>{answer}</answer>" for answer in answers]
        runner.submit(key, [""] * len(boxed), boxed, {"answer": [gold] * len(boxed)})
    for key, scores, _ in runner.wait():
        gold, answers = made_groups[int(str(key))]
        for answer, (score,) in zip(answers, scores, strict=True):
            yield gold, answer, score


def main() -> None:
    """Prints the counts, and whatever did not pass."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    console, seeds = Console(), random.Random(arguments.seed)
    end = time.monotonic() + 60 * arguments.minutes
    statuses: Counter[str] = Counter()
    rungs: Counter[str] = Counter()
    longest = 0.0
    with Runner([RuleSpec("accuracy", timeout=SECONDS)], workers=arguments.workers) as runner:
        while time.monotonic() < end:
            for gold, answer, score in scored(runner, made(AT_ONCE, seeds.getrandbits(32))):
                statuses[score.status] += 1
                rungs[str(score.extras.get("rung"))] += 1
                longest = max(longest, score.seconds)
                if score.status not in ("ok", "none"):
                    console.print(
                        f"{score.status}: gold {gold!r}, answer {answer!r}: {score.extras.get('error')}"
                    )
    table = Table(
        title=f"{sum(statuses.values()):,} answers in {arguments.minutes:g} minutes, seed {arguments.seed}"
    )
    for name in ("", "count"):
        table.add_column(name)
    for counter in (statuses, rungs):
        for name, count in counter.most_common():
            table.add_row(name, f"{count:,}")
        table.add_section()
    table.add_row("longest, s (a group's time shared evenly)", f"{longest:.2f}")
    console.print(table)


if __name__ == "__main__":
    main()
