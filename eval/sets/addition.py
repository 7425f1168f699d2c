"""Sums of two numbers, generated: the demo's task. No unordered pair of operands appears twice."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator

from eval.sets.registry import Row, Set


def rows(split: str, *, digits: int = 4, count: int = 8192, seed: int = 0) -> Iterator[Row]:
    """Yields `{"prompt": "4567+1234=", "answer": "5801", "pair": "1234+4567"}` for `count` distinct pairs.

    There is one split, `train`: what is held out is a hash of `pair`, the operands in order of size, so
    that the same sum the other way round is held out with it.

    Args:
        split: `train`.
        digits: digits of both operands.
        count: rows, at most the number of unordered pairs.
        seed: seed of pairs and of the order of the operands.

    Raises:
        ValueError: no such split, or fewer pairs than `count`.
    """
    if split not in SET.splits:
        raise ValueError(f"no split {split!r}: there is {', '.join(SET.splits)}")
    if digits < 1:
        raise ValueError(f"digits is {digits}: use 1 or more")
    low = 10 ** (digits - 1)
    operands = 10**digits - low
    pairs = operands * (operands + 1) // 2
    if not 1 <= count <= pairs:
        raise ValueError(f"count is {count}: there are 1 to {pairs} pairs of {digits}-digit numbers")
    rng = random.Random(f"addition/{digits}/{seed}")
    for index in rng.sample(range(pairs), count):
        larger = (math.isqrt(8 * index + 1) - 1) // 2  # index counts the triangle of pairs row by row
        a, b = low + index - larger * (larger + 1) // 2, low + larger
        first, second = (a, b) if rng.random() < 0.5 else (b, a)
        yield {"prompt": f"{first}+{second}=", "answer": str(a + b), "pair": f"{a}+{b}"}


SET = Set(
    about="sums of two numbers with a given number of digits, generated",
    licence="generated",
    splits=("train",),
    split_key="pair",
    generate=rows,
)
