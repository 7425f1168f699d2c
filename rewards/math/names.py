"""Names in front of a value, `x = 3`, and what a chain of equals signs states."""

from __future__ import annotations

import re
from collections.abc import Callable
from fractions import Fraction

from rewards.math.forms import Form, Ratio, Relation, Several, Value, Words
from rewards.math.tree import Matrix, Node, Number, Op, Symbol, symbols, walk


def is_name(form: Form) -> bool:
    r"""Whether a side only names what the other states: `x`, `x_1`, `f(x)`, `|AB|`, `(x, y)`, `\angle A`."""
    if isinstance(form, Several):
        return form.kind == "tuple" and all(is_name(item) for item in form.items)
    if isinstance(form, Ratio):
        return all(_letters(part) for part in form.parts)
    if isinstance(form, Words):
        return bool(re.match(r"\\?[A-Za-z]", form.text)) and not re.search(
            r"\b(?:not|or|either)\b", form.text
        )
    if not isinstance(form, Value) or form.unit is not None:
        return isinstance(form, Value) and _letters(form.node)
    return _letters(form.node)


def _letters(node: Node) -> bool:
    """Whether the node is symbols alone, side by side, or one applied to something."""
    if isinstance(node, Symbol):
        return node.name not in ("pi", "e", "i", "oo")
    if isinstance(node, Matrix):
        return all(isinstance(cell, Symbol) and _letters(cell) for row in node.rows for cell in row)
    if isinstance(node, Op) and node.name in ("abs", "conjugate"):
        return _letters(node.args[0])
    if isinstance(node, Op) and node.name == "^":
        power = node.args[1] == Op("neg", (Number(Fraction(1)),)) or bool(symbols(node.args[1]))
        return isinstance(node.args[0], Symbol) and node.args[0].name.isupper() and power
    return _applied(node) or _capitals(node) or _derivative(node)


def _applied(node: Node) -> bool:
    """`f(x)`, which the parser reads as f times x; `f(2)` and `a_n` too."""
    if isinstance(node, Op) and node.name == "of":
        return True
    if not (isinstance(node, Op) and node.name == "*" and isinstance(node.args[0], Symbol)):
        return False
    return node.args[0].name[0] in "fghpFGHPSTVDEaNC" and not isinstance(node.args[1], Matrix)


def _capitals(node: Node) -> bool:
    """`AB`, the length of a segment."""
    parts = [n for n in walk(node) if not (isinstance(n, Op) and n.name == "*")]
    return all(isinstance(n, Symbol) and n.name[0].isupper() for n in parts)


def _derivative(node: Node) -> bool:
    """`dy/dx`, which the parser reads as a quotient of products."""
    if not (isinstance(node, Op) and node.name == "/"):
        return False
    return all(Symbol("d") in set(walk(arg)) and not _letters_missing(arg) for arg in node.args)


def _letters_missing(node: Node) -> bool:
    return any(isinstance(n, Number) for n in walk(node))


def names_match(a: Form, b: Form) -> bool:
    """Whether two names are one; functions by their letter alone."""
    return a == b or str(a) == str(b)


def stated(relation: Relation, agree: Callable[[Form, Form, str], bool]) -> list[Form] | None:
    r"""The values a chain of `=`, `\approx` or `\in` states: its last side, if the sides before it agree.

    A name in front is dropped. None where the chain is false, unsolved, or no chain.

    Args:
        agree: whether the two sides of a sign are as the sign says.
    """
    if any(sign not in ("=", r"\approx", r"\in") for sign in relation.signs):
        return None
    sides, signs = list(relation.sides), list(relation.signs)
    while len(sides) > 1 and is_name(sides[0]):
        del sides[0], signs[0]
    if len(sides) > 1 and is_name(sides[-1]) and not is_name(sides[0]) and signs[-1] == "=":
        del sides[-1], signs[-1]  # `3 = x`
    if r"\in" in signs:
        return None
    for left, right, sign in zip(sides, sides[1:], signs, strict=False):
        if not agree(left, right, sign):
            return None
    return sides[::-1] if r"\approx" in signs else [sides[-1]]
