"""Reasoning steps: how many marks of a step there are, up to a number."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from rewards.completions import reasoning_of, text_of
from rewards.errors import RuleError
from rewards.registry import rule

MARKS = re.compile(
    r"\bStep \d+:|^[^\S\n]*\d+[.)]\s|^[^\S\n]*[-*•]\s|\b(?:First|Second|Third|Next|Then|Finally),",
    re.MULTILINE,
)


def check_enough(*, enough: int) -> None:
    """RuleError for a number of steps below 1."""
    if enough < 1:
        raise RuleError(f"option 'enough' is {enough}", "reasoning_steps", "Give a number of steps from 1")


@rule("reasoning_steps", check=check_enough)
def reasoning_steps(completions: Sequence[Any], *, enough: int = 3, **columns: Any) -> list[float]:
    """The number of steps that the reasoning marks, over `enough`, at most 1.

        r_i = min(1, steps(o_i) / n)

    A mark is `Step 1:`, a line that begins with a number or a bullet, or `First,`, `Second,`, `Third,`,
    `Next,`, `Then,`, `Finally,`. The reasoning is what stands before `</think>`, or all where there is no
    tag.

    Source: Open-R1 (Hugging Face, 2025), `reasoning_steps_reward`, whose marks have no `Third,` and `Then,`,
    and which counts a numbered line in the first place only.

    Args:
        completions: [G] strings or lists of messages.
        enough: n, the steps that score 1.

    Returns:
        [G] scores.
    """
    thoughts = [reasoning_of(text_of(completion)) for completion in completions]
    return [min(1.0, sum(1 for _ in MARKS.finditer(thought)) / enough) for thought in thoughts]
