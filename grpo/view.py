"""What a run tells whoever watches it, and the plain lines it prints where there is no terminal."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Protocol

from rich.console import Console
from rich.text import Text

from grpo.screen import clock, safe, short

if TYPE_CHECKING:
    from grpo.types import Group as Completions

# What the screen says of a step, in order: label and metric name. Rules follow the reward.
FIELDS = (
    ("loss", "loss"),
    ("reward", "reward/mean"),
    ("length", "completions/mean_length"),
    ("cut short", "completions/clipped_ratio"),
    ("entropy", "policy/entropy"),
    ("no signal", "groups/zero_std_ratio"),
    ("mismatch", "mismatch/kl"),
    ("grad norm", "grad_norm"),
    ("tokens/s", "throughput/tokens_per_second"),
)
DETAILS = frozenset({"cut short", "no signal", "mismatch", "grad norm"})  # left out of plain lines
NOT_RULES = frozenset({"reward/mean", "reward/std", "reward/ungraded", "reward/seconds"})


class View(Protocol):
    """What the trainer and the other stages tell. Used as a context manager."""

    def __enter__(self) -> View: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def stage(self, name: str, total: int | None = None, done: int = 0, ago: float = 0.0) -> None:
        """A stage begins: its steps in all (None: not known), and those done already (a resumed run).

        `ago` are the seconds that it has been going on, where it is only now looked at.
        """
        ...

    def phase(self, name: str) -> None:
        """What is going on within a step: rollout, reward, update, sync, evaluate."""
        ...

    def step(self, step: int, metrics: Mapping[str, float], sample: Completions | None = None) -> None:
        """`step` steps of the stage are finished; one group of completions may be shown."""
        ...

    def evaluation(self, step: int, metrics: Mapping[str, float]) -> None:
        """Metrics eval/<set>/… after `step` steps; the set named first is the one charted."""
        ...

    def note(self, text: str) -> None:
        """A line that stays."""
        ...


class StageClock:
    """Steps of a stage, its pace, and the time left at that pace."""

    def __init__(self, name: str, total: int | None, done: int, ago: float = 0.0) -> None:
        self.name, self.total, self.done = name, total, done
        self._start, self._first = time.monotonic() - ago, done
        self._apart = 0.0  # seconds before the first step

    @property
    def elapsed(self) -> float:
        """Seconds since the stage began."""
        return time.monotonic() - self._start

    def evaluated(self) -> None:
        """An evaluation is done. Of the base's, before the first step, the pace knows nothing."""
        if self.done == self._first:
            self._apart = self.elapsed

    @property
    def left(self) -> float | None:
        """Seconds to go; None before the first step or without a total."""
        finished = self.done - self._first
        if not finished or self.total is None:
            return None
        return (self.elapsed - self._apart) / finished * max(0, self.total - self.done)


def fields_of(metrics: Mapping[str, float]) -> dict[str, float]:
    """The values worth a place on the screen, by label: FIELDS, each rule's reward and share of thinking."""
    found: dict[str, float] = {}
    for label, name in FIELDS:
        if name == "loss" and "reward/mean" in metrics:
            continue  # near 0 by construction: says nothing about an RL step
        if name in metrics:
            found[label] = metrics[name]
        if name == "reward/mean":
            rules = [
                n for n in metrics if n.startswith("reward/") and n.count("/") == 1 and n not in NOT_RULES
            ]
            found |= {rule.removeprefix("reward/"): metrics[rule] for rule in rules}
            thinks = [n for n in metrics if n.startswith("reward/") and n.endswith("/thinks")]
            if thinks:
                found["thinking"] = metrics[thinks[0]]
    return found


def rule_metrics(names: Iterable[str]) -> list[str]:
    """Those names that are a rule's mean score, reward/<rule>, in order."""
    return [n for n in names if n.startswith("reward/") and n.count("/") == 1 and n not in NOT_RULES]


class PlainView:
    """One line a stage, step, evaluation and note."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._clock = StageClock("", None, 0)

    def __enter__(self) -> PlainView:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def stage(self, name: str, total: int | None = None, done: int = 0, ago: float = 0.0) -> None:
        """Prints the stage's name and number of steps."""
        self._clock = StageClock(name, total, done, ago)
        resumed = f", {done} done" if done else ""
        self.note(f"{name}: {total} steps{resumed}" if total else name)

    def phase(self, name: str) -> None:
        """Says nothing: the step's line will."""

    def step(self, step: int, metrics: Mapping[str, float], sample: Completions | None = None) -> None:
        """Prints the step's values and the time left; the sample is in the run folder."""
        self._clock.done = step
        left = self._clock.left
        parts = [f"step {step}/{self._clock.total}" if self._clock.total else f"step {step}"]
        parts += [
            f"{label} {short(value)}" for label, value in fields_of(metrics).items() if label not in DETAILS
        ]
        parts += [f"{clock(left)} left"] if left is not None else []
        self.note(" · ".join(parts))

    def evaluation(self, step: int, metrics: Mapping[str, float]) -> None:
        """Prints pass@1 with its interval and the mean length, a line a set."""
        self._clock.evaluated()
        for name in sets_of(metrics):
            self.note(f"step {step}: {evaluation_line(name, metrics)}")

    def note(self, text: str) -> None:
        """Prints the line, never wrapped: one line stays one line in a log."""
        self._console.print(Text(safe(text)), soft_wrap=True)


def evaluation_line(name: str, metrics: Mapping[str, float]) -> str:
    """One set's evaluation in a line: pass@1 with its 95 % interval, and the mean length."""
    chosen = f"eval/{name}/"
    parts = [name]
    if f"{chosen}pass@1" in metrics:
        value, low, high = (metrics[f"{chosen}pass@1{end}"] for end in ("", "_low", "_high"))
        parts.append(f"pass@1 {value:.3f} [{low:.3f}, {high:.3f}]")
    if f"{chosen}mean_length" in metrics:
        parts.append(f"mean length {metrics[f'{chosen}mean_length']:.1f} tokens")
    return " · ".join(parts)


def sets_of(metrics: Iterable[str]) -> list[str]:
    """Names of the sets in metric names eval/<set>/mean_length, in order; a name may hold slashes."""
    found = [n for n in metrics if n.startswith("eval/") and n.endswith("/mean_length")]
    return [name.removeprefix("eval/").removesuffix("/mean_length") for name in found]
