"""Numbers and symbols of a formula, with what belongs to them: a base, a fraction, a subscript, primes."""

from __future__ import annotations

from abc import abstractmethod
from fractions import Fraction

from rewards.math.environments import Environments
from rewards.math.tokens import Token, Unreadable, in_base
from rewards.math.tree import Node, Number, Op, Symbol


class Literals(Environments):
    """The part of a parser that reads them; the two methods below read what stands around them."""

    @abstractmethod
    def argument(self) -> Node:
        """What follows a command."""

    @abstractmethod
    def primary(self) -> Node:
        """A factor."""

    def number(self, token: Token) -> Node:
        """The number of a token, its base or the fraction of a mixed number included."""
        if self.sees("_"):
            self.take()
            return Number(self.based(token.text, self.subscript()))
        node = Number(token.value, token.places)
        if token.places is None and token.value.denominator == 1:
            part = self.proper_fraction()
            if part is not None:
                return Op("+", (node, part))
        return node

    def based(self, digits: str, base: str) -> Fraction:
        """The value of `digits` in a base: `24_7` within a sum."""
        try:
            return in_base(digits, int(base))
        except ValueError:
            raise Unreadable(f"{digits} in base {base}") from None

    def proper_fraction(self) -> Node | None:
        r"""The fraction of a mixed number, if one follows: `\frac{1}{2}` or, after a space, `1/2`."""
        start = self.at
        try:
            if self.sees(r"\frac"):
                self.take()
                top, bottom = self.argument(), self.argument()
            elif self.peek().kind == "number" and self.peek().spaced and self.peek(1).text == "/":
                top = Number(self.take().value)
                self.take()
                bottom = self.primary()
            else:
                return None
        except Unreadable:
            self.at = start
            return None
        whole = isinstance(top, Number) and isinstance(bottom, Number)
        if whole and 0 < top.value < bottom.value and not self.sees("^"):  # type: ignore[union-attr]
            return Op("/", (top, bottom))
        self.at = start
        return None

    def symbol(self, name: str) -> Node:
        """A symbol with what stands below it and its primes."""
        if self.sees("_"):
            self.take()
            name += "_" + self.subscript()
        while self.sees("'"):
            self.take()
            name += "'"
        return Symbol(name)

    def subscript(self) -> str:
        """What stands below, as text."""
        if not self.sees("{"):
            return self.take().text
        self.take()
        parts = []
        while not self.sees("}"):
            if self.peek().kind == "end":
                raise Unreadable("a subscript that is not closed")
            parts.append(self.take().text)
        self.take()
        return "".join(parts)
