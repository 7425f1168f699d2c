"""The course of a run: what its samples show of each sign, a reading a step."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from grpo.hacking import signs
from grpo.samples import Row, groups_of, read_samples, rule_names, sample_id

IDS = 5  # samples named a step
Values = list[float | None]


@dataclass(frozen=True)
class Reading:
    """One sign in one step. Groups are the units: completions of one prompt are no independent trials.

    total and squares are sums over the groups' means; with them readings of several steps are pooled.
    """

    step: int
    groups: int  # that it applies to
    total: float
    squares: float
    paid: float | None = None  # mean reward of the completions that show it
    unpaid: float | None = None  # and of those that do not
    ids: tuple[str, ...] = ()  # of completions that show it most, best rewarded first

    @property
    def mean(self) -> float:
        """Mean over groups."""
        return self.total / self.groups


@dataclass(frozen=True)
class Sign:
    """A number for each completion of a step, and the value from which it counts as showing the sign."""

    name: str
    measure: Callable[[Sequence[Row]], Values]
    shows: float = 0.5


def _each(function: Callable[[str], float | None]) -> Callable[[Sequence[Row]], Values]:
    return lambda rows: [function(row["completion"]) for row in rows]


def _within(rows: Sequence[Row]) -> Values:
    return [
        value
        for group in groups_of(rows)
        for value in signs.twins_within([row["completion"] for row in group])
    ]


def _across(rows: Sequence[Row]) -> Values:
    columns = ([row[name] for row in rows] for name in ("completion", "prompt_id", "answer"))
    return list(signs.twins_across(*columns))


def _loose(rows: Sequence[Row]) -> Values:
    return [signs.loose(row["graded"]) for row in rows]


def _reward(rows: Sequence[Row]) -> Values:
    return [reward_of(row) for row in rows]


SIGNS = (
    Sign("identical_within", _within),
    Sign("identical_across", _across),
    Sign("no_reasoning", _each(signs.bare)),
    Sign("repetition", _each(signs.repetition), shows=0.3),
    Sign("language_mixing", _each(signs.mixed)),
    Sign("several_answers", _each(signs.several_answers)),
    Sign("loosest_rung", _loose),
)
REWARD = "reward"
Course = Mapping[str, list[Reading]]


def read_course(files: Iterable[Path]) -> dict[str, list[Reading]]:
    """Readings by step of every sign, of `reward` and of each `score/<rule>`; one file at a time."""
    course: dict[str, list[Reading]] = {}
    for file in files:
        for name, reading in readings(read_step(file)).items():
            course.setdefault(name, []).append(reading)
    return course


def read_step(file: Path) -> list[Row]:
    """The rows of a sample file in order of their groups, with `graded`: what the answer's grader logged."""
    names = rule_names(file)
    columns = ["step", "prompt_id", "sample", "completion", "answer", "reward"]
    columns += [f"{kind}/{name}" for name in names for kind in ("score", "extras")]
    rows = [row for group in groups_of(read_samples(file, columns)) for row in group]
    for row in rows:
        logged: list[dict[str, Any]] = [json.loads(row[f"extras/{name}"]) for name in names]
        row["graded"] = next((extras for extras in logged if "rung" in extras), {})
    return rows


def readings(rows: Sequence[Row]) -> dict[str, Reading]:
    """The readings of one step; a sign that applies to none of its completions is left out."""
    scores = [name for name in (rows[0] if rows else {}) if name.startswith("score/")]
    found = {sign.name: reading(rows, sign.measure(rows), sign.shows) for sign in SIGNS}
    found |= {name: reading(rows, [row[name] for row in rows]) for name in scores}
    found[REWARD] = reading(rows, _reward(rows), ids=_ill_gotten(rows))
    return {name: one for name, one in found.items() if one is not None}


def reading(
    rows: Sequence[Row], values: Values, shows: float = 0.5, ids: Sequence[str] | None = None
) -> Reading | None:
    """Sums over groups of one step's values, and who shows the sign; None where no completion has a value."""
    by_group: dict[str, list[float]] = {}
    for row, value in zip(rows, values, strict=True):
        if value is not None:
            by_group.setdefault(row["prompt_id"], []).append(value)
    if not by_group:
        return None
    means = [sum(known) / len(known) for known in by_group.values()]
    pairs = [(value, row) for row, value in zip(rows, values, strict=True) if value is not None]
    showing = [(value, row) for value, row in pairs if value >= shows]
    showing.sort(key=lambda pair: (-(reward_of(pair[1]) or 0.0), -pair[0]))
    return Reading(
        rows[0]["step"],
        len(means),
        sum(means),
        sum(mean * mean for mean in means),
        _mean_reward(row for _, row in showing),
        _mean_reward(row for value, row in pairs if value < shows),
        tuple(ids if ids is not None else (sample_id(row) for _, row in showing[:IDS])),
    )


def reward_of(row: Row) -> float | None:
    """The reward of a completion; None where no rule gave one."""
    reward = row["reward"]
    return None if reward is None or math.isnan(reward) else float(reward)


def _mean_reward(rows: Iterable[Row]) -> float | None:
    known = [reward for row in rows if (reward := reward_of(row)) is not None]
    return sum(known) / len(known) if known else None


def _ill_gotten(rows: Sequence[Row]) -> list[str]:
    """The best rewarded that the answer's grader does not call right; of all where there is no grader."""
    suspects = [row for row in rows if row["graded"] and row["graded"].get("verdict") != "right"] or rows
    return [sample_id(row) for row in sorted(suspects, key=lambda row: -(reward_of(row) or 0.0))[:IDS]]
