"""A finished run's samples scored again by one rule, and what would have changed.

    samples/step-*.parquet ─► groups as the run scored them ─► new scores ─► changes, totals, a row a step

Only the scores are done again. The policy would have taken another course under them, so later steps show
how the new rule judges what the old one bred.
"""

from __future__ import annotations

import json
import math
import statistics
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from grpo.metrics import EQUAL_REWARDS
from grpo.old_run import OldRun
from grpo.samples import Row, groups_of, read_samples, sample_id
from grpo.scoring import columns_of, completion_of
from grpo.trial import Lines, line_of, score_groups
from grpo.trial_summary import EQUAL_WITHIN, first_error
from grpo.types import Prompt
from rewards.call import Request
from rewards.runner import RuleSpec, Runner, Score

NEEDED = (
    "step", "prompt_id", "sample", "prompt", "question", "columns", "completion", "token_ids", "answer",
)  # fmt: skip


@dataclass(frozen=True)
class Step:
    """One step under the old and the new scores; what the run cannot tell is None."""

    step: int
    completions: int
    after: float | None  # mean score
    before: float | None = None
    changed: int | None = None  # completions whose score differs
    reward_before: float | None = None  # mean of the weighted sum over the run's rules
    reward_after: float | None = None
    flat_before: float | None = None  # share of groups whose rewards are all equal: they teach nothing
    flat_after: float | None = None


@dataclass(frozen=True)
class Change:
    """A completion whose score differs."""

    id: str  # step/prompt_id/sample
    before: float | None
    after: float | None
    move: str  # up, down, lost (no score now), gained (none before)
    extracted: str | None = None  # by the new rule, where it logs it


@dataclass
class Rescored:
    """What came of a run's samples."""

    rule: str
    against: str | None  # the run's rule it was compared with
    options: Mapping[str, Any]
    steps: list[Step] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    moves: dict[str, int] = field(default_factory=dict)  # up, down, lost, gained: completions
    statuses: dict[str, int] = field(default_factory=dict)
    error: str | None = None  # the first exception, overrun or crash, with its sample

    def to_json(self) -> dict[str, Any]:
        """Everything, for programs."""
        return asdict(self)


def rescore(run: OldRun, spec: RuleSpec, against: int | None, lines: Lines) -> Rescored:
    """Scores every sample again, a step at a time, with what the rule saw in the run: columns, ids, state.

    Args:
        run: from `old_run.open_run`.
        spec: the rule.
        against: index of the run's rule that it replaces; None compares with nothing.
        lines: takes a line a completion, in the order of the samples.
    """
    found = Rescored(spec.spec, None if against is None else run.names[against], dict(spec.options))
    weights = [rule.weight for rule in run.rules]
    done = 0
    with Runner([spec]) as runner:
        runner.infos()
        for file in run.files:
            rows = read_samples(file, [*NEEDED, *(f"score/{name}" for name in run.names)])
            groups = list(groups_of(rows))
            flat = [row for group in groups for row in group]
            old = [[row[f"score/{name}"] for name in run.names] for row in flat]

            def tell(
                index: int, score: Score, flat: list[Row] = flat, old: Any = old, at: int = done
            ) -> None:
                known = None if against is None else old[index][against]
                lines.put(at + index, _line(flat[index], score, known, against is not None))

            scores = score_groups(runner, [request_of(group, run.steps) for group in groups], tell)
            done += len(flat)
            new = [score.score for score in scores]
            found.steps.append(step_of(flat, old, new, against, weights, [len(group) for group in groups]))
            _note(found, flat, scores, None if against is None else [given[against] for given in old])
    found.moves = dict(Counter(change.move for change in found.changes))
    return found


