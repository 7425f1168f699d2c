"""Every registered rule with what it means, for a list of them."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

from rewards import registry
from rewards.load import load


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
        rule = load(name, {})
        parameters = inspect.signature(rule.function).parameters
        entries.append(
            Entry(
                name,
                (inspect.getdoc(rule.function) or "").partition("\n")[0],
                {option: parameters[option].default for option in parameters if option in rule.option_names},
                rule.info.grades_answer,
                rule.info.whole_group,
            )
        )
    return entries
