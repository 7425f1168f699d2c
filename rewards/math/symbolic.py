"""The last rung: math-verify, loaded at its first use.

Its own timeouts work by signals, in the main thread only, and do not stop a computation inside C code.
They are off: whoever calls this must be able to kill the process.
"""

from __future__ import annotations

import functools
import logging
from typing import Any


def readable(text: str) -> bool:
    """Whether math-verify reads the text as more than a string."""
    return any(not isinstance(found, str) for found in _parse(text))


def equal(gold: str, answer: str) -> bool:
    r"""Whether math-verify holds the answer equal to the gold; both are LaTeX without delimiters.

    Both are wrapped in `\boxed{}`: given bare, math-verify does not read a fifth of MATH-500's golds.
    """
    from math_verify import verify

    return bool(verify(list(_parse(gold)), list(_parse(answer)), timeout_seconds=None))


def warm() -> None:
    """Loads sympy and math-verify and fills their caches (about a second)."""
    equal(r"\frac{\pi}{2}", "x + 1")


@functools.lru_cache(maxsize=512)
def _parse(text: str) -> tuple[Any, ...]:
    from math_verify import parse

    for name in ("math_verify.parser", "math_verify.grader"):  # they warn that their timeouts are off
        logging.getLogger(name).setLevel(logging.ERROR)
    return tuple(parse(f"\\boxed{{{text}}}", parsing_timeout=None))
