"""The one error of this package."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class RuleError(Exception):
    """A rule that cannot be used as it is: one line with what is wrong, where, and what to do instead.

    Args:
        what: what is wrong, in words ("returned 7 scores for 8 completions").
        where: the rule, file or option that holds it ("my_rules.py:brevity").
        instead: what to write or do ("Return one score a completion").
    """

    def __init__(self, what: str, where: str = "", instead: str = "") -> None:
        self.what, self.where, self.instead = what, where, instead
        super().__init__(str(self))

    def __str__(self) -> str:
        head = f"{self.where}: {self.what}" if self.where else self.what
        return f"{head}. {self.instead}" if self.instead else head

    def __reduce__(self) -> tuple[type[RuleError], tuple[str, str, str]]:
        return type(self), (self.what, self.where, self.instead)


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint that names the known word most like `name`, or lists all of them ("" when there is none)."""
    words = sorted(known)
    close = difflib.get_close_matches(name, words, n=1)
    if close:
        return f"Did you mean {close[0]!r}?"
    return f"Known: {', '.join(words)}" if words else ""
