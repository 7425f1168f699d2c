"""Cuts a formula in one spelling (spelling.py) into tokens."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction


class Unreadable(ValueError):
    """The text is no formula that this package reads."""


@dataclass(frozen=True)
class Token:
    """`kind` is number, letter, command, or the sign itself."""

    kind: str
    text: str
    value: Fraction = Fraction(0)
    places: int | None = None
    spaced: bool = False  # white space stands before it


MAX_DIGITS = 4000  # beyond, Python itself refuses to read an integer

_TOKEN = re.compile(
    r"""(?P<space>\s+|\\[,;:! ])
    | (?P<repeating>\d*\.\d*\\overline\{\d+\})
    | (?P<dots>\d*\.\d+)(?:\\ldots|\\dots|\\cdots|\.\.\.)
    | (?P<number>\d+(?:\.\d*)?(?:[eE][+-]?\d+(?![A-Za-z0-9]))?|\.\d+)
    | (?P<command>\\[A-Za-z]+|\\[{}|%$&\\])
    | (?P<letter>[A-Za-z])
    | (?P<sign>[-+*/^_=<>()\[\]{}|!,;:&%'°])""",
    re.VERBOSE,
)


def tokenise(text: str) -> list[Token]:
    """The tokens of a formula in one spelling. Raises Unreadable at a character that belongs to none."""
    tokens: list[Token] = []
    at, spaced = 0, False
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise Unreadable(f"character {text[at]!r}")
        at = match.end()
        kind = match.lastgroup or ""
        if kind == "space":
            spaced = True
            continue
        tokens.append(_token(kind, match[kind], spaced))
        spaced = False
    return tokens


def _token(kind: str, text: str, spaced: bool) -> Token:
    if len(text) > MAX_DIGITS:
        raise Unreadable("a number of thousands of digits")
    if kind == "number":
        return _number(text, spaced)
    if kind == "repeating":
        head, _, cycle = text[:-1].partition("\\overline{")
        return Token("number", text, _repeating(head, cycle), None, spaced)
    if kind == "dots":
        return Token("number", text, _continued(text), None, spaced)
    return Token(kind if kind in ("letter", "command") else text, text, spaced=spaced)


def _number(text: str, spaced: bool) -> Token:
    mantissa, _, exponent = text.lower().partition("e")
    if len(exponent) > 5:
        raise Unreadable("an exponent of many digits")
    places = len(mantissa.partition(".")[2]) if "." in mantissa else None
    value = Fraction(mantissa.removesuffix(".") or "0")
    if exponent:
        value *= Fraction(10) ** int(exponent)
        places = None if places is None else places - int(exponent)
    return Token("number", text, value, places, spaced)


def _repeating(head: str, cycle: str) -> Fraction:
    decimals = len(head.partition(".")[2])
    base = Fraction(head + "0" if head.startswith(".") or head.endswith(".") else head)
    return base + Fraction(int(cycle), (10 ** len(cycle) - 1) * 10**decimals)


def _continued(text: str) -> Fraction:
    """A decimal that goes on: its last digits must be seen to repeat at least twice."""
    whole, _, decimals = text.partition(".")
    for length in range(1, len(decimals) // 2 + 1):
        cycle = decimals[-length:]
        if decimals[-2 * length : -length] == cycle and (length > 1 or decimals.endswith(cycle * 3)):
            return _repeating(f"{whole or 0}.{decimals[:-length]}", cycle)
    raise Unreadable("a decimal that goes on without a pattern")
