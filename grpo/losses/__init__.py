"""The objective, a file a term. Importing this package fills the tables of grpo/terms.py, without torch."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import Any

from grpo import advantages
from grpo.errors import UserError
from grpo.losses import aggregate, correction, kl, ratio, surrogate
from grpo.losses.presets import PRESETS
from grpo.terms import TABLES

__all__ = ["PRESETS", "advantages", "aggregate", "correction", "kl", "ratio", "surrogate", "term"]


def term(kind: str, name: str) -> Callable[..., Any]:
    """The function registered as `name` in the table of `kind` (one of grpo.terms.KINDS).

    Raises:
        UserError: no such name; the line lists those there are and the nearest one.
    """
    table = TABLES[kind]
    if name in table:
        return table[name]
    nearest = difflib.get_close_matches(name, table, n=1)
    guess = f"Did you mean {nearest[0]}? " if nearest else ""
    raise UserError(
        f"unknown {kind} {name!r}", f"algorithm.{kind}", f"{guess}Known: {', '.join(sorted(table))}"
    )
