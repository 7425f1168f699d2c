"""`grpo recipe list` and `grpo recipe explain`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

WIDE = 400  # columns where nobody looks: one line an entry, for grep

app = typer.Typer(add_completion=False, no_args_is_help=True, rich_markup_mode="rich")


@app.callback()
def recipe() -> None:
    """Shows the shipped recipes, and what each key of a recipe means.

    Example: [bold]grpo recipe explain rollout[/]
    """


@app.command("list")
def list_recipes() -> None:
    """Lists the recipes that come with the package.

    Example: [bold]grpo recipe list[/]
    """
    from rich.console import Console
    from rich.table import Table

    from grpo.recipe_file import SHIPPED, describe_recipe, shipped_recipes

    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("recipe", no_wrap=True, style="cyan")
    table.add_column("what it is")
    table.add_column("runs on")
    for name in shipped_recipes():
        purpose, device = describe_recipe(SHIPPED / f"{name}.yaml")
        table.add_row(name, purpose, device)
    Console().print(table)


@app.command("explain")
def explain_key(
    key: Annotated[str, typer.Argument(help="a section, a key or a name that can stand there")] = "",
) -> None:
    """Explains every key of a recipe, or one: its type, default and meaning.

    Examples:

    [bold]grpo recipe explain[/]

    [bold]grpo recipe explain algorithm.kl[/]
    """
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from grpo.explain import explain

    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("key", no_wrap=True, style="cyan")
    for heading in ("type", "default", "meaning"):
        table.add_column(heading)
    for entry in explain(key):
        table.add_row(*map(escape, (entry.key, entry.type, entry.default, entry.meaning)))
    Console(width=None if sys.stdout.isatty() else WIDE).print(table)
