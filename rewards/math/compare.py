"""Whether a form states the same as the gold's form. Every function takes the gold first."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import TypeVar

from rewards.math.evaluate import Unknown, same_value
from rewards.math.forms import (
    Based,
    Form,
    Ratio,
    Relation,
    Several,
    Span,
    Spans,
    Value,
    Words,
    decimal,
)
from rewards.math.matrices import grid_of
from rewards.math.names import is_name, names_match, stated
from rewards.math.quantities import rounds, same_quantity
from rewards.math.relations import inequality, same_relation
from rewards.math.spans import as_spans, merged
from rewards.math.tree import Node, Number, Op, Symbol

T = TypeVar("T")


def same(gold: Form, answer: Form) -> bool:
    """Whether the answer states the gold's value, whole and alone. Raises Unknown where that has none."""
    for compare in (_same_sets, _same_relations, _same_several, _same_based, _same_ratio):
        verdict = compare(gold, answer)
        if verdict is not None:
            return verdict
    if isinstance(gold, Words) and isinstance(answer, Words):
        return " ".join(gold.text.casefold().split()) == " ".join(answer.text.casefold().split())
    if isinstance(gold, Value) and isinstance(answer, Value):
        return same_quantity(gold, answer)
    return False


def _same_relations(gold: Form, answer: Form) -> bool | None:
    """Equations, and values that one side names: `x = 3` and `3`."""
    if isinstance(gold, Relation) and isinstance(answer, Relation):
        if is_name(gold.sides[0]) and is_name(answer.sides[0]) and gold.signs == answer.signs == ("=",):
            if not names_match(gold.sides[0], answer.sides[0]):
                return same_relation(gold, answer)
            return same(gold.sides[1], answer.sides[1])
        values = _stated(gold), _stated(answer)
        pairs = itertools.product(values[0] or [], values[1] or [])
        if not _named_apart(gold, answer) and any(same(a, b) for a, b in pairs):
            return True
        return same_relation(gold, answer)
    if isinstance(answer, Relation):
        options = _stated(answer)
        return any(same(gold, option) for option in options) if options else False
    if isinstance(gold, Relation):
        options = _stated(gold)
        return any(same(option, answer) for option in options) if options else False
    return None


def _stated(relation: Relation) -> list[Form] | None:
    return stated(relation, _agree)


def _agree(left: Form, right: Form, sign: str) -> bool:
    """Whether two sides of a chain are one value, or the second the first one rounded."""
    try:
        if isinstance(left, Based) and isinstance(right, Based):
            return left.value == right.value
        if isinstance(left, Value) and isinstance(right, Based):
            return right.value is not None and same_value(left.node, Number(right.value))
        if same(left, right):
            return True
        if isinstance(left, Value) and isinstance(right, Value):
            places = decimal(right.node)
            if places is not None:
                return rounds(left.node, places[1]) == places[0]
            if sign == r"\approx":
                value = rounds(left.node, 0)
                return value is not None and same_value(right.node, Number(value))
    except Unknown:
        return False
    return False


def _named_apart(gold: Relation, answer: Relation) -> bool:
    sides = gold.sides[0], answer.sides[0]
    return is_name(sides[0]) and is_name(sides[1]) and not names_match(*sides)


def _same_sets(gold: Form, answer: Form) -> bool | None:
    """Sets of reals, an inequality being one; None where neither side can only be that."""
    sets = [form if isinstance(form, Spans) else inequality(form) for form in (gold, answer)]
    if sets[0] is None and sets[1] is None:
        return None
    if sets[0] is None or sets[1] is None:
        other = gold if sets[0] is None else answer
        if isinstance(other, Relation):
            options = _stated(other)
            other = options[0] if options else other
        found = as_spans(other, listed=other is not gold)
        if found is None:
            if isinstance(gold, Relation) and isinstance(answer, Relation):
                return same_relation(gold, answer)
            return False
        sets = [s if s is not None else found for s in sets]
    left, right = sets
    assert left is not None
    assert right is not None
    if left.name is not None and right.name is not None and left.name != right.name:
        return False
    return matched(merged(left.parts), merged(right.parts), _same_span)


def _same_span(a: Span, b: Span) -> bool:
    if (a.low_closed, a.high_closed) != (b.low_closed, b.high_closed):
        return False
    return _same_end(a.low, b.low) and _same_end(a.high, b.high)


def _same_end(a: Node, b: Node) -> bool:
    return a == b or same_value(a, b)


def matched(gold: Sequence[T], answer: Sequence[T], equal: Callable[[T, T], bool]) -> bool:
    """Whether each of the one can be paired with its own equal of the other."""
    if len(gold) != len(answer):
        return False
    left = list(answer)
    for item in gold:
        found = next((k for k, other in enumerate(left) if equal(item, other)), None)
        if found is None:
            return False
        del left[found]
    return True


