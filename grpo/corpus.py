"""Synthetic corpora for small base checkpoints: problems worked in two styles.

The addition corpus plants what GRPO is to find out. Every kind of problem is seen answered at once
(frequent; a small model mostly gets it wrong) and worked digit by digit inside `<think>` (rare; mostly
right), some of both malformed or wrong. Nothing marks one style as better.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from grpo.recipe import Pretrain

TAGS = ("<think>", "</think>", "<answer>", "</answer>")


@dataclass(frozen=True)
class Example:
    """One training text, in two parts."""

    prompt: str
    completion: str


@dataclass(frozen=True)
class Corpus:
    """A stream of examples and the characters it is written in."""

    alphabet: str
    examples: Callable[[Pretrain, dict[str, Any], Callable[[str], bool]], Iterator[Example]]


def worked_sum(a: int, b: int, slips: float, rng: random.Random) -> tuple[str, int]:
    """Adds digit by digit from the right: two digits and the carry, their sum, the result so far.

    347+285 gives `7+5+0=12,2;4+8+1=13,32;3+2+1=06,0632`: sums have two digits, in the last result
    too, so that lengths tell nothing and a small model finds what to copy by position.

    Args:
        slips: probability that a digit's sum is wrong by one; the mistake is carried on.

    Returns:
        The working and the sum it arrives at.
    """
    width = max(len(str(a)), len(str(b)))
    carry, result, steps = 0, "", []
    for place in range(width):
        x, y = a // 10**place % 10, b // 10**place % 10
        total = x + y + carry
        if rng.random() < slips:
            total = max(0, total + rng.choice((-1, 1)))
        result = (f"{total:02}" if place == width - 1 else str(total % 10)) + result
        steps.append(f"{x}+{y}+{carry}={total:02},{result}")
        carry = total // 10
    return ";".join(steps), int(result)


def addition(spec: Pretrain, options: dict[str, Any], excluded: Callable[[str], bool]) -> Iterator[Example]:
    """Sums of two numbers, in both styles, for ever.

    Args:
        spec: shares of worked examples, slips and missing tags.
        options: `digits` of both operands, as the data set of the same name takes it.
        excluded: whether the problem with this key (operands in order of size) is held out.
    """
    rng = random.Random(spec.seed)
    low, high = 10 ** (int(options["digits"]) - 1), 10 ** int(options["digits"]) - 1
    while True:
        a, b = rng.randint(low, high), rng.randint(low, high)
        if excluded(f"{min(a, b)}+{max(a, b)}"):
            continue
        thought, answer = "", a + b
        if rng.random() < spec.worked:
            thought, answer = worked_sum(a, b, spec.slips, rng)
        elif rng.random() < spec.guesses:
            answer += rng.choice((-1, 1)) * 10 ** rng.randrange(len(str(a)))
        parts = ["<think>", thought, "</think>", "<answer>", str(answer), "</answer>"]
        if rng.random() < spec.untagged:
            del parts[rng.choice((0, 2, 3, 5))]
        yield Example(f"{a}+{b}=", "".join(parts))


CORPORA = {"addition": Corpus(alphabet="0123456789+=,;", examples=addition)}
