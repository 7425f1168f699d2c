"""A run in the terminal while another process takes its steps: the same screen as its own."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from grpo.errors import UserError
from grpo.live import LiveView, view_for
from grpo.report.page import graders_of
from grpo.report.read import Row, Snapshot, read_run
from grpo.report.samples import step_files
from grpo.report.serve import state_of
from grpo.samples import groups_of, read_samples
from grpo.types import Group, Prompt, Rollout

if TYPE_CHECKING:
    from rich.console import Console

    from grpo.view import View

EVERY = 0.5  # seconds between looks at the folder


def watch(folder: Path, console: Console, every: float = EVERY) -> Snapshot:
    """Shows a run until it has ended, and returns what it then holds.

    Raises:
        UserError: it is no run's folder.
    """
    state = state_of(folder)
    snapshot = read_run(folder)
    with view_for(console, snapshot.name, *graders_of(snapshot.recipe)[:1]) as view:
        view.stage("training", snapshot.steps, ago=snapshot.seconds)
        shown = [] if isinstance(view, LiveView) else snapshot.rows[:-1]  # a log goes on at its end
        shown = _add(view, snapshot, shown)
        while not snapshot.ended:
            time.sleep(every)
            if state == (state := state_of(folder)):
                continue
            snapshot = read_run(folder)
            if not shown or snapshot.rows[: len(shown)] != shown:  # a resumed run has taken steps back
                view.stage("training", snapshot.steps, ago=snapshot.seconds)
                shown = []
            shown = _add(view, snapshot, shown)
    return snapshot


def _add(view: View, snapshot: Snapshot, shown: list[Row]) -> list[Row]:
    """Tells the view the lines that come after those shown; gives all lines."""
    rows = snapshot.rows
    for row in rows[len(shown) :]:
        step = row["step"]
        metrics = {name: value for name, value in row.items() if isinstance(value, int | float)}
        held_out = {name: value for name, value in metrics.items() if name.startswith("eval/")}
        if step:
            sample = group_of(snapshot.folder, step) if row is rows[-1] else None
            view.step(step, {name: metrics[name] for name in metrics if name not in held_out}, sample)
        if held_out:
            view.evaluation(step, held_out)
    return rows


def group_of(folder: Path, step: int) -> Group | None:
    """One group of a step's samples, another one each step, as far as a screen shows it; None without."""
    file = step_files(folder).get(step)
    if file is None:
        return None
    wanted = ("prompt_id", "sample", "prompt", "answer", "completion", "token_ids", "finish_reason", "reward")
    try:
        groups = list(groups_of(read_samples(file, wanted)))
    except UserError:  # of another version
        return None
    if not groups:
        return None
    rows = groups[(step - 1) % len(groups)]
    first = rows[0]
    prompt = Prompt(first["prompt_id"], first["prompt"], first["answer"], first["prompt"], ())
    rollouts = tuple(
        Rollout(
            row["prompt_id"], row["sample"], (), tuple(row["token_ids"]), (), (), (), row["completion"],
            row["finish_reason"],
        )
        for row in rows
    )  # fmt: skip
    rewards = tuple(float("nan") if row["reward"] is None else row["reward"] for row in rows)
    return Group(prompt, rollouts, rewards=rewards)
