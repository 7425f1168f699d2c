"""What `grpo reward` prints for people."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from grpo.rescore import Rescored, Step
from grpo.screen import safe
from grpo.trial_summary import OUTCOMES, Confusion, Summary, rates
from rewards.catalogue import Entry

SHOWN = 10  # disagreements and changes listed
SHOWN_STEPS = 24  # rows of the table by step
WIDE = 400  # columns where nobody looks: one line an entry, for grep


def show_list(entries: Sequence[Entry]) -> None:
    """Every rule in a line."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("rule", no_wrap=True, style="cyan")
    table.add_column("meaning")
    table.add_column("options")
    for entry in entries:
        options = ", ".join(f"{name}={value}" for name, value in entry.options.items())
        table.add_row(*(Text(safe(words)) for words in (entry.name, entry.meaning, options)))
    Console(width=None if sys.stdout.isatty() else WIDE).print(table)


def show_summary(summary: Summary, out: Path | None) -> None:
    """What came of a file."""
    console, table = Console(), Table(title=f"{summary.rule}: {summary.rows} completions", show_header=False)
    table.add_row("mean score", "none given" if summary.mean is None else f"{summary.mean:.4f}")
    for status, count in sorted(summary.statuses.items()):
        table.add_row(f"status {status}", str(count))
    for name, seconds in summary.seconds.items():
        table.add_row(f"time {name}", f"{seconds * 1e3:.2f} ms")
    if summary.labelled:
        table.add_row("disagree with label", f"{len(summary.disagreements)} of {summary.labelled}")
    for name, (count, of) in rates(summary.confusion).items() if summary.confusion else ():
        table.add_row(name, f"{count} of {of}")
    console.print(table)
    if summary.confusion:
        console.print(_confusion(summary.confusion))
    if summary.error:
        _line(console, f"first error: {summary.error}")
    for row in summary.disagreements[:SHOWN]:
        label = row["label"] if isinstance(row["label"], str) else f"{row['label']:g}"
        shown = f", extracted {row['extracted']!r}" if "extracted" in row else ""
        _line(console, f"line {row['line']}: label {label}, score {_score(row['score'])}{shown}")
    if len(summary.disagreements) > SHOWN:
        _line(console, f"and {len(summary.disagreements) - SHOWN} more")
    if out is not None:
        _line(console, f"scores in {out}")


def show_rescored(found: Rescored, names: Sequence[str], out: Path | None) -> None:
    """What would have changed in a run."""
    console = Console()
    console.print(_steps(found))
    if found.against is None:
        hint = f"--against NAME compares with one of {', '.join(names)}"
        _line(console, f"the run had no rule of this name: {hint}")
    else:
        count = sum(step.completions for step in found.steps)
        how = ", ".join(f"{number} {move}" for move, number in found.moves.items())
        _line(console, f"{len(found.changes)} of {count} scores differ" + (f": {how}" if how else ""))
    for change in found.changes[:SHOWN]:
        shown = "" if change.extracted is None else f", extracted {change.extracted!r}"
        _line(console, f"{change.id}: {_score(change.before)} -> {_score(change.after)}{shown}")
    if len(found.changes) > SHOWN:
        _line(console, f"and {len(found.changes) - SHOWN} more (--json or --out has them all)")
    unusual = {status: count for status, count in found.statuses.items() if status != "ok"}
    if unusual:
        _line(console, "status " + ", ".join(f"{status} {count}" for status, count in unusual.items()))
    if found.error:
        _line(console, f"first error: {found.error}")
    if out is not None:
        _line(console, f"scores in {out}")


def _steps(found: Rescored) -> Table:
    against = "" if found.against is None else f" against the run's {found.against}"
    table = Table(title=f"{found.rule}{against}", caption="means over a step's completions")
    compared = found.against is not None
    headings = ("score", "now", "differ", "reward", "now", "no signal", "now")
    for heading in ("step", *(headings if compared else ("mean score",))):
        table.add_column(heading, justify="right")
    for step in _some(found.steps):
        values = (step.reward_before, step.reward_after, step.flat_before, step.flat_after)
        if compared:
            table.add_row(
                str(step.step),
                _score(step.before),
                _score(step.after),
                str(step.changed),
                *map(_score, values),
            )
        else:
            table.add_row(str(step.step), _score(step.after))
    if len(found.steps) > SHOWN_STEPS:
        table.caption = f"{SHOWN_STEPS} of {len(found.steps)} steps; --json has them all"
    return table


def _some(items: Sequence[Step]) -> Sequence[Step]:
    """At most SHOWN_STEPS of them, evenly spaced, the first and the last among them."""
    if len(items) <= SHOWN_STEPS:
        return items
    return [items[round(i * (len(items) - 1) / (SHOWN_STEPS - 1))] for i in range(SHOWN_STEPS)]


def _confusion(found: Confusion) -> Table:
    table = Table(title="label against verdict")
    for heading in ("label", *OUTCOMES):
        table.add_column(heading, justify="left" if heading == "label" else "right")
    for label, counts in found.items():
        cells = [Text(str(counts[name]), "bold" if name == label else "") for name in OUTCOMES]
        if any(counts.values()):
            table.add_row(label, *cells)
    return table


def _score(score: float | None) -> str:
    return "none" if score is None else f"{score:.4g}"


def _line(console: Console, text: str) -> None:
    console.print(Text(safe(text)), soft_wrap=True)
