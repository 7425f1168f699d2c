"""Expressions whose value is a matrix or a vector: worked out entry by entry."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from fractions import Fraction

from rewards.math.evaluate import Unknown, exact
from rewards.math.tree import Matrix, Node, Number, Op, Symbol, walk

Grid = Sequence[Sequence[Node]]
MAX_CELLS = 100  # of a result that is computed
MAX_POWER = 12
MAX_INVERTED = 3  # rows
AXES = ("axisi", "axisj", "axisk")
_IDENTITY = re.compile(r"(?:I|E|\\?mathbb1)(?:_(\d)(?:\\times\1)?)?")
ONE, ZERO = Number(Fraction(1)), Number(Fraction(0))


def grid_of(node: Node, size: int | None = None) -> Grid | None:
    """The entries of a matrix's or vector's expression; None where it is a number or cannot be worked out.

    Args:
        size: rows of the other side, which an identity without a size, `I`, is given.
    """
    axes = {n.name for n in walk(node) if isinstance(n, Symbol) and n.name in AXES}
    if size == 2 and isinstance(node, Op) and node.name == "binomial":  # the shortest way to set a column
        return [[cell] for cell in node.args]
    if not axes and not any(isinstance(n, Matrix) or _is_identity(n, size) for n in walk(node)):
        return None
    return _Work(size, 3 if AXES[2] in axes or size == 3 else 2).grid(node)


def _is_identity(node: Node, size: int | None) -> bool:
    named = _IDENTITY.fullmatch(node.name) if isinstance(node, Symbol) else None
    if isinstance(node, Op) and node.name == "diag":
        return True
    return named is not None and (named[1] is not None or size is not None)


class _Work:
    def __init__(self, size: int | None, axes: int) -> None:
        self.size, self.axes = size, axes

    def grid(self, node: Node) -> Grid | None:
        """The entries, or None."""
        if isinstance(node, Matrix):
            return node.rows
        if isinstance(node, Symbol):
            return self._named(node)
        if not isinstance(node, Op):
            return None
        if node.name == "diag":
            return _diagonal(node.args)
        if node.name == "neg":
            return _scaled(self.grid(node.args[0]), Number(Fraction(-1)))
        if len(node.args) != 2:
            return None
        return self._of_two(node.name, *node.args)

    def _of_two(self, name: str, first: Node, second: Node) -> Grid | None:
        a, b = self.grid(first), self.grid(second)
        if name == "+":
            return None if a is None or b is None else _sum(a, b)
        if name == "*":
            if a is not None and b is not None:
                return _product(a, b)
            return _scaled(b, first) if a is None else _scaled(a, second)
        if name == "/" and b is None and a is not None:
            return _scaled(a, Op("/", (ONE, second)))
        if name == "^" and a is not None and b is None:
            return _power(a, second)
        return None

    def _named(self, symbol: Symbol) -> Grid | None:
        if symbol.name in AXES:
            return [[ONE if name == symbol.name else ZERO] for name in AXES[: self.axes]]
        named = _IDENTITY.fullmatch(symbol.name)
        if named is None or (named[1] is None and self.size is None):
            return None
        return _diagonal([ONE] * int(named[1] or self.size or 0))


def _small(node: Node) -> Node:
    """The number an entry comes to, where it is rational."""
    try:
        return Number(exact(node))
    except Unknown:
        return node


def _scaled(grid: Grid | None, factor: Node) -> Grid | None:
    if grid is None or any(isinstance(n, Matrix) for n in walk(factor)):
        return None
    return [[Op("*", (cell, factor)) for cell in row] for row in grid]


def _sum(a: Grid, b: Grid) -> Grid | None:
    if [len(row) for row in a] != [len(row) for row in b]:
        return None
    return [[Op("+", pair) for pair in zip(*rows, strict=True)] for rows in zip(a, b, strict=True)]


def _product(a: Grid, b: Grid) -> Grid | None:
    if len(a[0]) != len(b) or len(a) * len(b[0]) > MAX_CELLS:
        return None
    columns = list(zip(*b, strict=True))
    return [[_dot(row, column) for column in columns] for row in a]


def _dot(row: Sequence[Node], column: Sequence[Node]) -> Node:
    terms: list[Node] = [Op("*", pair) for pair in zip(row, column, strict=True)]
    return _small(functools.reduce(lambda x, y: Op("+", (x, y)), terms))


def _power(grid: Grid, exponent: Node) -> Grid | None:
    power = _small(exponent)
    if not isinstance(power, Number) or power.value.denominator != 1 or len(grid) != len(grid[0]):
        return None
    times = int(power.value)
    if times == -1:
        return _inverse(grid)
    if not 1 <= times <= MAX_POWER:
        return None
    result: Grid | None = grid
    for _ in range(times - 1):
        result = None if result is None else _product(result, grid)
    return result


def _inverse(grid: Grid) -> Grid | None:
    """By the adjugate."""
    if len(grid) > MAX_INVERTED:
        return None
    whole = determinant(grid)
    n = len(grid)
    return [[Op("/", (_small(_cofactor(grid, j, i)), whole)) for j in range(n)] for i in range(n)]


def _cofactor(grid: Grid, i: int, j: int) -> Node:
    rest = [[cell for c, cell in enumerate(row) if c != j] for r, row in enumerate(grid) if r != i]
    minor = determinant(rest) if rest else ONE
    return minor if (i + j) % 2 == 0 else Op("neg", (minor,))


def determinant(grid: Grid) -> Node:
    """The determinant of a square grid, expanded along its first row."""
    if len(grid) == 1:
        return grid[0][0]
    terms: list[Node] = [Op("*", (cell, _cofactor(grid, 0, j))) for j, cell in enumerate(grid[0])]
    return _small(functools.reduce(lambda a, b: Op("+", (a, b)), terms))


def _diagonal(cells: Sequence[Node]) -> Grid:
    return [[cell if i == j else ZERO for j in range(len(cells))] for i, cell in enumerate(cells)]
