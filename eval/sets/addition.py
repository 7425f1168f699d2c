"""Sums of several numbers, generated: the demo's task. No set of operands appears twice."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator

from eval.sets.registry import Row, Set


def rows(split: str, *, terms: int = 6, largest: int = 19, count: int = 8192, seed: int = 0) -> Iterator[Row]:
    """Yields `{"prompt": "7+12+8=", "answer": "27", "operands": "7+8+12"}`, `count` of them.

    There is one split, `train`: what is held out is a hash of `operands`, which are in order of size, so
    that the same sum in another order is held out with it.

    Args:
        split: `train`.
        terms: operands of a sum.
        largest: largest operand; the smallest is 1.
        count: rows; at most half the sums there are, so that distinct ones are found quickly.
        seed: seed of the operands and of their order.

    Raises:
        ValueError: no such split, or too few sums for `count`.
    """
    if split not in SET.splits:
        raise ValueError(f"no split {split!r}: there is {', '.join(SET.splits)}")
    if terms < 2 or largest < 1:
        raise ValueError(f"{terms} terms up to {largest}: use 2 or more terms up to 1 or more")
    most = math.comb(largest - 1 + terms, terms) // 2
    if not 1 <= count <= most:
        raise ValueError(f"count is {count}: use 1 to {most} for sums of {terms} numbers up to {largest}")
    rng = random.Random(f"addition/{terms}/{largest}/{seed}")
    seen: set[tuple[int, ...]] = set()
    while len(seen) < count:
        operands = [rng.randint(1, largest) for _ in range(terms)]
        ordered = tuple(sorted(operands))
        if ordered not in seen:
            seen.add(ordered)
            prompt, key = "+".join(map(str, operands)) + "=", "+".join(map(str, ordered))
            yield {"prompt": prompt, "answer": str(sum(operands)), "operands": key}


SET = Set(
    about="sums of several numbers, generated",
    licence="generated",
    splits=("train",),
    split_key="operands",
    generate=rows,
)
