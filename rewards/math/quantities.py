"""Whether two values with their units are one: converted, rounded, or a matrix of such."""

from __future__ import annotations

from fractions import Fraction

from rewards.math.evaluate import Unknown, exact, numeric, same_value
from rewards.math.forms import Value, decimal
from rewards.math.matrices import Grid, grid_of
from rewards.math.tree import Node, Number, Op, Symbol, walk

ROUNDED_PLACES = 2  # a gold with at least as many stands for what rounds to it


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
