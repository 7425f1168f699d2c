r"""How many answers a second rule `accuracy` grades, in the pool that a run uses, by the rung that decides.

    python benchmarks/grading_speed.py [--workers 2] [--answers 20000]

Numbers and expressions in two spellings (benchmarks/formulas.py), half of the answers wrong; integrals for
the last rung. All golds differ, as what was read once is remembered; a group is a gold and sixteen answers.
The time is the whole way, to the workers and back.
"""

from __future__ import annotations

import argparse
import random
import time
from collections import Counter
from collections.abc import Callable

from formulas import Tree, expressions, rationals, spelled, written
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from rich.console import Console
from rich.table import Table

from rewards.runner import RuleSpec, Runner

GROUP = 16
Group = tuple[str, list[str]]


@st.composite
def numbers(draw: st.DrawFn) -> Group:
    """A number, and itself or one a unit away."""
    value = draw(rationals(-(10**6), 10**6))
    return draw(spelled(value)), [draw(spelled(value + k % 2)) for k in range(GROUP)]


@st.composite
def formulas(draw: st.DrawFn) -> Group:
    """An expression, and itself in another order or with one added."""
    tree = draw(expressions().filter(lambda t: bool(t.below)))
    either = tree, Tree("+", (tree, Tree("1")))
    return draw(written(tree)), [draw(written(either[k % 2])) for k in range(GROUP)]


@st.composite
def integrals(draw: st.DrawFn) -> Group:
    """An integral, and its value or a few more."""
    end, power = draw(st.integers(1, 500)), draw(st.integers(1, 4))
    values = [end ** (power + 1) + (k if k % 2 else 0) for k in range(GROUP)]
    return rf"\int_0^{{{end}}} t^{{{power}}} \, dt", [rf"\frac{{{v * 2}}}{{{2 * power + 2}}}" for v in values]


def made(strategy: st.SearchStrategy[Group], count: int) -> list[Group]:
    """So many groups, no two with one gold."""
    found: dict[str, list[str]] = {}
    turn = 0
    while len(found) < count:
        turn += 1

        @seed(turn)
        @settings(
            max_examples=200, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
        )
        @given(strategy)
        def collect(group: Group) -> None:
            found[group[0]] = group[1]

        collect()
    groups = list(found.items())
    random.Random(0).shuffle(groups)
    return groups[:count]


def timed(runner: Runner, groups: list[Group]) -> tuple[float, Counter[str]]:
    """Seconds until all are graded, and the rungs that decided."""
    began = time.perf_counter()
    for key, (gold, answers) in enumerate(groups):
        boxed = [rf"Therefore it is $\boxed{{{answer}}}$." for answer in answers]
        runner.submit(key, [""] * len(boxed), boxed, {"answer": [gold] * len(boxed)})
    rungs: Counter[str] = Counter()
    for _, scores, _ in runner.wait():
        rungs.update(str(score.extras.get("rung")) for (score,) in scores)
    return time.perf_counter() - began, rungs


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--answers", type=int, default=20_000)
    arguments = parser.parse_args()
    kinds: dict[str, tuple[Callable[[], st.SearchStrategy[Group]], int]] = {
        "numbers": (numbers, arguments.answers),
        "expressions": (formulas, arguments.answers // 4),
        "integrals": (integrals, arguments.answers // 20),
    }
    table = Table(title=f"Grading with {arguments.workers} workers")
    for column in ("answers", "count", "seconds", "a second", "rungs"):
        table.add_column(column, justify="left" if column in ("answers", "rungs") else "right")
    with Runner([RuleSpec("accuracy", timeout=60)], workers=arguments.workers) as runner:
        timed(runner, made(numbers(), 8))  # the workers are warm
        for name, (strategy, count) in kinds.items():
            seconds, rungs = timed(runner, made(strategy(), count // GROUP))
            count = rungs.total()
            shares = ", ".join(f"{rung} {number / count:.0%}" for rung, number in rungs.most_common())
            table.add_row(name, f"{count:,}", f"{seconds:.1f}", f"{count / seconds:,.0f}", shares)
    Console().print(table)


if __name__ == "__main__":
    main()
