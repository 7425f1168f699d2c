"""Equations and inequalities: which are equivalent, and which sets of reals they say."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from rewards.math.evaluate import DIGITS, Unknown, context, numeric
from rewards.math.forms import (
    INFINITY,
    MINUS_INFINITY,
    REALS,
    Form,
    Relation,
    Several,
    Span,
    Spans,
    Value,
)
from rewards.math.points import bends_of, points
from rewards.math.spans import in_order, met, without
from rewards.math.tree import Node, Number, Op, Symbol, symbols

_TURNED = {"<": ">", ">": "<", r"\le": r"\ge", r"\ge": r"\le", "=": "=", r"\ne": r"\ne"}


def inequality(form: Form) -> Spans | None:
    """The set of reals that an inequality, or several joined by "or" or "and", says of one variable."""
    if isinstance(form, Several) and form.kind == "list" and len(form.items) > 1:
        return _of_several(form)
    if not isinstance(form, Relation) or any(sign not in _TURNED or sign == "=" for sign in form.signs):
        return None
    nodes = [side.node for side in form.sides if isinstance(side, Value)]
    if len(nodes) < len(form.sides):
        return _not_these(form)
    if len(nodes) == 2:
        return _one_sided(nodes[0], form.signs[0], nodes[1])
    if len(nodes) == 3:
        return _two_sided(nodes, form.signs)
    return None


def _of_several(form: Several) -> Spans | None:
    r"""Inequalities joined; `x \in \R` among them says nothing, and `x = 5` is a point."""
    items = [item for item in _with_signs(form.items) if not _anything(item)]
    parts = [inequality(item) or _point(item) for item in items]
    known = [part for part in parts if part is not None]
    if len(known) < len(parts) or len({part.name for part in known}) != 1:
        return None
    if not any(inequality(item) for item in items):
        return None
    together = Spans(tuple(span for part in known for span in part.parts), known[0].name)
    if form.joined == "or" or len(known) == 1:
        return together
    common: Spans | None = known[0]
    for part in known[1:]:
        common = None if common is None else met(common, part)
    if form.joined == "," and common is not None and not common.parts:
        return together  # `x < -2, x > 2` is meant as two parts
    return common


def _with_signs(items: Sequence[Form]) -> list[Form]:
    r"""The items with `x \ne 1, -1` written as `x \ne 1, x \ne -1`."""
    found: list[Form] = []
    for item in items:
        last = found[-1] if found else None
        if isinstance(item, Value) and isinstance(last, Relation) and last.signs == (r"\ne",):
            item = Relation((last.sides[0], item), last.signs)
        found.append(item)
    return found


def _anything(form: Form) -> bool:
    return form == REALS or (
        isinstance(form, Relation) and form.signs == (r"\in",) and form.sides[1] == REALS
    )


def _point(form: Form) -> Spans | None:
    if not isinstance(form, Relation) or form.signs != ("=",):
        return None
    name, value = form.sides
    if not (isinstance(name, Value) and isinstance(name.node, Symbol) and isinstance(value, Value)):
        return None
    return Spans((Span(value.node, value.node, True, True),), name.node.name)


def _not_these(form: Relation) -> Spans | None:
    r"""`x \ne \pm 3`, where several values are left out."""
    name, values = form.sides[0], form.sides[-1]
    if form.signs != (r"\ne",) or not isinstance(values, Several) or not isinstance(name, Value):
        return None
    holes = [item.node for item in values.items if isinstance(item, Value)]
    if len(holes) < len(values.items) or not isinstance(name.node, Symbol):
        return None
    return without(holes, name.node.name)


def _distance(left: Node, sign: str, right: Node) -> Spans | None:
    """`|x - a| < c` as an interval, `|x - a| > c` as two; None for other sides."""
    if not (isinstance(left, Op) and left.name == "abs") or symbols(right):
        return None
    inner, shift = left.args[0], None
    if isinstance(inner, Op) and inner.name == "+" and not symbols(inner.args[1]):
        inner, shift = inner.args
    if not isinstance(inner, Symbol) or in_order([right, Number(Fraction(0))]) != [
        Number(Fraction(0)),
        right,
    ]:
        return None
    ends: list[Node] = [Op("neg", (right,)), right]
    if shift is not None:
        ends = [Op("+", (end, Op("neg", (shift,)))) for end in ends]
    closed = sign in (r"\le", r"\ge")
    if sign in ("<", r"\le"):
        return Spans((Span(ends[0], ends[1], closed, closed),), inner.name)
    below = Span(MINUS_INFINITY, ends[0], False, closed)
    return Spans((below, Span(ends[1], INFINITY, closed, False)), inner.name)


def _one_sided(left: Node, sign: str, right: Node) -> Spans | None:
    for a, s, b in ((left, sign, right), (right, _TURNED[sign], left)):
        distance = _distance(a, s, b) if s != r"\ne" else None
        if distance is not None:
            return distance
    if not isinstance(left, Symbol):
        left, sign, right = right, _TURNED[sign], left
    if not isinstance(left, Symbol) or left.name in symbols(right) or left.name in ("pi", "e", "oo"):
        return None
    if sign == r"\ne":
        return without([right], left.name)
    closed = sign in (r"\le", r"\ge")
    if sign in ("<", r"\le"):
        return Spans((Span(MINUS_INFINITY, right, False, closed),), left.name)
    return Spans((Span(right, INFINITY, closed, False),), left.name)


def _two_sided(nodes: list[Node], signs: tuple[str, ...]) -> Spans | None:
    low, middle, high = nodes
    if not isinstance(middle, Symbol) or middle.name in symbols(low) | symbols(high):
        return None
    if all(sign in (">", r"\ge") for sign in signs):
        low, high, signs = high, low, tuple(_TURNED[sign] for sign in reversed(signs))
    if not all(sign in ("<", r"\le") for sign in signs):
        return None
    return Spans((Span(low, high, signs[0] == r"\le", signs[1] == r"\le"),), middle.name)


def same_relation(gold: Relation, answer: Relation) -> bool:
    """Whether both say the same: the differences of their sides are in one ratio everywhere.

    A negative ratio turns an inequality. Solved equations of one variable are compared by value before.
    """
    if len(gold.signs) != 1 or len(answer.signs) != 1:
        return False
    differences = [_difference(relation) for relation in (gold, answer)]
    if differences[0] is None or differences[1] is None:
        return False
    names = symbols(differences[0])
    if not names or names != symbols(differences[1]):
        return False
    if gold.signs == ("=",) and len(names) == 1 and _solved(gold):
        return False  # `2x = 6` has not solved for x
    ratio = _ratio(differences[0], differences[1], names)
    if ratio is None or ratio == 0:
        return False
    sign = answer.signs[0] if ratio > 0 else _TURNED.get(answer.signs[0], "")
    return sign == gold.signs[0]


def _solved(relation: Relation) -> bool:
    return any(isinstance(side, Value) and isinstance(side.node, Symbol) for side in relation.sides)


def _difference(relation: Relation) -> Node | None:
    left, right = relation.sides
    if not isinstance(left, Value) or not isinstance(right, Value) or relation.signs[0] not in _TURNED:
        return None
    return Op("+", (left.node, Op("neg", (right.node,))))


def _ratio(a: Node, b: Node, names: frozenset[str]) -> Any:
    """The constant that a is of b; None where there is none."""
    found: list[Any] = []
    for at in points(names, context(DIGITS), bends_of(a, b)):
        try:
            left, right = numeric(a, at), numeric(b, at)
        except Unknown:
            continue
        if abs(right) < 1e-30 and abs(left) < 1e-30:
            continue
        if abs(right) < 1e-30 or abs(left) < 1e-30:
            return None
        found.append(left / right)
    if len(found) < 3 or any(abs(r - found[0]) > abs(found[0]) * 1e-30 for r in found):
        return None
    return found[0].real if abs(found[0].imag) < 1e-30 else None
