"""Synthetic corpora for small base checkpoints: problems worked in two styles.

The addition corpus plants what GRPO is to find out. Every kind of problem is seen answered at once
(frequent; a small model mostly gets it wrong) and worked term by term inside `<think>` (rare; mostly right),
some of both malformed or wrong. Nothing marks one style as better.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from grpo.recipe import Pretrain

TAGS = ("<think>", "</think>", "<answer>", "</answer>")


@dataclass(frozen=True)
class Example:
    """One training text. Only the completion is predicted."""

    prompt: str
    completion: str


@dataclass(frozen=True)
class Corpus:
    """A stream of examples and the characters it is written in."""

    alphabet: str
    examples: Callable[[Pretrain, dict[str, Any], Callable[[str], bool]], Iterator[Example]]


def running_sum(terms: Sequence[int], slips: float, rng: random.Random) -> tuple[str, int]:
    """Adds one term at a time: 38+57+94 gives `38+57=95;95+94=189`.

    Args:
        slips: probability that a partial sum is wrong by 1 or 10; the mistake is carried on.

    Returns:
        The working and the sum it arrives at.
    """
    total, steps = terms[0], []
    for term in terms[1:]:
        after = total + term
        if rng.random() < slips:
            after = max(0, after + rng.choice((-10, -1, 1, 10)))
        steps.append(f"{total}+{term}={after}")
        total = after
    return ";".join(steps), total


def addition(spec: Pretrain, options: dict[str, Any], excluded: Callable[[str], bool]) -> Iterator[Example]:
    """Sums of several numbers, in both styles, for ever.

    Args:
        spec: shares of worked examples, slips and missing tags.
        options: `terms` and `largest`, as the data set of the same name takes them.
        excluded: whether the problem with this key (terms in order of size) is held out.
    """
    rng = random.Random(spec.seed)
    while True:
        terms = [rng.randint(1, int(options["largest"])) for _ in range(int(options["terms"]))]
        if excluded("+".join(map(str, sorted(terms)))):
            continue
        thought, answer = "", sum(terms)
        if rng.random() < spec.worked:
            thought, answer = running_sum(terms, spec.slips, rng)
        parts = ["<think>", thought, "</think>", "<answer>", str(answer), "</answer>"]
        if rng.random() < spec.untagged:
            del parts[rng.choice((0, 2, 3, 5))]
        yield Example("+".join(map(str, terms)) + "=", "".join(parts))


CORPORA = {"addition": Corpus(alphabet="0123456789+=;", examples=addition)}
