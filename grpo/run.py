"""A run and its folder: what is recorded, evaluated and saved, and where a resumed run goes on."""

from __future__ import annotations

import contextlib
import json
import pickle
import re
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from grpo.checkpoint import load_state, prune, save_checkpoint
from grpo.curves import draw_curves
from grpo.environment import describe
from grpo.errors import RunError
from grpo.faults import faults, settle
from grpo.folder import ENDS, RECIPE, go_on_command
from grpo.metrics import MetricsLog, step_metrics
from grpo.parallel.ranks import ALONE, Ranks
from grpo.protocols import Measured, own_name, read_protocols
from grpo.recipe_file import dump_recipe
from grpo.samples import write_samples
from grpo.summary import FILE as SUMMARY
from grpo.summary import print_summary, write_summary
from grpo.trackers import Trackers

if TYPE_CHECKING:
    from rich.console import Console

    from eval.run import Evaluation
    from grpo.data import PromptStream
    from grpo.gather import Gathered
    from grpo.pieces import Pieces
    from grpo.policy import Policy
    from grpo.recipe import Recipe
    from grpo.rollout.engine import RolloutEngine
    from grpo.scoring import Scorer
    from grpo.types import Group
    from grpo.view import View

WORTH = {"exclude": "left out", "zero": "0"}  # what is said of a rule that raised, by train.on_rule_error
# `select` may choose a checkpoint; `report` is what summary.json tells and chooses nothing; `sets` likewise;
# `protocols` are the prompts of `report`, asked in other ways
Part = Literal["select", "report", "sets", "protocols"]
Evaluate = Callable[["RolloutEngine", Part], "list[Evaluation]"]


