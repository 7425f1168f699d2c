"""A run and its folder: what is recorded, evaluated and saved, and where a resumed run goes on."""

from __future__ import annotations

import contextlib
import json
import pickle
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from grpo.checkpoint import good_checkpoints, load_state, prune, save_checkpoint
from grpo.curves import draw_curves
from grpo.environment import describe
from grpo.errors import RunError, UserError
from grpo.metrics import MetricsLog, step_metrics
from grpo.recipe_file import dump_recipe, load_recipe
from grpo.samples import write_samples
from grpo.summary import print_summary, write_summary

if TYPE_CHECKING:
    from rich.console import Console

    from eval.run import Evaluation
    from grpo.data import PromptStream
    from grpo.gather import Gathered
    from grpo.policy import Policy
    from grpo.recipe import Recipe
    from grpo.rollout.engine import RolloutEngine
    from grpo.scoring import Scorer
    from grpo.types import Group
    from grpo.view import View

# `select` may choose a checkpoint; `report` is what summary.json tells and chooses nothing; `sets` likewise
Part = Literal["select", "report", "sets"]
Evaluate = Callable[["RolloutEngine", Part], "list[Evaluation]"]
RECIPE = "recipe.yaml"
ENDS = ("base", "trained")  # evaluations that the summary compares
# keys that a resumed run may change: they do not alter the steps already taken
FREE = (
    "train.steps",
    "train.save_every",
    "train.keep",
    "train.max_ungraded",
    "train.token_budget",
    "eval",
    "output.folder",
)


