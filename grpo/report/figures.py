"""Base against trained policy in figures, ready for JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from grpo.protocols import Measured, several, told
from grpo.report.panels import ENDS
from grpo.report.read import Row, Snapshot
from grpo.view import rule_metrics, sets_of

Figure = tuple[Any, Any]  # a value and its interval, either None


def comparison(snapshot: Snapshot) -> dict[str, Any]:
    """Held-out figures of both, by row: `{"final", "set", "prompts", "samples", "steps", "rows"}`.

    A row is `{"label", "base", "trained"}`, both `{"value", "interval"}` or null; `steps` are the two.
    Before the run has ended they are the first and the newest evaluation of the held-out half that selects,
    and `final` is false. After it, where other protocols were measured, each of all is a row for each rule
    that grades answers, and "gain" tells the gain in words.
    """
    if snapshot.summary is None:
        return _so_far(snapshot.rows)
    ends = [snapshot.summary.get(end) or {} for end in ("base", "trained")]

    def nested(*path: str) -> list[Figure]:
        """A figure below `path` of each end."""
        found = []
        for part in ends:
            for name in path:
                part = part.get(name) or {}
            found.append((part.get("value"), part.get("interval")))
        return found

    def flat(value: str, interval: str) -> list[Figure]:
        return [(part.get(value), part.get(interval)) for part in ends]

    trained = ends[1]
    rows = [_row("pass@1", flat("pass@1", "interval"))]
    rows += [_row(f"score {rule}", nested("rules", rule)) for rule in trained.get("rules") or ()]
    for style in trained.get("styles") or ():
        rows.append(_row(f"share {style}", nested("styles", style, "share")))
        rows.append(_row(f"pass@1 of {style}", nested("styles", style, "pass@1")))
    rows.append(_row("length, tokens", flat("mean_length", "mean_length_interval")))
    rows.append(_row("cut at max_tokens", flat("truncated", "")))
    about = {name: trained.get(name) for name in ("set", "prompts", "samples")}
    measured = [Measured.from_json(row) for row in snapshot.summary.get("protocols") or ()]
    if several(measured):
        rows += [_measured(row) for row in measured]
        about["gain"] = told(measured)
    return about | {"final": True, "steps": [part.get("version") for part in ends], "rows": _known(rows)}


def _so_far(metrics: Sequence[Row]) -> dict[str, Any]:
    chosen = next(iter(sets_of(name for row in metrics for name in row)), "")
    start = f"eval/{chosen}/"
    evaluated = [row for row in metrics if f"{start}mean_length" in row]
    if not evaluated:
        return {"final": False, "rows": []}
    ends = [evaluated[0], evaluated[-1]]

    def figures(name: str) -> list[Figure]:
        return [(row.get(start + name), [row.get(f"{start}{name}{end}") for end in ENDS]) for row in ends]

    rules = rule_metrics(name.removeprefix(start) for name in ends[1] if name.startswith(start))
    rows = [_row("pass@1", figures("pass@1"))]
    rows += [_row(f"score {name.removeprefix('reward/')}", figures(name)) for name in rules]
    rows.append(_row("length, tokens", figures("mean_length")))
    rows.append(_row("cut at max_tokens", figures("clipped_ratio")))
    steps = [row["step"] for row in ends]
    return {"final": False, "set": chosen, "steps": steps, "rows": _known(rows)}


def _measured(row: Measured) -> dict[str, Any]:
    ends = [(value, interval) for value, *interval in (row.base, row.trained)]
    return _row(f"{row.protocol} ({row.rule})", ends)


def _row(label: str, figures: Sequence[Figure]) -> dict[str, Any]:
    base, trained = (
        None
        if value is None
        else {"value": value, "interval": None if None in (interval or [None]) else interval}
        for value, interval in figures
    )
    return {"label": label, "base": base, "trained": trained}


def _known(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [row for row in rows if row["base"] or row["trained"]]
