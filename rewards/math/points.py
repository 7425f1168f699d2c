"""Values for the variables of expressions that are to be compared."""

from __future__ import annotations

import itertools
from fractions import Fraction
from typing import Any

from rewards.math.tree import Node, Number, Op, walk

_PRIMES = (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89)
_BENT = frozenset("abs floor ceil min max root cases".split())
MAX_BENDS = 8


def points(names: frozenset[str], mp: Any, bends: list[Fraction]) -> list[dict[str, Any]]:
    """Values for the variables: positive, negative, small whole. Fixed, so that verdicts repeat.

    Args:
        bends: where the expressions may change their course. Points on, between and beyond them are added.
    """
    ordered = sorted(names)
    found = []
    for turn in range(8):
        values: dict[str, Any] = {}
        for k, name in enumerate(ordered):
            root = mp.sqrt(mp.mpf(_PRIMES[(turn * 5 + k * 3) % len(_PRIMES)]))
            if turn < 4:
                values[name] = root % 1 + mp.mpf(turn + k % 3) / 2
            elif turn < 6:
                values[name] = -(root % 2) - mp.mpf(k % 2) / 3
            else:
                values[name] = mp.mpf(2 + turn % 2 + 3 * k)
        found.append(values)
    for place in _around(bends):
        value = mp.mpf(place.numerator) / place.denominator
        found += [{**found[0], name: value} for name in ordered]
    return found


def bends_of(*nodes: Node) -> list[Fraction]:
    """The numbers in expressions that have a bend somewhere (`|x - 5|`), of both signs; none in others."""
    inside = [node for top in nodes for node in walk(top)]
    if not any(isinstance(node, Op) and node.name in _BENT for node in inside):
        return []
    numbers = {node.value for node in inside if isinstance(node, Number)}
    return sorted({sign * number for number in numbers for sign in (1, -1)}, key=abs)[:MAX_BENDS]


def _around(bends: list[Fraction]) -> list[Fraction]:
    if not bends:
        return []
    ordered = sorted(bends)
    between = [(a + b) / 2 for a, b in itertools.pairwise(ordered)]
    far = max(abs(ordered[0]), abs(ordered[-1])) + Fraction(22, 7)
    return [*ordered, *between, -far, far]