def _note(
    found: Rescored, rows: Sequence[Row], scores: Sequence[Score], before: Sequence[float | None] | None
) -> None:
    """Adds one step's statuses, first error and changes."""
    found.statuses = dict(Counter(found.statuses) + Counter(score.status for score in scores))
    found.error = found.error or first_error(
        [(sample_id(row), score) for row, score in zip(rows, scores, strict=True)]
    )
    for row, score, old in zip(rows, scores, before or (), strict=before is not None):
        how = move(old, score.score)
        if how is not None:
            extracted = score.extras.get("extracted")
            found.changes.append(Change(sample_id(row), old, score.score, how, extracted))


def request_of(group: Sequence[Row], max_steps: int) -> Request:
    """A group of samples as the rule saw it in the run."""
    rows = [
        Prompt(
            row["prompt_id"], json.loads(row["question"]), row["answer"], row["prompt"], (),
            json.loads(row["columns"]),
        )
        for row in group
    ]  # fmt: skip
    return Request(
        [prompt.prompt for prompt in rows],
        [completion_of(prompt, row["completion"]) for prompt, row in zip(rows, group, strict=True)],
        columns_of(rows),
        [row["token_ids"] for row in group],
        {"global_step": group[0]["step"] - 1, "max_steps": max_steps},  # a step's file counts it as finished
    )


def _line(row: Row, score: Score, before: float | None, compared: bool) -> Row:
    place = {name: row[name] for name in ("step", "prompt_id", "sample")}
    return place | ({"before": before} if compared else {}) | line_of(score)


def step_of(
    rows: Sequence[Row],
    old: Sequence[Sequence[float | None]],
    new: Sequence[float | None],
    against: int | None,
    weights: Sequence[float],
    sizes: Sequence[int],
) -> Step:
    """One step's means and shares.

    Args:
        rows: [N] samples.
        old: [N][K] scores of the run's rules.
        new: [N] scores that take the place of rule `against`.
        against: index of that rule; None compares with nothing.
        weights: [K] of the rules.
        sizes: completions of each group, together N.
    """
    number, after = rows[0]["step"], _mean(new)
    if against is None:
        return Step(number, len(rows), after=after)
    before = [given[against] for given in old]
    table = [[*given[:against], value, *given[against + 1 :]] for given, value in zip(old, new, strict=True)]
    was, now = ([total(given, weights) for given in scores] for scores in (old, table))
    return Step(
        number,
        len(rows),
        after=after,
        before=_mean(before),
        changed=sum(move(*pair) is not None for pair in zip(before, new, strict=True)),
        reward_before=_mean(was),
        reward_after=_mean(now),
        flat_before=flat_share(was, sizes),
        flat_after=flat_share(now, sizes),
    )


def move(before: float | None, after: float | None) -> str | None:
    """How a score changed: `up`, `down`, `lost` (none now), `gained` (none before); None if it did not."""
    if before is None or after is None:
        return None if before is after else "gained" if before is None else "lost"
    if abs(before - after) <= EQUAL_WITHIN:
        return None
    return "up" if after > before else "down"


def total(scores_K: Sequence[float | None], weights_K: Sequence[float]) -> float | None:
    """The reward: the weighted sum of the scores given; None where there is none."""
    given = [weight * score for score, weight in zip(scores_K, weights_K, strict=True) if score is not None]
    return sum(given) if given else None


def flat_share(rewards: Sequence[float | None], sizes: Sequence[int]) -> float:
    """Share of groups with fewer than two rewards, or equal ones (metric groups/zero_std_ratio)."""
    return statistics.fmean(_flat(group) for group in _cut(rewards, sizes))


def _flat(group: Sequence[float | None]) -> bool:
    known = [reward for reward in group if reward is not None]
    return len(known) < 2 or max(known) - min(known) < EQUAL_REWARDS


def _cut(values: Sequence[float | None], sizes: Sequence[int]) -> Iterator[Sequence[float | None]]:
    start = 0
    for size in sizes:
        yield values[start : start + size]
        start += size


def _mean(values: Sequence[float | None]) -> float | None:
    given = [value for value in values if value is not None and math.isfinite(value)]
    return statistics.fmean(given) if given else None
