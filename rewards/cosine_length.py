"""Cosine length: correctness scaled by length, so that right answers are best short and wrong ones long."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from rewards.accuracy import accuracy
from rewards.completions import token_ids
from rewards.errors import RuleError
from rewards.registry import rule


def check_length(*, max_tokens: int | None, **values: Any) -> int:
    """L_max; RuleError where it is missing or not positive."""
    if max_tokens is None or max_tokens < 1:
        hint = "Give it the value of rollout.max_tokens"
        given = "not set" if max_tokens is None else max_tokens
        raise RuleError(f"option 'max_tokens' is {given}", "cosine_length", hint)
    return max_tokens


@rule(
    "cosine_length",
    grades_answer=True,
    gold_extra="correct",
    warm=getattr(accuracy, "warm", None),
    check=check_length,
)
def cosine_length(
    prompts: Sequence[Any],
    completions: Sequence[Any],
    answer: Sequence[Any],
    completion_ids: Sequence[Sequence[int]] | None = None,
    log_extra: Callable[[str, list[Any]], None] | None = None,
    *,
    max_tokens: int | None = None,
    correct_short: float = 1.0,
    correct_long: float = 0.5,
    wrong_short: float = -1.0,
    wrong_long: float = -0.5,
    exceeded: float | None = None,
    **columns: Any,
) -> list[float | None]:
    """Between two values by the completion's length, along half a cosine; None where the row has no gold.

        r_i = b + (a - b) (1 + cos(π min(|o_i| / L_max, 1))) / 2,  or `exceeded` where |o_i| >= L_max

    with a, b the values at no tokens and at L_max, of the right or the wrong. Right is what `accuracy` scores
    1; what that rule logs is logged too, and its score as `correct`.

    Source: Yeo et al., arXiv:2502.03373, section 4 and appendix C.1. The paper's values are 2, 1, -10, 0 and
    -10 where the length is exceeded; the defaults are those of TRL and Open-R1.

    Args:
        prompts: [G], not read.
        completions: [G] strings or lists of messages.
        answer: [G] golds.
        completion_ids: [G] token ids; |o_i| is their number.
        max_tokens: L_max, as rollout.max_tokens. Must be given.
        correct_short, correct_long: right at no tokens, and at L_max.
        wrong_short, wrong_long: wrong at no tokens, and at L_max.
        exceeded: at L_max and beyond, right or wrong; the curve's end where left out.

    Returns:
        [G] scores.
    """
    longest = check_length(max_tokens=max_tokens)
    right = accuracy(prompts, completions, answer=answer, log_extra=log_extra)
    if log_extra is not None:
        log_extra("correct", right)
    scores: list[float | None] = []
    for correct, ids in zip(right, token_ids(completion_ids, "cosine_length"), strict=True):
        length = len(ids)
        if correct is None:
            scores.append(None)
        elif exceeded is not None and length >= longest:
            scores.append(exceeded)
        else:
            ends = (correct_short, correct_long) if correct == 1.0 else (wrong_short, wrong_long)
            scores.append(between(*ends, min(length / longest, 1.0)))
    return scores


def between(start: float, end: float, share: float) -> float:
    """From start (share 0) to end (share 1) along half a cosine."""
    return end + (start - end) * (1.0 + math.cos(math.pi * share)) / 2