class Run:
    """One run's folder and counters.

    Args:
        recipe: resolved.
        view: told of steps, phases and evaluations.
        checkpoint: the one to go on from; None starts at step 0.
        pieces: splits a rollout into the texts of its tokens, for the samples.
        ranks: the processes of the run, of which this is the first.
    """

    def __init__(
        self,
        recipe: Recipe,
        view: View,
        checkpoint: Path | None,
        pieces: Pieces | None = None,
        ranks: Ranks = ALONE,
    ) -> None:
        self.recipe, self.view, self.checkpoint = recipe, view, checkpoint
        self._pieces, self.ranks = pieces, ranks
        self.folder = Path(recipe.output.folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.state = state = start_state(checkpoint)
        self.done, self.tokens = int(state["version"]), int(state["tokens"])
        self._seconds_before, self._start = float(state["seconds"]), time.monotonic()
        self._phases: dict[str, float] = defaultdict(float)
        self._step_start = time.monotonic()
        self._pending: dict[str, float] = {}
        self._told: set[str] = set()  # rules whose first exception was told
        resume_at = self.done if checkpoint else None
        self.trackers = Trackers(recipe, resume_at)
        self.log = MetricsLog(self.folder, resume_at)
        (self.folder / RECIPE).write_text(dump_recipe(recipe))
        (self.folder / "environment.json").write_text(
            json.dumps(describe(recipe.output.seed) | {"processes": ranks.count}, indent=2) + "\n"
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

    def check_graded(self, scorer: Scorer, gathered: Gathered) -> list[Group]:
        """The step's groups, with what train.on_rule_error makes of rules that raised.

        Stops a run whose completions could mostly not be graded: it would train on what is left. A rule's
        first exception is told, in the run and where it stops one.

        Raises:
            RunError: a rule raised and train.on_rule_error is `stop`, the share of ungraded completions is
                over train.max_ungraded, or no rule scored any of the first step's.
        """
        groups, step, train = gathered.groups, self.done + 1, self.recipe.train
        found = faults(groups, scorer.names, step)
        raised = [fault for fault in found if fault.how == "error"]
        if raised and train.on_rule_error == "stop":
            path = self._write_samples(step, groups, scorer)
            raise RunError(
                str(raised[0]), f"step {step}", f"It is in {path}; train.on_rule_error: stop ends the run."
            )
        scores = [score for group in groups for row in group.scores for score in row]
        if self.done == 0 and scores and all(score.score is None for score in scores):
            raise RunError(
                "no rule gave any completion a score: there is nothing to learn from"
                + (f"; {raised[0]}" if raised else ""),
                f"step {step}",
                "Try the rules with `grpo reward`; None and NaN mean that a rule does not apply.",
            )
        ungraded, limit = scorer.metrics(groups)["reward/ungraded"], train.max_ungraded
        if ungraded > limit:
            path = self._write_samples(step, groups, scorer)
            raise RunError(
                f"{ungraded:.0%} of the completions could not be graded, over the limit of {limit:.0%}; "
                f"first {found[0]}",
                f"step {step}",
                f"All are in {path}; train.max_ungraded sets the limit.",
            )
        for fault in raised:
            if fault.rule not in self._told:
                self._told.add(fault.rule)
                self.view.note(f"{fault}; its score is {WORTH[train.on_rule_error]} (train.on_rule_error)")
        return settle(groups, train.on_rule_error)

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
        metrics["time/reward"] = gathered.waited
        metrics |= {f"time/{name}": seconds for name, seconds in self._phases.items()}
        metrics |= {"time/step": wall, "throughput/tokens_per_second": metrics["tokens"] / wall}
        metrics |= {"memory/peak_bytes": float(max(self.ranks.exchange(peak_bytes())))}
        self._write_samples(self.done, groups, scorer)
        self.view.step(self.done, metrics, groups[step % len(groups)])
        self._phases.clear()
        self._pending |= metrics
        self._step_start = time.monotonic()
        if not self._due():
            self._flush()

    def _write_samples(self, step: int, groups: Sequence[Group], scorer: Scorer) -> Path:
        return write_samples(self.folder, step, groups, scorer.names, self._pieces)

    def _flush(self) -> None:
        for lost in self.trackers.write(self.done, self.log.write(self.done, self._pending)):
            self.view.note(lost)
        self._pending = {}

    def _due(self) -> bool:
        return self.done % self.recipe.eval.every == 0 or self.done == self.recipe.train.steps

    def evaluate_if_due(self, evaluate: Evaluate, engine: RolloutEngine) -> None:
        """Evaluates every eval.every steps; at step 0 and at the end on the reported half too."""
        resumed_here = self.checkpoint is not None and self.done == int(self.state["version"])
        if resumed_here:  # what it took to start again is no part of the first step
            self._phases.clear()
            self._step_start = time.monotonic()
        if not self._due() or resumed_here:
            return
        with self.phase("evaluate"):
            parts: list[Part] = ["select", "sets"]
            first, last = self.done == 0, self.done == self.recipe.train.steps
            if first or last:
                parts += ["report", "protocols"]
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
        name = re.sub(r"[/:, ]+", "-", f"{label}-{evaluation.name}")
        (folder / f"{name}.json").write_text(json.dumps(evaluation.to_json(), indent=2) + "\n")
        self._pending |= evaluation.metrics()
        if part == "report":
            (folder / f"{label}.pickle").write_bytes(pickle.dumps(evaluation))
        elif part != "protocols":
            self.view.evaluation(self.done, evaluation.metrics())

    def finish(self, console: Console, graders: Sequence[str] = ("accuracy",)) -> dict[str, Any]:
        """Draws the curves, and writes and prints the summary; `graders` are the rules that grade answers."""
        steps, seconds, tokens = self.done, self.seconds, self.tokens
        draw_curves(self.folder, *graders[:1])
        own = own_name(self.recipe.data, self.recipe.eval)
        rows = read_protocols(self.folder, own, graders)
        base, trained = _ends(self.folder)
        write_summary(self.folder, base, trained, protocols=rows, steps=steps, seconds=seconds, tokens=tokens)
        return show_summary(self.recipe, console)

    def save_if_due(self, policy: Policy, prompts: PromptStream) -> None:
        """Saves a checkpoint every train.save_every steps and at the end."""
        if not self._save_due():
            return
        state = {"tokens": self.tokens, "seconds": self.seconds, "prompts": prompts.state()}
        root = self.folder / "checkpoints"
        save_checkpoint(root, policy, state)
        prune(root, self.recipe.train.keep)

    def _save_due(self) -> bool:
        return self.done % self.recipe.train.save_every == 0 or self.done == self.recipe.train.steps


def start_state(checkpoint: Path | None) -> dict[str, Any]:
    """The state that a run starts from: a checkpoint's, or that of step 0."""
    return load_state(checkpoint) if checkpoint else {"version": 0, "tokens": 0, "seconds": 0.0}


def is_finished(recipe: Recipe, checkpoint: Path | None) -> bool:
    """Whether the run in the output folder has taken all its steps and told its summary."""
    summary = Path(recipe.output.folder) / SUMMARY
    if checkpoint is None or checkpoint.name != f"step-{recipe.train.steps}" or not summary.exists():
        return False
    return bool(json.loads(summary.read_text())["steps"] == recipe.train.steps)


def show_summary(recipe: Recipe, console: Console) -> dict[str, Any]:
    """Prints the summary of a run that is over, and returns what summary.json holds."""
    folder = Path(recipe.output.folder)
    summary: dict[str, Any] = json.loads((folder / SUMMARY).read_text())
    told = {name: summary[name] for name in ("steps", "seconds", "tokens")}
    protocols = [Measured.from_json(row) for row in summary["protocols"]]
    print_summary(
        console,
        folder,
        *_ends(folder),
        protocols=protocols,
        next_command=go_on_command(recipe, summary["steps"]),
        **told,
    )
    return summary


def _ends(folder: Path) -> tuple[Evaluation, Evaluation]:
    base, trained = (pickle.loads((folder / "eval" / f"{label}.pickle").read_bytes()) for label in ENDS)
    return base, trained


def peak_bytes() -> int:
    """Largest memory of this process so far: on the GPU where there is one, else resident."""
    import resource

    import torch

    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
