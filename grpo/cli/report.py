"""`grpo report`: a run as one HTML file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def report(
    run: Annotated[Path, typer.Argument(help="a run folder: finished, running or stopped")],
    out: Annotated[
        Path | None, typer.Option(help="the file to write; report.html in the run's folder when left out")
    ] = None,
    steps: Annotated[int, typer.Option(min=1, help="steps whose completions are in it, evenly spaced")] = 12,
    groups: Annotated[int, typer.Option(min=1, help="prompts of each of these steps, at most")] = 16,
) -> None:
    """Writes a run as one HTML file that opens without a network: curves, samples, recipe, environment.

    Each token of a completion is shaded by its probability under the policy that drew it. However long the
    run, the file stays below 20 MB: what is left out of it is said in it.

    Examples:

      grpo report runs/demo

      grpo report runs/demo --out demo.html --steps 40 --groups 4
    """
    from grpo.report.page import write_report

    path = write_report(run, out, steps=steps, groups=groups)
    typer.echo(f"{path}  {path.stat().st_size / 1e6:.1f} MB")
