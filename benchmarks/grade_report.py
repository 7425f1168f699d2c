"""How well answers are graded: this grader against plain math-verify on the hand-labelled corpus.

    python benchmarks/grade_report.py [--part tuning|held_out|all] [--misses]

math-verify's golds are wrapped in a box (bare, it does not read a fifth of MATH-500's). `math-verify` reads
the whole completion; `mv + extraction` gets the answer that this grader extracts, boxed. A pair that is
ungraded, or takes longer than the limit, is a miss whatever its label.
"""

from __future__ import annotations

import argparse
import logging
import signal
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from grading_corpus import PARTS, Pair, read
from rich.console import Console
from rich.table import Table

from rewards.accuracy import accuracy
from rewards.extract import final_answer
from rewards.math import symbolic

SECONDS = 5  # a pair
Grader = Callable[[str, str], tuple[bool | None, str]]


@dataclass
class Result:
    """What a grader said of a pair, and how long it took."""

    pair: Pair
    right: bool | None  # None: it could not say
    rung: str
    seconds: float

    @property
    def agrees(self) -> bool:
        """Whether it said what the label says."""
        return self.right == self.pair.right


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--part", choices=[*PARTS, "later", "all"], default="all")
    parser.add_argument(
        "--misses", action="store_true", help="list the pairs that ours gets wrong, not of held_out"
    )
    arguments = parser.parse_args()
    logging.disable(logging.WARNING)  # math-verify's, of its timeouts
    symbolic.warm()
    for part in PARTS if arguments.part == "all" else [arguments.part]:
        pairs = read(part)
        graders = {"ours": ours, "math-verify": math_verify, "mv + extraction": with_extraction}
        results = {name: [timed(grader, pair) for pair in pairs] for name, grader in graders.items()}
        show(part, results)
        if arguments.misses and part != "held_out":
            list_misses(results["ours"])


def ours(gold: str, completion: str) -> tuple[bool | None, str]:
    """The rule `accuracy`."""
    logged: dict[str, list[str]] = {}
    scores = accuracy(
        prompts=[""],
        completions=[completion],
        answer=[gold],
        log_extra=lambda name, values: logged.update({name: values}),
    )
    return None if scores[0] is None else scores[0] == 1.0, f"{logged['rung'][0]} {logged['verdict'][0]}"


def math_verify(gold: str, completion: str) -> tuple[bool, str]:
    """math-verify as its README uses it, the gold boxed."""
    from math_verify import parse, verify

    boxed = gold if r"\boxed" in gold else rf"\boxed{{{gold}}}"
    reference = parse(boxed, parsing_timeout=None)
    answer = parse(completion, parsing_timeout=None)
    return bool(verify(reference, answer, timeout_seconds=None)), ""


def with_extraction(gold: str, completion: str) -> tuple[bool, str]:
    """math-verify on the answer that our extraction finds."""
    answer = final_answer(completion)
    return (False, "") if answer is None else math_verify(gold, rf"\boxed{{{answer}}}")


@contextmanager
def limit(seconds: int) -> Iterator[None]:
    """Raises TimeoutError in the main thread after some seconds."""

    def stop(*_: object) -> None:
        raise TimeoutError

    previous = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, previous)


def timed(grader: Grader, pair: Pair) -> Result:
    """One verdict with its time."""
    start = time.perf_counter()
    try:
        with limit(SECONDS):
            right, rung = grader(pair.gold, pair.completion)
    except TimeoutError:
        right: bool | None
        right, rung = None, "timeout"
    except Exception as error:  # a grader that raises has not said right
        right, rung = None, f"raised {type(error).__name__}: {error}"
    return Result(pair, right, rung, time.perf_counter() - start)


def show(part: str, results: dict[str, list[Result]]) -> None:
    """The table by class: false positives, false negatives and share right for each grader."""
    table = Table(title=f"{part}: right %, false positives / false negatives")
    table.add_column("class")
    table.add_column("pairs", justify="right")
    for name in results:
        table.add_column(name, justify="right")
    by_kind: dict[str, dict[str, list[Result]]] = defaultdict(lambda: defaultdict(list))
    for name, found in results.items():
        for result in found:
            by_kind[result.pair.kind][name].append(result)
    for kind, graded in sorted(by_kind.items()):
        table.add_row(kind, str(len(graded["ours"])), *(cell(graded[name]) for name in results))
    table.add_section()
    table.add_row("all", str(len(results["ours"])), *(cell(found) for found in results.values()))
    for quantile, name in ((0.5, "p50"), (0.99, "p99"), (1.0, "max")):
        times = [sorted(r.seconds for r in found) for found in results.values()]
        table.add_row(f"ms {name}", "", *(f"{t[int(quantile * (len(t) - 1))] * 1e3:.2f}" for t in times))
    Console().print(table)


def cell(results: list[Result]) -> str:
    """`98.5 1/2`."""
    positives = sum(r.right is True and not r.pair.right for r in results)
    negatives = sum(r.pair.right and r.right is not True for r in results)
    return f"{100 * sum(r.agrees for r in results) / len(results):5.1f} {positives:2d}/{negatives:<2d}"


def list_misses(results: list[Result]) -> None:
    """The pairs that a grader got wrong, to work on."""
    for result in results:
        if not result.agrees:
            pair = result.pair
            print(f"{pair.kind} label={pair.right} [{result.rung}] gold={pair.gold!r} {pair.completion!r}")
            print(f"    {pair.why}")


if __name__ == "__main__":
    main()
