"""`grpo pretrain`."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console


def pretrain(
    recipe: Annotated[str, typer.Argument(help="a YAML file, or the name of a shipped recipe")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="KEY.PATH=VALUE", help="values that replace the recipe's")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="train again although it is cached")] = False,
) -> None:
    """Makes the base checkpoint of a recipe's pretrain section, unless it is cached, and prints its folder.

    Example: [bold]grpo pretrain demo pretrain.steps=300[/]
    """
    from grpo.recipe_file import load_recipe

    read = load_recipe(recipe, overrides or ())
    from grpo.live import view_for
    from grpo.quiet import quieten
    from grpo.stages import pretrain as stage

    quieten()
    with view_for(Console(stderr=True), read.pretrain.corpus if read.pretrain else "") as view:
        folder = stage.pretrain(read, view, overwrite=overwrite)
    typer.echo(folder)