def _same_several(gold: Form, answer: Form) -> bool | None:
    """Lists and sets in any order, tuples in theirs."""
    if not _may_be_interval(gold):  # no vector is one
        gold, answer = _as_tuple(gold, answer), _as_tuple(answer, gold)
    if isinstance(gold, Several) != isinstance(answer, Several):
        return _single(gold, answer)
    if not isinstance(gold, Several) or not isinstance(answer, Several):
        return None
    kinds = {gold.kind, answer.kind}
    if kinds == {"set", "tuple"} or len(gold.items) != len(answer.items):
        return _is_point(gold, answer) or _is_point(answer, gold)
    if kinds == {"list", "tuple"} and len(gold.items) == 2 and "[]" in (gold.brackets, answer.brackets):
        return False  # an interval is no pair of values
    if "tuple" in kinds or _names_given_by_one(gold, answer):
        if {gold.brackets, answer.brackets} - {""} not in ({"()"}, {"[]"}, set()):
            return False
        return all(same(a, b) for a, b in zip(gold.items, answer.items, strict=True))
    return matched(gold.items, answer.items, same)


def _may_be_interval(form: Form) -> bool:
    pair = isinstance(form, Several) and form.brackets == "[]" and len(form.items) == 2
    return pair and all(isinstance(item, Value) for item in form.items)  # type: ignore[union-attr]


def _is_point(one: Several, other: Several) -> bool:
    """Whether a set of one value is written as the interval from it to itself."""
    ends = [item for item in other.items if isinstance(item, Value)]
    return (
        one.kind == "set"
        and len(one.items) == 1
        and other.brackets == "[]"
        and len(ends) == len(other.items) == 2
        and all(same(one.items[0], end) for end in ends)
    )


def _single(gold: Form, answer: Form) -> bool | None:
    """A set of one value is that value."""
    for one, other in ((gold, answer), (answer, gold)):
        if (
            isinstance(one, Several)
            and one.kind == "set"
            and len(one.items) == 1
            and isinstance(other, Value)
        ):
            return same(one.items[0], other) if one is gold else same(other, one.items[0])
    return False


def _names_given_by_one(gold: Several, answer: Several) -> bool:
    """Whether the gold names different values (`x=1, y=2`) and the answer none: order then decides."""
    named = [item for item in gold.items if isinstance(item, Relation) and is_name(item.sides[0])]
    names = {str(item.sides[0]) for item in named}
    return len(names) > 1 and not any(isinstance(item, Relation) for item in answer.items)


def _as_tuple(form: Form, other: Form) -> Form:
    """A vector as the tuple of its entries, or a matrix as the tuple of its rows, where the other is one."""
    if not (isinstance(form, Value) and isinstance(other, Several)):
        return form
    rows = grid_of(form.node)
    if rows is None:
        return form
    if len(rows) == 1 or all(len(row) == 1 for row in rows):
        return _row(rows[0] if len(rows) == 1 else [row[0] for row in rows], other.brackets)
    inner = next((item.brackets for item in other.items if isinstance(item, Several)), "()")
    return Several("tuple", tuple(_row(row, inner) for row in rows), ",", other.brackets)


def _row(cells: Sequence[Node], brackets: str) -> Several:
    return Several("tuple", tuple(Value(cell) for cell in cells), ",", brackets)


def _same_based(gold: Form, answer: Form) -> bool | None:
    if isinstance(gold, Based) and isinstance(answer, Based):
        return gold == answer
    for based, other in ((gold, answer), (answer, gold)):
        if isinstance(based, Based):
            return isinstance(other, Value) and other.unit is None and _digits(other.node) == based.digits
    return None


def _digits(node: Node) -> str | None:
    if isinstance(node, Number) and node.places is None and node.value.denominator == 1:
        return str(node.value)
    if isinstance(node, Number) and node.places is not None and 0 < node.places < 20:
        digits = str(int(node.value * 10**node.places)).rjust(node.places + 1, "0")
        return f"{digits[: -node.places]}.{digits[-node.places :]}".rstrip("0")
    if isinstance(node, Op) and node.name == "neg":
        inner = _digits(node.args[0])
        return None if inner is None else f"-{inner}"
    if isinstance(node, Op) and node.name == "*":  # 3F is read as 3 times F
        parts = [_digits(arg) for arg in node.args]
        return None if None in parts else "".join(part or "" for part in parts)
    return node.name if isinstance(node, Symbol) and node.name in "ABCDEF" else None


def _same_ratio(gold: Form, answer: Form) -> bool | None:
    if isinstance(gold, Ratio) and isinstance(answer, Ratio):
        if len(gold.parts) != len(answer.parts):
            return False
        first, other = gold.parts[0], answer.parts[0]
        pairs = zip(gold.parts[1:], answer.parts[1:], strict=True)
        return all(same_value(Op("*", (a, other)), Op("*", (b, first))) for a, b in pairs)
    for ratio, value in ((gold, answer), (answer, gold)):
        if isinstance(ratio, Ratio):
            two = len(ratio.parts) == 2 and isinstance(value, Value) and value.unit is None
            return two and same_value(Op("/", ratio.parts), value.node)  # type: ignore[union-attr]
    return None
