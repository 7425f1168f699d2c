"""Whether a form states the same as the gold's form. Every function takes the gold first."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import TypeVar

from rewards.math.evaluate import Unknown, exact, numeric, same_value
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
from rewards.math.matrices import Grid, grid_of
from rewards.math.names import is_name, names_match, stated
from rewards.math.relations import inequality, same_relation
from rewards.math.spans import as_spans, merged
from rewards.math.tree import Node, Number, Op, Symbol, walk

T = TypeVar("T")
ROUNDED_PLACES = 2  # a gold with at least as many stands for what rounds to it


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
    rows = grid_of(form.node, len(other.items))
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
        return f"{float(node.value):.{node.places}f}".rstrip("0")
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


def same_quantity(gold: Value, answer: Value) -> bool:
    """Two values with their units: one may be left out, two must convert into each other."""
    as_matrices = same_matrix(gold.node, answer.node)
    if as_matrices is not None:
        return as_matrices
    scaled = [answer.node if f == 1 else Op("*", (answer.node, Number(f))) for f in _factors(gold, answer)]
    degrees = Op("/", (Number(Fraction(180)), Symbol("pi")))
    if _is_unit(gold, "deg") and answer.unit is None and _mentions_pi(answer.node):
        scaled.append(Op("*", (answer.node, degrees)))
    if _is_unit(gold, "deg") and _is_unit(answer, "rad"):
        scaled = [Op("*", (answer.node, degrees))]
    if _is_unit(answer, "deg") and (_is_unit(gold, "rad") or (gold.unit is None and _mentions_pi(gold.node))):
        scaled = [Op("/", (answer.node, degrees))]
    least = 0 if gold.rounded else ROUNDED_PLACES
    return any(
        same_value(gold.node, node) or _rounds_to(gold.node, answer.node, node, least) for node in scaled
    )


def _factors(gold: Value, answer: Value) -> list[Fraction]:
    """What the answer's number may be multiplied with to be in the gold's unit; empty where units differ."""
    a, b = gold.unit, answer.unit
    if a is not None and b is not None:
        return [b.factor / a.factor] if a.dimensions == b.dimensions else []
    if a is None and b is None:
        return [Fraction(1)]
    unit = a or b
    assert unit is not None
    if unit.dimensions == ():  # thousand, million
        return [unit.factor if b is not None else 1 / unit.factor]
    if not unit.is_("percent"):
        return [Fraction(1)]
    bare = gold.node if a is None else answer.node
    scale = Fraction(1, 100) if b is not None else Fraction(100)
    return [scale, Fraction(1)] if _exceeds_one(bare) else [scale]


def _exceeds_one(node: Node) -> bool:
    try:
        return bool(abs(numeric(node, {})) > 1)
    except (Unknown, TypeError):
        return False


def _is_unit(value: Value, name: str) -> bool:
    return value.unit is not None and value.unit.is_(name)


def _mentions_pi(node: Node) -> bool:
    return Symbol("pi") in set(walk(node))


def _rounds_to(gold: Node, written: Node, answer: Node, least: int = ROUNDED_PLACES) -> bool:
    """Whether the gold is the answer rounded at its last place, and the answer is finer than that.

    `written` is the answer as it was written, `answer` the same in the gold's unit.
    """
    rounded = decimal(gold)
    if rounded is None:
        return False
    value, places, power = rounded
    if places + power < least:
        return False
    own = decimal(written)
    if own is not None and own[1] <= places and written is answer:
        return False
    return rounds(answer, places) == value


def rounds(node: Node, places: int) -> Fraction | None:
    """The value rounded to so many places, halves away from zero; None where it is no real number."""
    try:
        number = exact(node)
    except Unknown:
        try:
            approximate = numeric(node, {})
            if abs(approximate) > 10**100:  # as an integer it might fill the memory, and nothing rounds to it
                return None
            number = Fraction(int(approximate * 10**40), 10**40)
        except (Unknown, TypeError, ValueError):
            return None
    scale = Fraction(10) ** places
    magnitude = int(abs(number) * scale + Fraction(1, 2))
    return (1 if number >= 0 else -1) * magnitude / scale


def same_matrix(gold: Node, answer: Node) -> bool | None:
    """Equal shape, equal entries; what is not worked out yet is. None where neither is a matrix."""
    left, right = grid_of(gold), grid_of(answer)
    if left is None and right is None:
        return None
    left = left or grid_of(gold, len(right or ()))  # an identity has the size of the other side
    right = right or grid_of(answer, len(left or ()))
    left = left or [[gold]]  # a number is the matrix that holds it alone
    right = right or [[answer]]
    return same_grid(left, right)


def same_grid(gold: Grid, answer: Grid) -> bool:
    """Whether two grids have the same entries; a gold's decimals stand for what rounds to them."""
    if [len(row) for row in gold] != [len(row) for row in answer]:
        return False
    cells = zip((c for row in gold for c in row), (c for row in answer for c in row), strict=True)
    return all(same_value(a, b) or _rounds_to(a, b, b) for a, b in cells)
