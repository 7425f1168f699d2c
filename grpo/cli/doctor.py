"""`grpo doctor`: what this machine can run, and why not."""

from __future__ import annotations

from typing import Annotated

import typer


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Says what this machine can run, what stands in the way, and what to do about it.

    Exit code 0 where nothing blocks, 1 where something does.

    Examples:

        grpo doctor

        grpo doctor --json
    """
    from grpo.doctor import main

    raise typer.Exit(main(["--json"] if as_json else []))
