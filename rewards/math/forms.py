"""What an answer is: a value, several values, an interval, a relation, a ratio, words."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from rewards.math.evaluate import Unknown, exact
from rewards.math.tree import Node, Number, Op, Symbol
from rewards.math.units import Unit


@dataclass(frozen=True)
class Value:
    r"""One value, with its unit if it has one. `rounded` where a `\approx` stands in front."""

    node: Node
    unit: Unit | None = None
    rounded: bool = False


@dataclass(frozen=True)
class Several:
    """More values than one: a list written without brackets, a set in braces, or a tuple in brackets."""

    kind: Literal["list", "set", "tuple"]
    items: tuple[Form, ...]
    joined: str = ","  # of a list: "or", "and" or ","
    brackets: str = ""  # of a tuple


@dataclass(frozen=True)
class Span:
    """An interval of the real line."""

    low: Node
    high: Node
    low_closed: bool
    high_closed: bool


@dataclass(frozen=True)
class Spans:
    """A union of intervals; empty: the empty set. `name` is the variable it was said of, if any."""

    parts: tuple[Span, ...]
    name: str | None = None


@dataclass(frozen=True)
class Relation:
    r"""Sides with the signs between them: = < > \\le \\ge \\ne \\approx \\in."""

    sides: tuple[Form, ...]
    signs: tuple[str, ...]


@dataclass(frozen=True)
class Ratio:
    """`3:4`, `1:2:5`."""

    parts: tuple[Node, ...]


@dataclass(frozen=True)
class Based:
    """Digits in a base: `101_2`. The base may be a letter."""

    digits: str
    base: int | str

    @property
    def value(self) -> Fraction | None:
        """What the digits mean; None in a base that is a letter."""
        if isinstance(self.base, str):
            return None
        sign, size = (-1, self.digits[1:]) if self.digits.startswith("-") else (1, self.digits)
        whole, _, rest = size.partition(".")
        places = range(len(whole) - 1, -len(rest) - 1, -1)
        digits = zip(whole + rest, places, strict=True)
        return sign * sum(
            (int(digit, 16) * Fraction(self.base) ** place for digit, place in digits), Fraction(0)
        )


@dataclass(frozen=True)
class Words:
    """What is none of these, or is meant as text."""

    text: str


Form = Value | Several | Spans | Relation | Ratio | Based | Words

INFINITY = Symbol("oo")
MINUS_INFINITY = Op("neg", (INFINITY,))
REALS = Spans((Span(MINUS_INFINITY, INFINITY, False, False),))
EMPTY = Spans(())


def decimal(node: Node) -> tuple[Fraction, int, int] | None:
    """Value, decimal places and power of ten of a whole or decimal literal; None for other nodes."""
    if isinstance(node, Number) and (node.places is not None or node.value.denominator == 1):
        return node.value, node.places or 0, 0
    if isinstance(node, Op) and node.name == "neg":
        inner = decimal(node.args[0])
        return (-inner[0], inner[1], inner[2]) if inner else None
    if isinstance(node, Op) and node.name == "*":
        mantissa, power = node.args
        if (
            isinstance(mantissa, Number)
            and mantissa.places is not None
            and isinstance(power, Op)
            and power.name == "^"
        ):
            try:
                base, exponent = (exact(arg) for arg in power.args)
            except Unknown:
                return None
            if base == 10 and exponent.denominator == 1 and abs(exponent) < 1000:
                return mantissa.value * base ** int(exponent), mantissa.places - int(exponent), int(exponent)
    return None
