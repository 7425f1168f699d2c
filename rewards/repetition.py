"""Repetition: a punishment by the share of n-grams that are repeats."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, Literal

from rewards.completions import text_of, token_ids
from rewards.errors import RuleError
from rewards.registry import rule


def check_ngrams(*, ngram: int, penalty: float, **values: Any) -> None:
    """RuleError for n below 1 or a penalty that rewards."""
    if ngram < 1:
        raise RuleError(f"option 'ngram' is {ngram}", "repetition", "Give a number of tokens from 1")
    if penalty > 0:
        raise RuleError(f"option 'penalty' is {penalty}", "repetition", "Give a number of at most 0")


@rule("repetition", check=check_ngrams)
def repetition(
    completions: Sequence[Any],
    completion_ids: Sequence[Sequence[int]] | None = None,
    *,
    ngram: int = 3,
    penalty: float = -1.0,
    unit: Literal["token", "word"] = "token",
    **columns: Any,
) -> list[float]:
    """The penalty times the share of n-grams that stood in the completion before.

        r_i = p (1 - unique_n(o_i) / total_n(o_i)),  0 where there are fewer than n units

    Source: TRL and Open-R1, after Yeo et al., arXiv:2502.03373, appendix C.2, who punish each repeated token
    (n = 40, -0.05 a token) instead of the completion.

    Args:
        completions: [G] strings or lists of messages; read where the unit is a word.
        completion_ids: [G] token ids.
        ngram: n.
        penalty: p, what all n-grams but one being repeats comes near to.
        unit: `token` as TRL, or `word` as Open-R1: lower case, split at white space.

    Returns:
        [G] scores.
    """
    units: list[Sequence[Hashable]]
    if unit == "word":
        units = [text_of(completion).lower().split() for completion in completions]
    else:
        units = list(token_ids(completion_ids, "repetition"))
    shares = [repeated(one, ngram) for one in units]
    return [penalty * share if share else 0.0 for share in shares]


def repeated(units: Sequence[Hashable], n: int) -> float:
    """The share of the n-grams that are repeats; 0 where there is none."""
    total = len(units) - n + 1
    if total < 1:
        return 0.0
    grams = zip(*(units[start:] for start in range(n)), strict=False)
    return 1 - len(set(grams)) / total
