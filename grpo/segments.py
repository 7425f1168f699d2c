"""Trees of token runs: what several sequences begin with is laid out, and computed, once."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile

from grpo.types import Segment

LEAST_SHARED = 16  # tokens: a shorter beginning that different prompts share is not worth a segment


def places(segments: Sequence[Segment]) -> tuple[list[list[int]], list[list[int]]]:
    """Packed indices of the tokens before each segment, from its root on, and of its own.

    Args:
        segments: in the order of their tokens; a parent comes before its children.
    """
    before: list[list[int]] = []
    own: list[list[int]] = []
    start = 0
    for length, parent in segments:
        before.append([] if parent < 0 else before[parent] + own[parent])
        own.append(list(range(start, start + length)))
        start += length
    return before, own


def common_prefix(prompts: Sequence[tuple[int, ...]]) -> int:
    """Tokens that all of several prompts begin with, at least one less than any has.

    0 where they are one prompt, or share less than is worth a segment of its own.
    """
    if len(prompts) < 2:
        return 0
    low, high = min(prompts), max(prompts)  # what the outermost of a sorted list share, all share
    same = takewhile(lambda pair: pair[0] == pair[1], zip(low, high, strict=False))
    length = min(sum(1 for _ in same), min(map(len, prompts)) - 1)
    return length if length >= LEAST_SHARED else 0
