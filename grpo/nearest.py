"""The name that a mistyped one was probably meant to be."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def suggest(name: str, known: Iterable[str], noun: str = "Known") -> str:
    """One sentence for the end of an error line.

    Args:
        name: what was written.
        known: what could have been written.
        noun: what the list is called where no name comes near ("Sets"); empty for no list.
    """
    names = list(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if near:
        return f"Did you mean {near[0]}?"
    return f"{noun}: {', '.join(names)}" if noun and names else ""
