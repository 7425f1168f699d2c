"""Calls a loaded rule on some completions of a group and checks what it returns."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from rewards.errors import RuleError
from rewards.load import Loaded
from rewards.options import GIVEN


@dataclass(frozen=True)
class Request:
    """Completions of one group and what rules may know about them; every list has one entry a completion."""

    prompts: Sequence[Any]
    completions: Sequence[Any]
    columns: Mapping[str, Sequence[Any]]
    completion_ids: Sequence[Sequence[int]] | None = None
    trainer_state: Mapping[str, Any] | None = None

    def rows(self, indices: Sequence[int]) -> Request:
        """The request for some of its completions."""
        if len(indices) == len(self.completions):
            return self
        ids = self.completion_ids
        return Request(
            [self.prompts[i] for i in indices],
            [self.completions[i] for i in indices],
            {name: [values[i] for i in indices] for name, values in self.columns.items()},
            None if ids is None else [ids[i] for i in indices],
            self.trainer_state,
        )


@dataclass
class Answer:
    """What a rule returned and logged."""

    scores: list[float | None] = field(default_factory=list)
    extras: list[dict[str, Any]] = field(default_factory=list)  # one a completion; shows the metrics too
    metrics: dict[str, float] = field(default_factory=dict)


def call(rule: Loaded, request: Request) -> Answer:
    """Runs the rule. What the rule raises passes through; a wrong answer is a RuleError."""
    answer = Answer(extras=[{} for _ in request.completions])
    logged: dict[str, list[float]] = {}

    def log_extra(column: str, values: Sequence[Any]) -> None:
        if len(values) != len(answer.extras):
            what = (
                f"log_extra({column!r}) was given {len(values)} values for {len(answer.extras)} completions"
            )
            raise RuleError(what, rule.spec, "Log one value a completion")
        for extras, value in zip(answer.extras, values, strict=True):
            extras[column] = _plain(value)

    def log_metric(name: str, value: float) -> None:
        logged.setdefault(name, []).append(float(value))

    keywords: dict[str, Any] = dict(request.columns)
    keywords.update(
        prompts=request.prompts,
        completions=request.completions,
        completion_ids=request.completion_ids,
        trainer_state=None if request.trainer_state is None else SimpleNamespace(**request.trainer_state),
        log_extra=log_extra,
        log_metric=log_metric,
    )
    result = rule.function(**_chosen(rule, keywords), **rule.options)
    if inspect.isawaitable(result):
        import asyncio

        result = asyncio.run(_awaited(result))
    answer.scores = _checked(rule, result, len(request.completions))
    answer.metrics = {name: sum(values) / len(values) for name, values in logged.items()}
    answer.extras = [{**answer.metrics, **extras} for extras in answer.extras]
    return answer


def _chosen(rule: Loaded, keywords: Mapping[str, Any]) -> dict[str, Any]:
    missing = sorted(rule.required - keywords.keys())
    if missing:
        columns = ", ".join(sorted(keywords.keys() - set(GIVEN))) or "none"
        raise RuleError(
            f"wants column {missing[0]!r}, which the data has not", rule.spec, f"Columns: {columns}"
        )
    if rule.takes_all:
        return {name: value for name, value in keywords.items() if name not in rule.option_names}
    return {name: value for name, value in keywords.items() if name in rule.named}


async def _awaited(result: Any) -> Any:
    return await result


def _checked(rule: Loaded, result: Any, count: int) -> list[float | None]:
    hint = "Return a list with one number or None a completion"
    try:
        values = list(result)
    except TypeError:
        raise RuleError(f"returned {type(result).__name__}, not a list", rule.spec, hint) from None
    if isinstance(result, str | bytes | dict):
        raise RuleError(f"returned {type(result).__name__}, not a list", rule.spec, hint)
    if len(values) != count:
        raise RuleError(f"returned {len(values)} scores for {count} completions", rule.spec, hint)
    return [_number(rule, value, hint) for value in values]


def _number(rule: Loaded, value: Any, hint: str) -> float | None:
    """A finite float; None for None and, as in TRL, for NaN."""
    if value is None:
        return None
    try:
        number = float("inf") if isinstance(value, str | bytes) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = float("inf")
    if math.isinf(number):
        raise RuleError(f"returned {value!r:.60} as a score", rule.spec, hint)
    return None if math.isnan(number) else number


def _plain(value: Any) -> Any:
    """A value that can be written as JSON: numbers of other libraries become float, the rest text."""
    if value is None or isinstance(value, bool | float | str):
        return value
    if isinstance(value, int) and abs(value) < 1 << 63:  # a longer one would be refused as JSON or in a table
        return value
    try:
        return float(value)
    except OverflowError:
        return f"a number of {value.bit_length()} bits" if isinstance(value, int) else str(value)
    except (TypeError, ValueError):
        return str(value)
