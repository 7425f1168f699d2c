"""Expressions as trees: numbers, symbols, and operations on them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True)
class Number:
    """A literal. `places` counts the digits after its decimal point; None where there is no point."""

    value: Fraction
    places: int | None = None


@dataclass(frozen=True)
class Symbol:
    """A variable or constant (`pi`, `e`, `i`, `oo`), its subscript included."""

    name: str


@dataclass(frozen=True)
class Op:
    """`name` applied to its arguments: + * / ^ neg, pm and mp (one or two arguments), or a function."""

    name: str
    args: tuple[Node, ...]


@dataclass(frozen=True)
class Matrix:
    """A matrix; where `determinant`, between bars."""

    rows: tuple[tuple[Node, ...], ...]
    determinant: bool = False


Node = Number | Symbol | Op | Matrix

CONSTANTS = frozenset({"pi", "e", "i", "oo"})


def children(node: Node) -> tuple[Node, ...]:
    """The nodes directly below one."""
    if isinstance(node, Op):
        return node.args
    if isinstance(node, Matrix):
        return tuple(cell for row in node.rows for cell in row)
    return ()


def walk(node: Node) -> Iterator[Node]:
    """The node and all below it."""
    stack = [node]
    while stack:
        top = stack.pop()
        yield top
        stack.extend(children(top))


def symbols(node: Node) -> frozenset[str]:
    """Names of the variables in it; constants are none."""
    return frozenset(n.name for n in walk(node) if isinstance(n, Symbol)) - CONSTANTS


def has_sign_pair(node: Node) -> bool:
    r"""Whether a `\pm` or `\mp` is in it."""
    return any(isinstance(n, Op) and n.name in ("pm", "mp") for n in walk(node))


def with_sign(node: Node, sign: int) -> Node:
    r"""The tree with every `\pm` read as `sign`, and every `\mp` as its opposite."""
    if isinstance(node, Matrix):
        return Matrix(
            tuple(tuple(with_sign(cell, sign) for cell in row) for row in node.rows), node.determinant
        )
    if not isinstance(node, Op):
        return node
    args = tuple(with_sign(arg, sign) for arg in node.args)
    if node.name not in ("pm", "mp"):
        return Op(node.name, args)
    positive = (sign > 0) == (node.name == "pm")
    last = args[-1] if positive else Op("neg", (args[-1],))
    return last if len(args) == 1 else Op("+", (args[0], last))
