"""`grpo train`."""

from __future__ import annotations

import contextlib
import json
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from grpo.errors import UserError
from grpo.parallel.launch import process_count, process_rank

if TYPE_CHECKING:
    from collections.abc import Sequence

    from grpo.recipe import Recipe


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
    gpu_gib: Annotated[
        float | None,
        typer.Option("--gpu-gib", min=0.1, help="with --dry-run: will it fit a GPU of so many GiB"),
    ] = None,
    as_json: Annotated[
        bool,
        typer.Option("--json", help="print the summary (or the plan) as JSON on stdout, all else on stderr"),
    ] = False,
) -> None:
    """Trains a policy by reinforcement learning, as a recipe says.

    Examples:

    [bold]grpo train demo[/]

    [bold]grpo train r1_zero_gsm8k model.path=./my-model train.lr=5e-7 --dry-run[/]

    [bold]grpo train r1_zero_gsm8k --dry-run --gpu-gib 80[/]

    [bold]grpo train demo --resume[/]

    [bold]grpo train demo --seeds 0,1,2[/]

    [bold]torchrun --nproc-per-node 2 -m grpo train demo[/]
    """
    from grpo.parallel.ranks import check_processes
    from grpo.recipe_file import load_recipe

    if resume and overwrite:
        raise UserError("--resume and --overwrite exclude each other", "command line", "Give one of them")
    read = load_recipe(recipe, overrides or ())
    check_processes(read, process_count())
    if gpu_gib is not None and not dry_run:
        raise UserError("--gpu-gib is for a dry run", "command line", "Add --dry-run")
    asked = _seeds(seeds)
    if asked and process_count() > 1:
        raise UserError("--seeds runs one process at a time", "torchrun", "Start grpo train without it")
    if dry_run:
        if process_rank() == 0:
            _show_plan(read, gpu_gib, as_json)
        return
    with contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext():
        summary = _train(read, asked, resume=resume, overwrite=overwrite)
    if as_json and process_rank() == 0:
        typer.echo(json.dumps(summary, ensure_ascii=False))


def _seeds(text: str | None) -> list[int] | None:
    if text is None:
        return None
    from grpo.stages.seeds import parse_seeds

    return parse_seeds(text)


def _show_plan(recipe: Recipe, gpu_gib: float | None, as_json: bool) -> None:
    from grpo.dry_run import plan

    planned = plan(recipe, gpu_gib)
    typer.echo(json.dumps(planned.to_json(), ensure_ascii=False) if as_json else planned.to_text())


def _train(recipe: Recipe, seeds: Sequence[int] | None, *, resume: bool, overwrite: bool) -> Any:
    """The summary of the run, or of the runs of all seeds."""
    from grpo.stages import rl
    from grpo.stages.seeds import train_seeds

    if seeds is None:
        return rl.train(recipe, resume=resume, overwrite=overwrite)
    return train_seeds(recipe, seeds, overwrite=overwrite)
