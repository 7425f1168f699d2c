"""metrics.jsonl as panels of curves, ready for JSON."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from grpo.report.read import Row
from grpo.view import rule_metrics, sets_of

MOST_POINTS = 1000  # of a curve; a longer run is thinned evenly, evaluations are kept
ENDS = ("_low", "_high")  # of an interval, after the name of its value
DIGITS = 5  # significant, of a value in the page


@dataclass(frozen=True)
class Series:
    """One curve. `kind`: line, training (grey), or held-out (marked points and a band)."""

    name: str
    x: list[int]
    y: list[float | None]  # None where the value was not finite: the curve has a gap
    kind: str = "line"
    low: list[float | None] = field(default_factory=list)  # ends of the 95 % interval, or empty
    high: list[float | None] = field(default_factory=list)


@dataclass(frozen=True)
class Panel:
    """Curves that share an axis."""

    title: str
    unit: str
    series: list[Series]
    top: float | None = None  # upper end of the axis; what the data needs where it is None
    zero: bool = True  # whether the axis starts at 0


@dataclass(frozen=True)
class Plan:
    """A panel of metrics by name: label and metric of each curve."""

    title: str
    unit: str
    metrics: tuple[tuple[str, str], ...]
    top: float | None = None
    zero: bool = True


PLANS = (
    Plan(
        "No signal, cut, ungraded",
        "share",
        (
            ("groups without signal", "groups/zero_std_ratio"),
            ("completions cut", "completions/clipped_ratio"),
            ("ungraded", "reward/ungraded"),
        ),
        top=1.0,
    ),
    Plan("Entropy of the policy", "nats a token", (("entropy", "policy/entropy"),)),
    Plan("KL to the reference", "nats a token", (("KL", "policy/kl"),)),
    Plan("Engine against trainer, KL", "nats a token", (("mismatch", "mismatch/kl"),), zero=False),
    Plan("Engine against trainer, largest", "|Δ log-prob|", (("largest", "mismatch/max"),)),
    Plan(
        "Clipped tokens",
        "share",
        (("below", "policy/clip_ratio_low"), ("above", "policy/clip_ratio_high")),
    ),
    Plan("Largest importance ratio", "ratio", (("largest", "policy/ratio_max"),), zero=False),
    Plan("Gradient norm", "before clipping", (("norm", "grad_norm"),)),
    Plan("Learning rate", "", (("lr", "lr"),)),
    Plan("Loss", "", (("loss", "loss"),), zero=False),
    Plan("Throughput", "completion tokens a second", (("tokens/s", "throughput/tokens_per_second"),)),
    Plan(
        "Time by phase",
        "seconds a step",
        (
            ("rollout", "time/rollout"),
            ("waiting for rewards", "time/reward"),
            ("update", "time/update"),
            ("sync", "time/sync"),
        ),
    ),
    Plan("Time of an evaluation", "seconds", (("evaluation", "time/evaluate"),)),
    Plan("Peak memory", "bytes", (("trainer", "memory/peak_bytes"),)),
)
SHOWN_ELSEWHERE = ("reward/mean", "completions/mean_length")


def panels(rows: Sequence[Row], graders: Sequence[str] = ()) -> tuple[list[Panel], list[Panel]]:
    """The panels everybody looks at, and one for each metric that is in none of them.

    Args:
        rows: of metrics.jsonl.
        graders: names of the rules that grade the answer; their scores are drawn beside held-out pass@1.
    """
    rows = thinned(rows)
    names = list(dict.fromkeys(name for row in rows for name in row))
    accuracy = [*_training(rows, graders), *_held_out(rows, names, "pass@1")]
    reward = _curves(rows, [("reward", "reward/mean")])
    scores = _curves(rows, [(name.removeprefix("reward/"), name) for name in rule_metrics(names)])
    length = _curves(rows, [("training", "completions/mean_length")], "training")
    length += _held_out(rows, names, "mean_length")
    main = [
        Panel("Accuracy", "pass@1, 95 % interval", accuracy, top=1.0),
        Panel("Reward", "mean of a completion", reward, zero=False),
        Panel("Score by rule", "mean, before weights", scores),
        Panel("Completion length", "tokens, mean", length),
    ]
    main += [Panel(plan.title, plan.unit, _curves(rows, plan.metrics), plan.top, plan.zero) for plan in PLANS]
    used = {*SHOWN_ELSEWHERE, *(name for plan in PLANS for _, name in plan.metrics)}
    rest = [name for name in names if name not in used and _is_other(name, names)]
    others = [Panel(name, "", _curves(rows, [(name, name)]), zero=False) for name in rest]
    return [panel for panel in main if panel.series], [panel for panel in others if panel.series]


def thinned(rows: Sequence[Row]) -> Sequence[Row]:
    """At most about MOST_POINTS rows, evenly spaced, and every row with an evaluation, and the last."""
    stride = math.ceil(len(rows) / MOST_POINTS)
    if stride <= 1:
        return rows
    return [
        row
        for index, row in enumerate(rows)
        if index % stride == 0 or index == len(rows) - 1 or any(name.startswith("eval/") for name in row)
    ]


def _is_other(name: str, names: Sequence[str]) -> bool:
    if name in ("step", "not_finite", *rule_metrics(names)) or name.endswith(ENDS):
        return False
    return not (
        name.startswith("eval/") and name.endswith(("/pass@1", "/mean_length")) and name.count("/") == 2
    )


def _training(rows: Sequence[Row], graders: Iterable[str]) -> list[Series]:
    return _curves(rows, [(f"training, {rule}", f"reward/{rule}") for rule in graders], "training")


def _curves(rows: Sequence[Row], metrics: Iterable[tuple[str, str]], kind: str = "line") -> list[Series]:
    found = []
    for label, name in metrics:
        known = [row for row in rows if name in row]
        if any(row[name] is not None for row in known):
            found.append(
                Series(label, [row["step"] for row in known], [_value(row, name) for row in known], kind)
            )
    return found


def _held_out(rows: Sequence[Row], names: Sequence[str], quantity: str) -> Iterator[Series]:
    for chosen in sets_of(names):
        name = f"eval/{chosen}/{quantity}"
        known = [row for row in rows if row.get(name) is not None]
        if not known:
            continue
        ends = [[_value(row, name + end) for row in known] for end in ENDS]
        whole = all(value is not None for end in ends for value in end)
        low, high = ends if whole else ([], [])
        yield Series(
            chosen,
            [row["step"] for row in known],
            [_value(row, name) for row in known],
            "held-out",
            low,
            high,
        )


def _value(row: Row, name: str) -> float | None:
    value = row.get(name)
    return float(f"{value:.{DIGITS}g}") if isinstance(value, int | float) and math.isfinite(value) else None
