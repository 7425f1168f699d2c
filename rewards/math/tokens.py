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
MAX_EXPONENT = 4  # digits of it: two hundred terms of 1e99999 take seconds

_TOKEN = re.compile(
    r"""(?P<space>\s+|\\[,;:! ])
    | (?P<repeating>\d*\.\d*\\overline\{\d+\})
    | (?P<dots>\d*\.\d+(?:\\ldots|\\dots|\\cdots|\.\.\.))
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
    if kind in ("repeating", "dots"):
        return Token("number", text, in_base(text), None, spaced)
    return Token(kind if kind in ("letter", "command") else text, text, spaced=spaced)


def _number(text: str, spaced: bool) -> Token:
    mantissa, _, exponent = text.lower().partition("e")
    if len(exponent.lstrip("+-")) > MAX_EXPONENT:
        raise Unreadable("an exponent of many digits")
    places = len(mantissa.partition(".")[2]) if "." in mantissa else None
    value = Fraction(mantissa.removesuffix(".") or "0")
    if exponent:
        value *= Fraction(10) ** int(exponent)
        places = None if places is None else places - int(exponent)
    return Token("number", text, value, places, spaced)


def in_base(text: str, base: int = 10) -> Fraction:
    r"""The value of digits that may repeat: `0.1\overline{6}`, `0.333\ldots`. ValueError for other digits.

    Where dots say that it goes on, the last digits must be seen to repeat at least twice.
    """
    head, bar, cycle = text.removesuffix("}").partition("\\overline{")
    if not bar and (continued := re.fullmatch(r"([^.]*)\.(\w+)(?:\\[lc]?dots|\.\.\.)", text)):
        decimals, cycle = _parted(continued[2])
        head = f"{continued[1]}.{decimals}"
    whole, _, decimals = head.partition(".")
    value = Fraction(int((whole or "0") + decimals, base), base ** len(decimals))
    if not cycle:
        return value
    return value + Fraction(int(cycle, base), (base ** len(cycle) - 1) * base ** len(decimals))


def _parted(decimals: str) -> tuple[str, str]:
    """Decimals that go on as what comes first and what repeats."""
    for length in range(1, len(decimals) // 2 + 1):
        cycle = decimals[-length:]
        if decimals[-2 * length : -length] == cycle and (length > 1 or decimals.endswith(cycle * 3)):
            return decimals[:-length], cycle
    raise Unreadable("a decimal that goes on without a pattern")
