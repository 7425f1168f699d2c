"""What the runner is asked and what it answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Status = Literal["ok", "none", "timeout", "crash", "error"]


@dataclass(frozen=True)
class Score:
    """One rule's judgement of one completion.

    status says how it came about: `ok` a number; `none` the rule does not apply; `timeout` and `crash` this
    completion hung, or killed the worker, or broke the limits of memory or recursion, or made a rule of this
    package raise, and scores 0, or this would escape punishment (None where the gold turned out to be at
    fault); `error` the rule raised, which is no fault of the model: score None. The reason is
    extras["error"].
    """

    score: float | None
    status: Status
    seconds: float  # wall time; a group's time shared evenly where it was scored in one call
    extras: Mapping[str, Any] = field(default_factory=dict)  # what the rule logged for this completion

    @property
    def ungraded(self) -> bool:
        """Whether the rule failed to judge, or said so itself; one that does not apply has not failed."""
        return self.status not in ("ok", "none") or self.extras.get("verdict") == "ungraded"


@dataclass(frozen=True)
class RuleSpec:
    """A rule to run: registered name or `path/to/file.py:function`, its options and its limits."""

    spec: str
    options: Mapping[str, Any] = field(default_factory=dict)
    timeout: float = 5.0  # seconds a group may take, and each completion when it is retried alone
    memory: float = 4.0  # GiB a worker may map while it runs the rule, beyond what loading the rules took
    network: bool = False  # whether the rule may use the network; one that may runs in other workers


@dataclass(frozen=True)
class RuleInfo:
    """What a loaded rule says of itself."""

    name: str
    grades_answer: bool
    whole_group: bool
    gold_extra: str = ""  # what of a gold must be 1: this of the extras, or the score
    ours: bool = False  # a rule of this package: it raises on a completion only where that one breaks it


def unique(names: Sequence[str]) -> list[str]:
    """The names, with the second of one name called `name_2`."""
    return [n if (seen := names[: i + 1].count(n)) == 1 else f"{n}_{seen}" for i, n in enumerate(names)]
