"""`grpo watch`: a run while it goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from grpo.errors import UserError


def watch(
    run: Annotated[Path, typer.Argument(help="a run folder")],
    serve: Annotated[
        bool, typer.Option("--serve", help="as a page at 127.0.0.1, in place of the terminal")
    ] = False,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="with --serve: 8765, or another; 0 takes a free one")
    ] = None,
) -> None:
    """Shows a run while it goes on, in the terminal or as a page that refreshes itself.

    In the terminal it ends with the run; Ctrl-C ends it before, and the page, and leaves the run alone.

    Examples:

      grpo watch runs/demo

      grpo watch runs/demo --serve --port 9000
    """
    if serve:
        from grpo.report.serve import PORT, Server

        with Server(run, PORT if port is None else port) as server:
            typer.echo(f"{run} at {server.url}  (Ctrl-C ends it)")
            server.serve_forever()
        return
    if port is not None:
        raise UserError("is of the page", "--port", "Add --serve")
    from rich.console import Console

    from grpo.report.watch import watch as show

    ended = show(run, Console())
    typer.echo(f"{run} has ended after {ended.done} steps: `grpo report {run}` writes it as a page")
