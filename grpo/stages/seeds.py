"""One recipe over several seeds: a run folder a seed, a table of all, going on where it was stopped."""

from __future__ import annotations

import json
import os
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from grpo.errors import UserError
from grpo.protocols import Measured, gain
from grpo.recipe import Recipe
from grpo.stages import rl

FILE = "seeds.json"
LARGEST = 2**32 - 1  # as output.seed has it


def parse_seeds(text: str) -> list[int]:
    """Seeds as given on the command line: `0,1,2`.

    Raises:
        UserError: it is no list of different whole numbers.
    """
    try:
        seeds = [int(part) for part in text.split(",")]
    except ValueError:
        seeds = []
    if not seeds or min(seeds) < 0 or max(seeds) > LARGEST or len(set(seeds)) < len(seeds):
        raise UserError(f"{text!r} is no list of different seeds", "--seeds", "Write 0,1,2")
    return seeds


def recipe_of_seed(recipe: Recipe, seed: int) -> Recipe:
    """The recipe with this seed, in a folder of its own within the recipe's."""
    output = recipe.output.model_copy(update={"seed": seed, "folder": f"{recipe.output.folder}/seed-{seed}"})
    return recipe.model_copy(update={"output": output})


def train_seeds(
    recipe: Recipe, seeds: Sequence[int], *, overwrite: bool = False, console: Console | None = None
) -> dict[str, Any]:
    """Runs the recipe once a seed, one after the other, and returns what seeds.json holds.

    A seed that is finished is not run again, and one that was stopped goes on from its newest checkpoint.

    Args:
        recipe: resolved; its own seed counts for nothing.
        seeds: of data order and samples. A `pretrain` section has a seed of its own: the base is the same.
        overwrite: move the runs that are there aside.
        console: where to show it; the terminal when left out.
    """
    console = console or Console()
    summaries: dict[int, dict[str, Any]] = {}
    for seed in seeds:
        console.print(f"seed {seed} ({len(summaries) + 1} of {len(seeds)})", style="bold", markup=False)
        summaries[seed] = rl.train(
            recipe_of_seed(recipe, seed), resume=not overwrite, overwrite=overwrite, console=console
        )
        told = summarise(summaries)
        path = Path(recipe.output.folder) / FILE
        partial = path.with_suffix(".partial")
        partial.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
        os.replace(partial, path)
    console.print(table_of(told))
    return told


def summarise(summaries: Mapping[int, Mapping[str, Any]]) -> dict[str, Any]:
    """`{"seeds": [{"seed", "base", "trained", "gain", "apart", "seconds"}], "mean_gain", "least_gain"}`.

    `base` is the base at its best protocol and grading rule, `trained` the trained policy at its best
    protocol by the first rule, each with `protocol`, `rule`, `value` and `interval` (95 % over prompts);
    `apart` says whether the intervals do not overlap.
    """
    rows = []
    for seed, summary in summaries.items():
        measured = [Measured.from_json(row) for row in summary["protocols"]]
        if not measured:
            raise UserError(
                "no rule's score is a verdict on the answer, so seeds have no gain to compare",
                "rewards",
                "Add {rule: accuracy, weight: 0}, or run each seed by itself",
            )
        before, after = gain(measured)
        rows.append(
            {
                "seed": seed,
                "base": _end(before, before.base),
                "trained": _end(after, after.trained),
                "gain": after.trained[0] - before.base[0],
                "apart": after.trained[1] > before.base[2],
                "seconds": summary["seconds"],
            }
        )
    gains = [row["gain"] for row in rows]
    return {"seeds": rows, "mean_gain": statistics.fmean(gains), "least_gain": min(gains)}


def _end(row: Measured, numbers: tuple[float, float, float]) -> dict[str, Any]:
    value, low, high = numbers
    return {"protocol": row.protocol, "rule": row.rule, "value": value, "interval": [low, high]}


def table_of(told: Mapping[str, Any]) -> Table:
    """The seeds as a table for the terminal."""
    caption = f"mean gain {told['mean_gain']:+.3f}, least {told['least_gain']:+.3f}"
    table = Table(title="Held-out accuracy by seed", title_style="bold", caption=caption)
    for column in ("seed", "base at its best", "trained", "gain", "intervals", "seconds"):
        table.add_column(column, justify="left" if column == "base at its best" else "right")
    for row in told["seeds"]:
        ends = []
        for end in ("base", "trained"):
            low, high = row[end]["interval"]
            ends.append(f"{row[end]['value']:.3f} [{low:.3f}, {high:.3f}]")
        table.add_row(
            str(row["seed"]),
            f"{ends[0]} ({row['base']['protocol']})",
            ends[1],
            f"{row['gain']:+.3f}",
            "apart" if row["apart"] else "overlap",
            f"{row['seconds']:.0f}",
        )
    return table
