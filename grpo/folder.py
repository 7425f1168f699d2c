"""The output folder: whether it may be used, and the checkpoint that a resumed run goes on from."""

from __future__ import annotations

import json
import logging
import os
from datetime import datetime
from pathlib import Path
from typing import Any

from grpo.errors import UserError
from grpo.metrics import read_metrics
from grpo.recipe import Recipe
from grpo.recipe_file import load_recipe

log = logging.getLogger(__name__)

RECIPE = "recipe.yaml"
ENDS = ("base", "trained")  # evaluations that the summary compares
# keys that a resumed run may change: they do not alter the steps already taken
FREE = (
    "train.steps",
    "train.save_every",
    "train.keep",
    "train.max_ungraded",
    "train.on_rule_error",  # a run that it stopped can go on under another
    "train.token_budget",
    "train.shard",
    "train.gradient_checkpointing",
    "rollout.engines",
    "rollout.device",
    "rollout.sleep",
    "rollout.engine_args.gpu_memory_utilization",
    "rollout.engine_args.kv_cache_memory_bytes",
    "eval",
    "output.folder",
    "output.trackers",
)


def find_checkpoint(recipe: Recipe, *, resume: bool, overwrite: bool) -> Path | None:
    """The checkpoint to go on from, after making sure that no other run would be lost. Changes nothing.

    Args:
        resume: go on from the newest good checkpoint (or start, where there is none yet).
        overwrite: a run that is there will be moved aside.

    Raises:
        UserError: the folder holds a run and neither was asked, or the resumed recipe differs from its.
    """
    folder = Path(recipe.output.folder)
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not there.is_dir():
        raise UserError(f"{there} is a file", "output.folder", "Name a folder.")
    if not os.access(there, os.W_OK | os.X_OK):
        raise UserError(f"{there} cannot be written to", "output.folder", "Name another folder.")
    if not (folder / RECIPE).exists():
        if folder.is_dir() and any(folder.iterdir()):
            raise UserError(
                f"{folder} holds files that are not a run's", "output.folder", "Name another folder."
            )
        return None
    if not read_metrics(folder):  # it failed before its first line: there is nothing to lose or to go on with
        return None
    if resume:
        from grpo.checkpoint import good_checkpoints  # with torch, which reading a recipe does without

        check_same_recipe(load_recipe(str(folder / RECIPE)), recipe)
        found = good_checkpoints(folder / "checkpoints")
        for path in sorted(set((folder / "checkpoints").glob("step-*")) - set(found)):
            log.warning("%s is damaged or not whole; the run does not go on from it", path)
        if found:
            check_steps(recipe, int(found[-1].name.removeprefix("step-")))
        return found[-1] if found else None
    if not overwrite:
        raise UserError(
            f"{folder} already holds a run",
            "output.folder",
            "Add --resume to go on with it, or --overwrite to move it aside.",
        )
    return None


def check_steps(recipe: Recipe, done: int) -> None:
    """Refuses to end a run at a step that it has passed, or at which it was not evaluated as its last.

    Raises:
        UserError: train.steps is too small.
    """
    ends = (Path(recipe.output.folder) / "eval").glob(f"{ENDS[1]}-*.json")
    ended = any(json.loads(path.read_text())["version"] == done for path in ends)
    if recipe.train.steps < done or (recipe.train.steps == done and not ended):
        raise UserError(
            f"{recipe.train.steps}, but the run has taken {done} steps and was to take more",
            "train.steps",
            f"Resume with more than {done}.",
        )


def move_aside(folder: Path) -> Path | None:
    """Renames a run's folder after the time it was started; None where there is none."""
    if not (folder / RECIPE).exists():
        return None
    started = datetime.fromtimestamp((folder / RECIPE).stat().st_mtime)
    aside = folder.with_name(f"{folder.name}.{started:%Y%m%d-%H%M%S}")
    return folder.rename(aside)


def can_go_on(recipe: Recipe) -> bool:
    """Whether a finished run can be resumed with more steps: not where they stretch its schedule."""
    return recipe.train.schedule not in ("linear", "cosine")


def go_on_command(recipe: Recipe, done: int) -> str:
    """What to type after a finished run of `done` steps to train its policy further."""
    folder = recipe.output.folder
    command = f"grpo train {folder}/{RECIPE}"
    if can_go_on(recipe):
        return f"{command} train.steps={2 * done} --resume"
    policy, merge = f"{folder}/checkpoints/step-{done}", ""
    if recipe.model.adapter:
        policy, merge = f"{folder}-merged", f"grpo merge {policy} {folder}-merged && "
    unset = " pretrain=null" if recipe.pretrain else ""
    return f"{merge}{command} model.path={policy}{unset} output.folder={folder}-2"


def _change(before: Any, after: Any) -> str:
    """The two values of a key, where they are short enough for a line."""
    plain = all(isinstance(value, str | int | float | None) for value in (before, after))
    return f" ({before}, now {after})" if plain else ""


def check_same_recipe(old: Recipe, new: Recipe) -> None:
    """Refuses to go on with a recipe that would have taken other steps.

    Raises:
        UserError: names the keys that differ.
    """

    def flat(value: Any, path: str = "") -> dict[str, Any]:
        if isinstance(value, dict):
            pairs = [flat(inner, f"{path}.{key}" if path else str(key)) for key, inner in value.items()]
            return {key: inner for pair in pairs for key, inner in pair.items()}
        return {path: value}

    free = FREE if can_go_on(new) else FREE[1:]
    before, after = flat(old.model_dump(mode="json")), flat(new.model_dump(mode="json"))
    changed = [
        f"{key}{_change(before.get(key), after.get(key))}"
        for key in before | after
        if before.get(key) != after.get(key)
        and not any(key == name or key.startswith(f"{name}.") for name in free)
    ]
    if changed:
        raise UserError(
            f"the run in {old.output.folder} was started with other values of {', '.join(changed)}",
            "--resume",
            "Resume with its own recipe.yaml, or start a new run in another output.folder"
            + (
                ""
                if can_go_on(new)
                else f"; train.schedule {new.train.schedule} is laid out over train.steps"
            ),
        )
