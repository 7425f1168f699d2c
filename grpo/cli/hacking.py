"""`grpo hacking`: signs of reward hacking in a run."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from grpo.hacking.flags import Finding

WIDTH = 20  # columns of a course
EXCERPT = 300  # characters of a completion shown
STYLES = {"flagged": "bold red", "clear": "green", "not judged": "dim"}


def hacking(
    run: Annotated[Path, typer.Argument(help="a run folder, of a finished run or one that goes on")],
    as_json: Annotated[bool, typer.Option("--json", help="print the whole report as JSON")] = False,
) -> None:
    """Looks for reward hacking in the course of a run.

    Each check compares windows of steps with the run's first one; a flag names the steps, the figures and
    samples that show it, as step/prompt_id/sample (columns of samples/*.parquet). A flag is a reason to read
    those samples, no verdict: the exit code is 0 either way.

    Examples:

      grpo hacking runs/demo

      grpo hacking runs/demo --json
    """
    from rich.console import Console

    from grpo.hacking.report import watch

    report = watch(run)
    if as_json:
        typer.echo(json.dumps(report.to_json()))
        return
    console = Console()
    _table(console, f"{run}: {report.steps} steps, flags: {len(report.flagged)}", report.findings)
    for finding in report.flagged:
        _flag(console, run, finding)


def _table(console: Console, title: str, findings: Sequence[Finding]) -> None:
    from rich.table import Table
    from rich.text import Text

    from grpo.screen import safe

    table = Table(title=safe(title))
    for heading in ("check", "", "course", "what was found"):
        table.add_column(heading, no_wrap=heading == "course")
    for finding in findings:
        status = Text(finding.status, STYLES[finding.status])
        table.add_row(finding.title, status, course_of(finding), finding.note)
    console.print(table)


def _flag(console: Console, run: Path, finding: Finding) -> None:
    from rich.text import Text

    from grpo.hacking.report import completion_of
    from grpo.screen import coloured, safe

    def line(label: str, words: str) -> None:
        console.print(Text.assemble((f"  {label:<15}", "dim"), safe(words)), soft_wrap=True)

    console.print(Text.assemble("\n", (finding.title, "bold red"), f": {finding.note}"), soft_wrap=True)
    line("steps", ranges(finding.steps))
    line("threshold", finding.threshold)
    line("why", finding.why)
    for name, value in finding.figures.items():
        if value not in (None, {}):
            line(name.replace("_", " "), figure(value))
    line("samples", "  ".join(finding.samples))
    if finding.samples:
        text = completion_of(run, finding.samples[0])
        more = f" … {len(text) - EXCERPT} more characters" if len(text) > EXCERPT else ""
        console.print(Text.assemble(("  the first ", "dim"), coloured(text[:EXCERPT]), (more, "dim")))


def figure(value: object) -> str:
    """A figure, a pair from and to, or such pairs by name, in words."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {figure(inner)}" for name, inner in value.items())
    if isinstance(value, list):
        return " to ".join(map(figure, value))
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def ranges(steps: Sequence[int]) -> str:
    """Numbers in order as 3-7, 9."""
    parts: list[list[int]] = []
    for step in steps:
        if parts and step == parts[-1][-1] + 1:
            parts[-1] = [parts[-1][0], step]
        else:
            parts.append([step])
    return ", ".join("-".join(map(str, part)) for part in parts)


def course_of(finding: Finding) -> str:
    """The whole course in at most WIDTH blocks, each a mean of neighbouring steps; from 0 to 1, or beyond."""
    from grpo.screen import BLOCKS

    values = [value for _, value in finding.series]
    count = min(WIDTH, len(values))
    cuts = [round(i * len(values) / count) for i in range(count + 1)] if count else []
    means = [sum(values[a:b]) / (b - a) for a, b in pairwise(cuts)]
    low, high = min([0.0, *means]), max([1.0, *means])
    return "".join(BLOCKS[round((mean - low) / (high - low) * (len(BLOCKS) - 1))] for mean in means)
