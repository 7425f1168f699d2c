"""`grpo train`."""

from __future__ import annotations

import contextlib
import json
import sys
from typing import Annotated, Any

import typer

from grpo.errors import UserError


def train(
    recipe: Annotated[str, typer.Argument(help="a YAML file, or the name of a shipped recipe")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="KEY.PATH=VALUE", help="values that replace the recipe's")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="go on from the newest good checkpoint")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="move an old run aside")] = False,
    seeds: Annotated[
        str | None,
        typer.Option(
            "--seeds", help="0,1,2: one run a seed, in folders of their own; goes on where it stopped"
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="show what would run, load no model")] = False,
    as_json: Annotated[
        bool,
        typer.Option("--json", help="print the summary (or the plan) as JSON on stdout, all else on stderr"),
    ] = False,
) -> None:
    """Trains a policy by reinforcement learning, as a recipe says.

    Examples:

    [bold]grpo train demo[/]

    [bold]grpo train r1_zero_gsm8k model.path=./my-model train.lr=5e-7 --dry-run[/]

    [bold]grpo train demo --resume[/]

    [bold]grpo train demo --seeds 0,1,2[/]
    """
    from grpo.recipe_file import load_recipe
    from grpo.stages.seeds import parse_seeds

    if resume and overwrite:
        raise UserError("--resume and --overwrite exclude each other", "command line", "Give one of them")
    several = parse_seeds(seeds) if seeds is not None else []
    read = load_recipe(recipe, overrides or ())
    if dry_run:
        from grpo.dry_run import plan

        planned = plan(read)
        typer.echo(json.dumps(planned.to_json(), ensure_ascii=False) if as_json else planned.to_text())
        return
    from grpo.stages import rl
    from grpo.stages.seeds import train_seeds

    with contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext():
        summary: Any = (
            rl.train(read, resume=resume, overwrite=overwrite)
            if seeds is None
            else train_seeds(read, several, overwrite=overwrite)
        )
    if as_json:
        typer.echo(json.dumps(summary, ensure_ascii=False))
