"""Other ways to ask: templates and temperatures that base and trained policy are measured with as well.

A policy that gained under its own prompt may have learned a format, and one that gained at temperature 1 may
have become sharper and no better. So the gain is counted against the base at its best.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from grpo.folder import ENDS
from grpo.recipe import Data, Eval, Protocol

PREFIX = "protocol"
OWN = "held-out-report"  # the evaluation under the recipe's own protocol


def data_of(protocol: Protocol, data: Data) -> Data:
    """The data section with the protocol's template, examples and system prompt."""
    given = {key: getattr(protocol, key) for key in ("template", "shots", "system")}
    return data.model_copy(update={key: value for key, value in given.items() if value is not None})


def name_of(protocol: Protocol, data: Data, evaluation: Eval) -> str:
    """A protocol's name in files and tables: `qa, 8 shots, T=0`."""
    asked = data_of(protocol, data)
    shots = [f"{asked.shots} shots"] if asked.shots else []
    system = ["other system prompt"] if protocol.system is not None else []
    length = [f"{protocol.max_tokens} tokens"] if protocol.max_tokens is not None else []
    return ", ".join(
        [asked.template, *shots, *system, f"T={temperature_of(protocol, evaluation):g}", *length]
    )


def own_name(data: Data, evaluation: Eval) -> str:
    """The name of the protocol that the recipe itself asks with."""
    return name_of(Protocol(), data, evaluation)


def temperature_of(protocol: Protocol, evaluation: Eval) -> float:
    """The protocol's temperature, else the one of evaluations."""
    return evaluation.temperature if protocol.temperature is None else protocol.temperature


@dataclass(frozen=True)
class Measured:
    """A rule's mean score under one protocol at both ends of a run: value, low, high; 95 % over prompts."""

    protocol: str
    rule: str
    base: tuple[float, float, float]
    trained: tuple[float, float, float]

    def to_json(self) -> dict[str, Any]:
        """`{"protocol", "rule", "base": {"value", "interval"}, "trained": {…}}`."""
        ends = {"base": self.base, "trained": self.trained}
        told = {end: {"value": value, "interval": [low, high]} for end, (value, low, high) in ends.items()}
        return {"protocol": self.protocol, "rule": self.rule, **told}

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Measured:
        """The inverse of `to_json`."""
        base, trained = ((row[end]["value"], *row[end]["interval"]) for end in ENDS)
        return cls(row["protocol"], row["rule"], base, trained)


def read_protocols(folder: Path, own: str, graders: Sequence[str]) -> list[Measured]:
    """What was measured of a finished run: every protocol by every rule that grades answers, its own first.

    Args:
        folder: of the run.
        own: what the recipe's own protocol is called.
        graders: names of the rules that grade answers.
    """
    ends = [_scores(folder, end, own, graders) for end in ENDS]
    rows = [Measured(*key, ends[0][key], ends[1][key]) for key in ends[0] if key in ends[1]]
    return sorted(rows, key=lambda row: row.protocol != own)


def _scores(
    folder: Path, end: str, own: str, graders: Sequence[str]
) -> dict[tuple[str, str], tuple[float, float, float]]:
    scores = {}
    for path in sorted((folder / "eval").glob(f"{end}-*.json")):
        report: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        prefix, _, protocol = report["set"].partition("/")
        if report["set"] == OWN:
            protocol = own
        elif prefix != PREFIX:
            continue
        for rule in graders:
            score = report["rules"][rule]
            if None not in (score["value"], *score["interval"]):
                scores[protocol, rule] = (score["value"], *score["interval"])
    return scores


def set_name(protocol: str) -> str:
    """The name that an evaluation under a protocol goes by."""
    return f"{PREFIX}/{protocol}"


def several(rows: Sequence[Measured]) -> bool:
    """Whether other protocols than the recipe's own were measured: else there is no gain to count."""
    return len({row.protocol for row in rows}) > 1


def gain(rows: Sequence[Measured]) -> tuple[Measured, Measured]:
    """What a gain is counted between: the base where it scores highest by any rule, and the trained policy.

    The trained policy counts by the first rule alone, where it scores highest.
    """
    own = [row for row in rows if row.rule == rows[0].rule]
    return max(rows, key=lambda row: row.base[0]), max(own, key=lambda row: row.trained[0])


def told(rows: Sequence[Measured]) -> str:
    """The gain in words."""
    before, after = gain(rows)
    apart = "do not overlap" if after.trained[1] > before.base[2] else "overlap"
    gained = after.trained[0] - before.base[0]
    return (
        f"{gained:+.3f} over the base at its best ({before.protocol}; {before.rule}); the intervals {apart}"
    )
