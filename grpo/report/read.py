"""What a run folder holds, read as it is at this moment: finished, running or stopped."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from grpo.errors import UserError
from grpo.metrics import FILE as METRICS
from grpo.metrics import read_metrics

Row = dict[str, Any]


@dataclass(frozen=True)
class Snapshot:
    """A run folder at one moment."""

    folder: Path
    rows: list[Row]  # of metrics.jsonl, by step
    recipe_text: str  # recipe.yaml as it stands; empty where there is none
    recipe: Row  # the same as a mapping, not validated: a run of another version can be shown too
    environment: Row
    summary: Row | None  # summary.json of the run, once it has taken all its steps
    written: float | None  # when metrics.jsonl was last written, seconds since 1970

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.folder.resolve().name

    @property
    def done(self) -> int:
        """Steps taken."""
        return int(self.rows[-1]["step"]) if self.rows else 0

    @property
    def steps(self) -> int | None:
        """Steps the run is to take; None where the recipe does not say."""
        train = self.recipe.get("train")
        steps = train.get("steps") if isinstance(train, dict) else None
        return steps if isinstance(steps, int) else None

    @property
    def ended(self) -> bool:
        """Whether the run has taken all its steps and told its summary."""
        return self.summary is not None

    @property
    def seconds(self) -> float:
        """Wall-clock seconds of the steps and evaluations so far, starting up left out."""
        parts = ("time/step", "time/evaluate")
        return float(sum(row.get(part) or 0.0 for row in self.rows for part in parts))

    @property
    def tokens(self) -> int:
        """Tokens sampled in training so far."""
        return int(sum(row.get("tokens") or 0 for row in self.rows))


def read_run(folder: Path) -> Snapshot:
    """Reads a run folder.

    Raises:
        UserError: it is no run's folder.
    """
    check_folder(folder)
    text = _text(folder / "recipe.yaml")
    try:
        recipe = yaml.safe_load(text)
    except yaml.YAMLError:
        recipe = None
    recipe = recipe if isinstance(recipe, dict) else {}
    written = (folder / METRICS).stat().st_mtime
    snapshot = Snapshot(
        folder, read_metrics(folder), text, recipe, _json(folder / "environment.json"), None, written
    )
    summary = _json(folder / "summary.json")
    # A finished run that is resumed with more steps keeps its old summary until it has another.
    over = bool(summary) and snapshot.done == summary.get("steps") and snapshot.done >= (snapshot.steps or 0)
    return Snapshot(**vars(snapshot) | {"summary": summary}) if over else snapshot


def check_folder(folder: Path) -> None:
    """Makes sure that the folder is a run's.

    Raises:
        UserError: there is none, or it has no metrics.jsonl.
    """
    instead = "Name the folder of a run, as in output.folder"
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "no such folder"
        raise UserError(what, str(folder), instead)
    if not (folder / METRICS).is_file():
        raise UserError(f"has no {METRICS}", str(folder), instead)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _json(path: Path) -> Row:
    """A mapping in a JSON file; empty where there is none, or it is being written."""
    try:
        found = json.loads(_text(path))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
