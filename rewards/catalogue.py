"""Every registered rule with what it means, for a list of them."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

from rewards import registry
from rewards.options import options_of


@dataclass(frozen=True)
class Entry:
    """A rule as a list shows it."""

    name: str
    meaning: str  # first line of its docstring
    options: dict[str, Any]  # its options and their defaults
    grades_answer: bool
    whole_group: bool


def catalogue() -> list[Entry]:
    """All registered rules by name."""
    entries = []
    for name in registry.names():
        function = registry.get(name)
        entries.append(
            Entry(
                name,
                (inspect.getdoc(function) or "").partition("\n")[0],
                {option: parameter.default for option, parameter in options_of(function).items()},
                bool(getattr(function, "grades_answer", False)),
                bool(getattr(function, "whole_group", False)),
            )
        )
    return entries
