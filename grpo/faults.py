"""Rules that raised: which, on what, with which exception, and what the run does about it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from grpo.types import Group

Policy = Literal["exclude", "zero", "stop"]


@dataclass(frozen=True)
class Fault:
    """A rule that could not judge a completion."""

    rule: str
    row: str  # step/prompt_id/sample
    how: str  # error, timeout or crash
    error: str  # the exception and its line, or what limit was passed

    def __str__(self) -> str:
        did = "raised" if self.how == "error" else "failed"
        return f"rule {self.rule!r} {did} on {self.row}: {self.error}"


def faults(groups: Sequence[Group], names: Sequence[str], step: int) -> list[Fault]:
    """Every completion that a rule failed to judge.

    Args:
        groups: scored.
        names: [K] of the rules.
        step: under which the samples are written.
    """
    return [
        Fault(
            name, f"{step}/{group.prompt.id}/{rollout.sample}", score.status, str(score.extras.get("error"))
        )
        for group in groups
        for rollout, row in zip(group.rollouts, group.scores, strict=True)
        for name, score in zip(names, row, strict=True)
        if score.ungraded
    ]


def settle(groups: Sequence[Group], policy: Policy) -> list[Group]:
    """The groups as the run goes on with them: by `zero` a rule that raised has given 0, else no score.

    The status stays `error`, so that it is still counted.
    """
    if policy != "zero":
        return list(groups)
    return [
        dataclasses.replace(
            group,
            scores=tuple(
                tuple(
                    dataclasses.replace(score, score=0.0) if score.status == "error" else score
                    for score in row
                )
                for row in group.scores
            ),
        )
        for group in groups
    ]
