r"""Spellings of one answer brought to one form, and numbers read exactly.

Only rewriting that cannot change a value is done here; what needs algebra is left to the symbolic rung.
"""

from __future__ import annotations

import re
from fractions import Fraction

MAX_NUMBER = 4000  # characters; beyond, Python itself refuses to read an integer

_REPLACE = [
    (re.compile(pattern), by)
    for pattern, by in (
        ("[\u2212\u2013]", "-"),
        ("[\u200e\u200f\u200b\u2060\ufeff]", ""),  # direction marks and zero-width spaces
        (r"\\(?:left|right)(?![A-Za-z])|\\!", ""),
        (r"\\[,;: ]|~|\\q?quad(?![A-Za-z])|\s+", " "),
        (r"\\[dtc]frac(?![A-Za-z])", r"\\frac"),
        (r"\{,\}", ","),
        (r"\\(?:text|textbf|textit|textrm|mathrm|mathbf|mbox)\s*\{([^{}]*)\}", r"\1"),
        (r"\s+", " "),
        (r"(?<!\w) | (?!\w)", ""),  # a space counts only between two words: `1 2` is not `12`
    )
]
_FRACTION = re.compile(r"\\frac\s*(?:(\d)|\{([^{}]*)\})\s*(?:(\d)|\{([^{}]*)\})")  # \frac12 and \frac{1}{2}
_WRAPPERS = (("$$", "$$"), ("$", "$"), (r"\(", r"\)"), (r"\[", r"\]"), ("**", "**"))
_DIGITS = r"(?:\d{1,3}(?:[ ,]\d{3})+|\d+)(?:\.\d*)?|\.\d+"
_NUMBER = re.compile(
    rf"(-|\+)?(?:({_DIGITS})(?:/({_DIGITS}))?|\\frac\{{(-?(?:{_DIGITS}))\}}\{{(-?(?:{_DIGITS}))\}})"
)
_PLAIN = re.compile(r"[A-Za-z0-9/,+-]+(?:\.\d+)?")  # nothing in it to rewrite
_WORDS = re.compile(r"(?=.*[^\W\d_]{4})[^\W\d_][^\W\d_' -]*")


def normalise(answer: str) -> str:
    r"""One spelling of an answer: no math delimiters, no layout commands, `\frac{a}{b}` for all fractions."""
    text = answer.strip()
    if _PLAIN.fullmatch(text):
        return text
    for left, right in _WRAPPERS:
        inside = text[len(left) : len(text) - len(right)]
        if text.startswith(left) and text.endswith(right) and inside and left not in inside:
            text = inside.strip()
    for pattern, by in _REPLACE:
        text = pattern.sub(by, text)
    text = _FRACTION.sub(lambda part: f"\\frac{{{part[1] or part[2]}}}{{{part[3] or part[4]}}}", text)
    text = text.removeprefix("\\$").removeprefix("$")
    return text.removesuffix(".").strip()


def number(text: str) -> Fraction | None:
    r"""The exact value of a normalised answer that is an integer, decimal or fraction of two such; else None.

    Thousands may be parted by commas or spaces. Percentages, powers and mixed numbers are not read here.
    """
    if len(text) > MAX_NUMBER:
        return None
    match = _NUMBER.fullmatch(text)
    if match is None:
        return None
    sign, plain, below, top, bottom = match.groups()
    value, divisor = _exact(plain or top), _exact(below or bottom or "1")
    return (-value if sign == "-" else value) / divisor if divisor else None


def is_text(normalised: str, raw: str) -> bool:
    r"""Whether an answer is words and no formula: set in `\text{…}`, or letters alone with a word of four.

    Algebra would read words as products of letters, for which `listen` equals `silent`.
    """
    in_text = re.fullmatch(r"\$?\\(?:text|mathrm|mbox)\s*\{[^{}]*\}\$?", raw.strip()) is not None
    return in_text or _WORDS.fullmatch(normalised) is not None


def _exact(digits: str) -> Fraction:
    return Fraction(digits.replace(",", "").replace(" ", ""))
