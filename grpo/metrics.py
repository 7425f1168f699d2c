"""metrics.jsonl, one line a step, and the metrics that groups alone determine."""

from __future__ import annotations

import json
import math
import os
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from grpo.errors import UserError
from grpo.types import Group

FILE = "metrics.jsonl"
EQUAL_REWARDS = 1e-6  # rewards of a group closer than this teach nothing


class MetricsLog:
    """Appends one JSON line a step, flushed, to a run folder's metrics.jsonl.

    `step` counts finished rollout steps; the base policy, before the first, is step 0. A value that is not
    finite is written as null and its name listed under "not_finite", so that every line is valid JSON.

    Args:
        folder: the run folder.
        resume_at: step the run goes on from: lines of later steps, and a line torn by a crash, are removed.
            None starts a new file.
    """

    def __init__(self, folder: Path, resume_at: int | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / FILE
        rows = [] if resume_at is None else [row for row in read_metrics(folder) if row["step"] <= resume_at]
        partial = path.with_suffix(".partial")
        partial.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        os.replace(partial, path)
        self._file = path.open("a", encoding="utf-8")

    def write(self, step: int, metrics: Mapping[str, float]) -> dict[str, float]:
        """Appends the line of one step, and returns those of its values that are finite."""
        row: dict[str, Any] = {"step": step}
        row |= {name: value if math.isfinite(value) else None for name, value in metrics.items()}
        if broken := [name for name, value in metrics.items() if not math.isfinite(value)]:
            row["not_finite"] = broken
        self._file.write(json.dumps(row) + "\n")
        self._file.flush()
        return {name: value for name, value in metrics.items() if math.isfinite(value)}

    def close(self) -> None:
        """Closes the file; what was written is already there."""
        self._file.close()


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """The lines of a run's metrics.jsonl, oldest first; none where there is no file.

    A last line without its end, left by a crash or still being written, is passed over.

    Raises:
        UserError: another line is not a step's metrics.
    """
    path = folder / FILE
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
    rows = []
    for number, line in enumerate(lines, start=1):
        if not line.endswith("\n"):
            break
        try:
            row = json.loads(line)
            row["step"] = int(row["step"])
        except (ValueError, KeyError, TypeError):
            raise UserError(
                "not a line of metrics", f"{path}:{number}", "Remove the line, or the whole file."
            ) from None
        rows.append(row)
    return rows


def step_metrics(groups: Sequence[Group], *, version: int, dropped: int = 0) -> dict[str, float]:
    """What P groups say about their step. `Scorer.metrics` adds reward/<rule>.

    - reward/mean, reward/std: over all completions that have a reward (std with ddof 1).
    - completions/mean_length, completions/max_length: sampled tokens a completion.
    - completions/clipped_ratio: share of completions cut at max_tokens.
    - groups/zero_std_ratio: share of groups whose rewards are all equal, or of which fewer than two exist.
    - groups/dropped: prompts of the step that gave no group.
    - staleness/mean: mean over sampled tokens of `version` less the version that sampled the token.
    - tokens: sampled tokens of the step.

    Args:
        groups: [P] with rewards.
        version: the policy version that the update starts from.
        dropped: prompts that were asked and gave no group.
    """
    rewards = [reward for group in groups for reward in group.rewards if math.isfinite(reward)]
    rollouts = [rollout for group in groups for rollout in group.rollouts]
    lengths = [sum(rollout.sampled) for rollout in rollouts]
    stale = [
        version - drawn
        for rollout in rollouts
        for drawn, sampled in zip(rollout.versions, rollout.sampled, strict=True)
        if sampled
    ]
    return {
        "reward/mean": _mean(rewards),
        "reward/std": statistics.stdev(rewards) if len(rewards) > 1 else 0.0,
        "completions/mean_length": _mean(lengths),
        "completions/max_length": float(max(lengths, default=0)),
        "completions/clipped_ratio": _mean([rollout.finish_reason == "length" for rollout in rollouts]),
        "groups/zero_std_ratio": _mean([_flat(group.rewards) for group in groups]),
        "groups/dropped": float(dropped),
        "staleness/mean": _mean(stale),
        "tokens": float(sum(lengths)),
    }


def _mean(values: Sequence[float]) -> float:
    return statistics.fmean(values) if values else math.nan


def _flat(rewards_G: Sequence[float]) -> bool:
    known = [reward for reward in rewards_G if math.isfinite(reward)]
    return len(known) < 2 or max(known) - min(known) < EQUAL_REWARDS
