"""Combine: several rules as one, with weights, gates and limits."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rewards.call import Answer, Request, call
from rewards.errors import RuleError, nearest
from rewards.load import Loaded, load
from rewards.registry import RuleFunction, rule
from rewards.score import unique

ENTRY = ("rule", "weight", "gate")  # keys of an entry; the others are options of its rule


@dataclass(frozen=True)
class Entry:
    """A rule of the combination."""

    name: str  # in logs and gates
    spec: str
    weight: float
    gates: Mapping[str, float]  # scores that other rules must reach before this one counts
    options: Mapping[str, Any]


def read_entries(*, rules: list[dict[str, Any]] | None, low: float | None, high: float | None) -> list[Entry]:
    """The entries of a combination; RuleError where they do not fit together. Loads no rule."""
    if not rules:
        raise RuleError("has no rules", "combine", "Write rules: [{rule: …, weight: …}, …]")
    if low is not None and high is not None and low >= high:
        raise RuleError(f"low {low} is not below high {high}", "combine", "Swap them")
    for given in rules:
        if not isinstance(given.get("rule"), str):
            raise RuleError(f"an entry names no rule: {given}", "combine", "Write {rule: …, weight: …}")
    names = unique([given["rule"].rpartition(":")[2] for given in rules])
    return [_entry(given, name, names) for given, name in zip(rules, names, strict=True)]


def _entry(given: Mapping[str, Any], name: str, names: Sequence[str]) -> Entry:
    where = f"combine, {name}"
    weight, gates = given.get("weight", 1.0), given.get("gate", {})
    gates = {gates: 1.0} if isinstance(gates, str) else gates
    if not isinstance(gates, dict) or not all(map(_is_number, gates.values())):
        raise RuleError(f"gate is {gates!r}", where, "Write gate: format, or gate: {format: 1.0}")
    if not _is_number(weight):
        raise RuleError(f"weight is {weight!r}", where, "Give a number")
    others = [other for other in names if other != name]
    for gate in gates:
        if gate not in others:
            hint = nearest(str(gate), others) or "A gate is another rule of the combination"
            raise RuleError(f"gate {gate!r} is no other rule here", where, hint)
    options = {key: value for key, value in given.items() if key not in ENTRY}
    return Entry(name, given["rule"], float(weight), gates, options)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


@rule("combine", makes_rule=True, check=read_entries)
def combine(
    *, rules: list[dict[str, Any]] | None = None, low: float | None = None, high: float | None = None
) -> RuleFunction:
    """Makes one rule of several: their weighted sum, each counted only where its gates hold, within limits.

        r_i = clip(Σ_k w_k g_ik s_ik, low, high),  g_ik = Π_j 1[s_ij >= b_kj]

    over the rules that gave a score; None where none did. A gate that gave none holds. Logs every rule's
    score under its name, what it logged as `name/…`, and as `graded` the least score of the rules that grade
    the answer; a gold must score 1 in that.

    Source: the sum is DeepSeek-R1's, arXiv:2501.12948v2, equations 8 to 10; gates and limits are our own.

    Args:
        rules: entries of `rule`, `weight` (1), `gate` and options. `gate: format` wants a score of 1 from the
            entry of that name, `gate: {language: 0.9}` another.
        low, high: limits of the sum; none where left out.

    Returns:
        The rule: [G] scores.
    """
    entries = read_entries(rules=rules, low=low, high=high)
    loaded = [load(entry.spec, entry.options) for entry in entries]
    infos = {entry.name: one.info for entry, one in zip(entries, loaded, strict=True)}
    graders = {name: info.gold_extra for name, info in infos.items() if info.grades_answer}

    def combined(
        prompts: Sequence[Any],
        completions: Sequence[Any],
        completion_ids: Sequence[Sequence[int]] | None = None,
        trainer_state: Any = None,
        log_extra: Callable[[str, list[Any]], None] | None = None,
        **columns: Any,
    ) -> list[float | None]:
        columns.pop("log_metric", None)
        state = None if trainer_state is None else vars(trainer_state)
        request = Request(prompts, completions, columns, completion_ids, state)
        answers = {entry.name: call(one, request) for entry, one in zip(entries, loaded, strict=True)}
        if log_extra is not None:
            for name, values in _logged(answers, graders).items():
                log_extra(name, values)
        rows = [{name: answer.scores[i] for name, answer in answers.items()} for i in range(len(completions))]
        return [total(entries, row, low, high) for row in rows]

    combined.__name__ = "combine"
    combined.grades_answer = bool(graders)  # type: ignore[attr-defined]
    combined.ours = all(info.ours for info in infos.values())  # type: ignore[attr-defined]
    combined.gold_extra = "graded"  # type: ignore[attr-defined]
    combined.whole_group = any(info.whole_group for info in infos.values())  # type: ignore[attr-defined]
    combined.warm = lambda: _warm(loaded)  # type: ignore[attr-defined]
    return combined


def _warm(loaded: Sequence[Loaded]) -> None:
    for one in loaded:
        warm = getattr(one.function, "warm", None)
        if warm is not None:
            warm()


def total(
    entries: Sequence[Entry], scores: Mapping[str, float | None], low: float | None, high: float | None
) -> float | None:
    """The formula for one completion, of its scores by name."""
    parts = []
    for entry in entries:
        score = scores[entry.name]
        held = [scores[gate] for gate in entry.gates]
        opens = all(
            value is None or value >= bound for value, bound in zip(held, entry.gates.values(), strict=True)
        )
        if score is not None:
            parts.append(entry.weight * score if opens else 0.0)
    if not parts:
        return None
    least, most = -math.inf if low is None else low, math.inf if high is None else high
    return float(min(most, max(least, math.fsum(parts))))


def _logged(answers: Mapping[str, Answer], graders: Mapping[str, str]) -> dict[str, list[Any]]:
    """What the combination logs, by name: scores, what the rules logged, and `graded`."""
    logged: dict[str, list[Any]] = {}
    for name, answer in answers.items():
        logged[name] = answer.scores
        extras = dict.fromkeys(extra for row in answer.extras for extra in row)
        logged |= {f"{name}/{extra}": [row.get(extra) for row in answer.extras] for extra in extras}
    if graders:
        columns = [logged[f"{name}/{extra}" if extra else name] for name, extra in graders.items()]
        logged["graded"] = [
            min((score for score in row if score is not None), default=None)
            for row in zip(*columns, strict=True)
        ]
    return logged