class Run:
    """One run's folder and counters.

    Args:
        recipe: resolved.
        view: told of steps, phases and evaluations.
        checkpoint: the one to go on from; None starts at step 0.
    """

    def __init__(self, recipe: Recipe, view: View, checkpoint: Path | None) -> None:
        self.recipe, self.view, self.checkpoint = recipe, view, checkpoint
        self.folder = Path(recipe.output.folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        state = load_state(checkpoint) if checkpoint else {"version": 0, "tokens": 0, "seconds": 0.0}
        self.state: dict[str, Any] = state
        self.done, self.tokens = int(state["version"]), int(state["tokens"])
        self._seconds_before, self._start = float(state["seconds"]), time.monotonic()
        self._phases: dict[str, float] = defaultdict(float)
        self._step_start = time.monotonic()
        self._pending: dict[str, float] = {}
        self.log = MetricsLog(self.folder, resume_at=self.done if checkpoint else None)
        (self.folder / RECIPE).write_text(dump_recipe(recipe))
        (self.folder / "environment.json").write_text(
            json.dumps(describe(recipe.output.seed), indent=2) + "\n"
        )

    @property
    def seconds(self) -> float:
        """Wall-clock seconds of the run so far, the parts before a resume included."""
        return self._seconds_before + time.monotonic() - self._start

    def steps_left(self) -> range:
        """Rollout steps still to run, from 0."""
        return range(self.done, self.recipe.train.steps)

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Times a phase of the step and shows it."""
        self.view.phase(name)
        start = time.monotonic()
        yield
        self._phases[name] += time.monotonic() - start

    def note_metrics(self, metrics: dict[str, float]) -> None:
        """Keeps metrics for the next line of metrics.jsonl."""
        self._pending |= metrics

    def check_graded(self, scorer: Scorer, gathered: Gathered) -> None:
        """Stops a run whose completions could mostly not be graded: it would train on what is left.

        Raises:
            RunError: their share is over train.max_ungraded.
        """
        ungraded, limit = scorer.metrics(gathered.groups)["reward/ungraded"], self.recipe.train.max_ungraded
        if ungraded > limit:
            path = write_samples(self.folder, self.done, gathered.groups, scorer.names)
            raise RunError(
                f"{ungraded:.0%} of the completions could not be graded, over the limit of {limit:.0%}",
                f"step {self.done}",
                f"The reasons are in {path}; train.max_ungraded sets the limit.",
            )

    def record(
        self, step: int, scorer: Scorer, gathered: Gathered, groups: Sequence[Group], terms: dict[str, float]
    ) -> None:
        """Writes the step's samples, and keeps its metrics until its evaluation is done too."""
        self.done = step + 1
        metrics = (
            step_metrics(groups, version=step, dropped=gathered.dropped) | scorer.metrics(groups) | terms
        )
        self.tokens += int(metrics["tokens"])
        wall = time.monotonic() - self._step_start
        metrics |= {"rollouts/retried": gathered.retried, "rollouts/failed": gathered.failed}
        metrics |= {f"time/{name}": seconds for name, seconds in self._phases.items()}
        metrics |= {"time/step": wall, "throughput/tokens_per_second": metrics["tokens"] / wall}
        metrics |= {"memory/peak_bytes": float(peak_bytes())}
        write_samples(self.folder, self.done, groups, scorer.names)
        self.view.step(self.done, metrics, groups[step % len(groups)])
        self._phases.clear()
        self._pending |= metrics
        self._step_start = time.monotonic()
        if not self._due():
            self._flush()

    def _flush(self) -> None:
        self.log.write(self.done, self._pending)
        self._pending = {}

    def _due(self) -> bool:
        return self.done % self.recipe.eval.every == 0 or self.done == self.recipe.train.steps

    def evaluate_if_due(self, evaluate: Evaluate, engine: RolloutEngine) -> None:
        """Evaluates every eval.every steps; at step 0 and at the end on the reported half too."""
        resumed_here = self.checkpoint is not None and self.done == int(self.state["version"])
        if not self._due() or resumed_here:
            return
        with self.phase("evaluate"):
            parts: list[Part] = ["select", "sets"]
            first, last = self.done == 0, self.done == self.recipe.train.steps
            if first or last:
                parts.append("report")
            for part in parts:
                for evaluation in evaluate(engine, part):
                    self._keep(
                        evaluation, part, "base" if first else "trained" if last else f"step-{self.done}"
                    )
        self._pending["time/evaluate"] = self._phases.pop("evaluate")
        self._flush()
        self._step_start = time.monotonic()

    def _keep(self, evaluation: Evaluation, part: Part, label: str) -> None:
        folder = self.folder / "eval"
        folder.mkdir(exist_ok=True)
        name = f"{label}-{evaluation.name}".replace("/", "-").replace(":", "-")
        (folder / f"{name}.json").write_text(json.dumps(evaluation.to_json(), indent=2) + "\n")
        self._pending |= evaluation.metrics()
        if part == "report":
            (folder / f"{label}.pickle").write_bytes(pickle.dumps(evaluation))
        else:
            self.view.evaluation(self.done, evaluation.metrics())

    def finish(self, console: Console, grader: str = "accuracy") -> dict[str, Any]:
        """Draws the curves (`grader` is the rule that grades answers), and writes and prints the summary."""
        base, trained = (
            pickle.loads((self.folder / "eval" / f"{label}.pickle").read_bytes()) for label in ENDS
        )
        steps, seconds, tokens = self.done, self.seconds, self.tokens
        draw_curves(self.folder, grader)
        summary = write_summary(self.folder, base, trained, steps=steps, seconds=seconds, tokens=tokens)
        command = f"grpo train {self.folder / RECIPE} train.steps={2 * self.done} --resume"
        print_summary(
            console,
            self.folder,
            base,
            trained,
            steps=steps,
            seconds=seconds,
            tokens=tokens,
            next_command=command,
        )
        return summary

    def save_if_due(self, policy: Policy, prompts: PromptStream) -> None:
        """Saves a checkpoint every train.save_every steps and at the end."""
        if self.done % self.recipe.train.save_every and self.done != self.recipe.train.steps:
            return
        state = {"tokens": self.tokens, "seconds": self.seconds, "prompts": prompts.state()}
        root = self.folder / "checkpoints"
        save_checkpoint(root, policy, state)
        prune(root, self.recipe.train.keep)


def peak_bytes() -> int:
    """Largest memory of this process so far: on the GPU where there is one, else resident."""
    import resource

    import torch

    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def find_checkpoint(recipe: Recipe, *, resume: bool, overwrite: bool) -> Path | None:
    """The checkpoint to go on from, after making sure that no other run would be lost. Changes nothing.

    Args:
        resume: go on from the newest good checkpoint (or start, where there is none yet).
        overwrite: a run that is there will be moved aside.

    Raises:
        UserError: the folder holds a run and neither was asked, or the resumed recipe differs from its.
    """
    folder = Path(recipe.output.folder)
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file", "output.folder", "Name a folder.")
    if not (folder / RECIPE).exists():
        if folder.is_dir() and any(folder.iterdir()):
            raise UserError(
                f"{folder} holds files that are not a run's", "output.folder", "Name another folder."
            )
        return None
    if resume:
        check_same_recipe(load_recipe(str(folder / RECIPE)), recipe)
        found = good_checkpoints(folder / "checkpoints")
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

    before, after = flat(old.model_dump(mode="json")), flat(new.model_dump(mode="json"))
    changed = [
        key
        for key in before | after
        if before.get(key) != after.get(key)
        and not any(key == free or key.startswith(f"{free}.") for free in FREE)
    ]
    if changed:
        raise UserError(
            f"the run in {old.output.folder} was started with other values of {', '.join(changed)}",
            "--resume",
            "Resume with its own recipe.yaml, or start a new run in another output.folder.",
        )
