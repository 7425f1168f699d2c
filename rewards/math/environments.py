r"""Formulas between `\begin` and `\end`: matrices, and functions given piece by piece."""

from __future__ import annotations

from abc import ABC, abstractmethod
from fractions import Fraction

from rewards.math.cursor import Cursor
from rewards.math.matrices import determinant
from rewards.math.tokens import Unreadable
from rewards.math.tree import Matrix, Node, Number, Op

MAX_DETERMINANT = 5
_MATRICES = ("pmatrix", "bmatrix", "matrix", "array", "vmatrix", "smallmatrix", "Bmatrix")
_SIGNS = {"<": "<", ">": ">", "=": "=", r"\le": "<=", r"\ge": ">=", r"\ne": "!="}
_ALWAYS = Op("=", (Number(Fraction(0)), Number(Fraction(0))))


class Environments(Cursor, ABC):
    """The part of a parser that reads environments; `sum` reads a formula."""

    @abstractmethod
    def sum(self) -> Node:
        """A formula."""

    def environment(self) -> Node:
        r"""What stands behind `\begin`, up to its `\end`."""
        name = self._name()
        node = self._cases() if name == "cases" else self._matrix(name)
        if self._name() != name:
            raise Unreadable(f"environment {name!r} is not closed")
        return node

    def vector(self) -> Node:
        """The row between angle brackets."""
        cells = [self.sum()]
        while self.sees(","):
            self.take()
            cells.append(self.sum())
        self.expect(r"\rangle")
        return Matrix((tuple(cells),))

    def _name(self) -> str:
        self.expect("{")
        name = ""
        while self.peek().kind == "letter":
            name += self.take().text
        self.expect("}")
        return name

    def _matrix(self, name: str) -> Node:
        if name not in _MATRICES:
            raise Unreadable(f"environment {name!r}")
        rows: list[tuple[Node, ...]] = []
        row: list[Node] = []
        while True:
            if self.sees(r"\end", r"\\", r"\cr"):
                ends = self.take().text == r"\end"
                if row:
                    rows.append(tuple(row))
                row = []
                if ends:
                    break
            elif self.sees("&") or (self.sees(",") and self.peek(1).text in ("&", r"\cr", r"\\", r"\end")):
                self.take()
            else:
                row.append(self.sum())
        if not rows or len({len(r) for r in rows}) != 1:
            raise Unreadable("a matrix of uneven rows")
        if name != "vmatrix":
            return Matrix(tuple(rows))
        if not len(rows) == len(rows[0]) <= MAX_DETERMINANT:
            raise Unreadable("a determinant of many rows, or of no square")
        return determinant(rows)

    def _cases(self) -> Node:
        """`value & condition` a row: an Op `cases` of value, condition, value, condition, …"""
        args: list[Node] = []
        while True:
            while self.sees(r"\\", r"\cr"):
                self.take()
            if self.sees(r"\end"):
                self.take()
                return Op("cases", tuple(args))
            args.append(self.sum())
            self._mark()
            self.expect("&")
            args.append(self._condition())
            self._mark()

    def _mark(self) -> None:
        if self.sees(",", ";"):
            self.take()

    def _condition(self) -> Node:
        """`if a < x \\le b` as an Op `and` of its parts; `otherwise` always holds."""
        for word in ("otherwise", "else"):
            if self._takes(word):
                return _ALWAYS
        next((word for word in ("if", "for", "when", "where") if self._takes(word)), None)
        sides, signs = [self.sum()], list[str]()
        while self.peek().text in _SIGNS:
            signs.append(_SIGNS[self.take().text])
            sides.append(self.sum())
        if not signs:
            raise Unreadable("a case without a condition")
        return Op("and", tuple(Op(s, (a, b)) for s, a, b in zip(signs, sides, sides[1:], strict=False)))

    def _takes(self, word: str) -> bool:
        """Takes the letters of a word, if they follow."""
        following = [self.peek(k) for k in range(len(word))]
        if "".join(t.text for t in following) != word or any(t.kind != "letter" for t in following):
            return False
        self.at += len(word)
        return True
