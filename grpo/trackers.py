"""Experiment trackers, each through its own client: what metrics.jsonl gets, they get, at the same step.

tensorboard  into tensorboard/ of the run folder; steps that a resume takes back are hidden
wandb        project grpo (WANDB_PROJECT), files in wandb/ of the run folder; a resumed run goes on in its
             own, where steps taken back stand twice
trackio      project grpo (TRACKIO_PROJECT), where TRACKIO_DIR says; after a resume likewise

Clients read their own settings (WANDB_MODE, TRACKIO_SPACE_ID, …). They load only where a recipe names them.
"""

from __future__ import annotations

import importlib.util
import json
import os
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol

from grpo.errors import UserError
from grpo.recipe_file import dump_recipe

if TYPE_CHECKING:
    from grpo.recipe import Recipe

FILE = "tracker.json"  # in the run folder: the id that the run has at its trackers
PROJECT = "grpo"


@dataclass(frozen=True)
class Target:
    """The run as a tracker is told of it."""

    folder: Path
    name: str
    id: str  # the same after a resume
    resume_at: int | None  # steps kept; None for a new run
    recipe: Recipe

    @property
    def config(self) -> dict[str, Any]:
        """The resolved recipe."""
        return self.recipe.model_dump(mode="json")


class Tracker(Protocol):
    """One client."""

    def __init__(self, target: Target) -> None: ...

    def write(self, step: int, metrics: Mapping[str, float]) -> None:
        """Hands on the metrics of a step."""
        ...

    def close(self, failed: bool) -> None:
        """Sends what is left."""
        ...


class TensorBoard:
    """Event files in the run folder, by torch.utils.tensorboard."""

    def __init__(self, target: Target) -> None:
        from torch.utils.tensorboard import SummaryWriter

        purge = 0 if target.resume_at is None else target.resume_at + 1
        self._writer = SummaryWriter(str(target.folder / "tensorboard"), purge_step=purge)
        self._writer.add_text("recipe", f"```yaml\n{dump_recipe(target.recipe)}```", purge)

    def write(self, step: int, metrics: Mapping[str, float]) -> None:
        """Adds a scalar a metric."""
        for name, value in metrics.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def close(self, failed: bool) -> None:
        """Closes the file."""
        self._writer.close()


class WandB:
    """A run at Weights & Biases, or offline in the run folder."""

    def __init__(self, target: Target) -> None:
        import wandb

        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            name=target.name,
            id=target.id,
            resume="allow" if target.resume_at is not None else None,
            dir=target.folder,
            config=target.config,
            settings=wandb.Settings(console="off"),  # the screen redraws itself
        )
        # Its own counter never goes back, as a resumed run does.
        self._run.define_metric("*", step_metric="step")

    def write(self, step: int, metrics: Mapping[str, float]) -> None:
        """Logs a row whose axis is `step`."""
        self._run.log({"step": step, **metrics})

    def close(self, failed: bool) -> None:
        """Ends the run there, marked as failed where it is."""
        self._run.finish(exit_code=int(failed))


class TrackIO:
    """A run of trackio's local data base, or of a Space."""

    def __init__(self, target: Target) -> None:
        import trackio

        self._run = trackio.init(
            project=os.environ.get("TRACKIO_PROJECT", PROJECT),
            name=f"{target.name}-{target.id}",
            config=target.config,
            resume="allow",
            embed=False,
        )

    def write(self, step: int, metrics: Mapping[str, float]) -> None:
        """Logs a row."""
        self._run.log(dict(metrics), step=step)

    def close(self, failed: bool) -> None:
        """Sends what is left."""
        self._run.finish()


TRACKERS: dict[str, type[Tracker]] = {"tensorboard": TensorBoard, "wandb": WandB, "trackio": TrackIO}


def check_trackers(names: Sequence[str]) -> None:
    """Makes sure that the packages of the trackers are there; each has its tracker's name.

    Raises:
        UserError: one is not installed.
    """
    for name in names:
        if not installed(name):
            raise UserError(
                f"{name} is not installed",
                "output.trackers",
                f"Install it by `pip install {name}`, or leave it out",
            )


def installed(package: str) -> bool:
    """Whether a package is there, without loading it."""
    return importlib.util.find_spec(package) is not None


class Trackers:
    """The trackers of a run. Leaving the context closes them.

    Args:
        recipe: resolved; output.trackers names them.
        resume_at: step the run goes on from; None for a new run.

    Raises:
        UserError: a client refuses to start, as one without a key does.
    """

    def __init__(self, recipe: Recipe, resume_at: int | None) -> None:
        self._open: dict[str, Tracker] = {}
        names = recipe.output.trackers
        if not names:
            return
        folder = Path(recipe.output.folder).resolve()
        target = Target(folder, folder.name, _id(folder / FILE, resume_at), resume_at, recipe)
        for name in names:
            try:
                self._open[name] = TRACKERS[name](target)
            except Exception as error:  # each client has errors of its own
                self.close(failed=True)
                raise UserError(
                    f"{name} did not start: {_line(error)}", "output.trackers", "Set it up, or leave it out"
                ) from error

    def __enter__(self) -> Trackers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(failed=error is not None)

    def write(self, step: int, metrics: Mapping[str, float]) -> list[str]:
        """Hands on the metrics of a step, and returns what went wrong, a line a tracker.

        A tracker that fails gets nothing more: a run does not end for it.
        """
        lost = []
        for name, tracker in list(self._open.items()):
            try:
                tracker.write(step, metrics)
            except Exception as error:  # each client has errors of its own
                del self._open[name]
                lost.append(f"{name} gets no more metrics: {_line(error)}")
        return lost

    def close(self, failed: bool = False) -> None:
        """Closes every tracker that is open."""
        for name in list(self._open):
            self._open.pop(name).close(failed)


def _id(file: Path, resume_at: int | None) -> str:
    """The run's id, kept in its folder: a resumed run goes on under it, a new one gets another."""
    if resume_at is not None and file.exists():
        return str(json.loads(file.read_text())["id"])
    fresh = uuid.uuid4().hex[:8]
    file.write_text(json.dumps({"id": fresh}) + "\n")
    return fresh


def _line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
