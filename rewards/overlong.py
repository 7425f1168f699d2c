"""Overlong: a punishment that grows over the last tokens before the limit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rewards.completions import token_ids
from rewards.errors import RuleError
from rewards.registry import rule


def check_lengths(*, max_tokens: int | None, cache: int | None) -> tuple[int, int]:
    """L_max and L_cache; RuleError where they do not fit."""
    if max_tokens is None or max_tokens < 1:
        hint = "Give it the value of rollout.max_tokens"
        given = "not set" if max_tokens is None else max_tokens
        raise RuleError(f"option 'max_tokens' is {given}", "overlong", hint)
    cache = max_tokens // 5 if cache is None else cache
    if not 0 <= cache <= max_tokens:
        what = f"option 'cache' is {cache}"
        raise RuleError(what, "overlong", f"Give it between 0 and max_tokens, {max_tokens}")
    return max_tokens, cache


@rule("overlong", check=check_lengths)
def overlong(
    completions: Sequence[Any],
    completion_ids: Sequence[Sequence[int]] | None = None,
    *,
    max_tokens: int | None = None,
    cache: int | None = None,
    **columns: Any,
) -> list[float]:
    """0 up to L_max - L_cache tokens, falling to -1 at L_max, -1 beyond.

        r_i = 0                                  where |o_i| <= L_max - L_cache
              ((L_max - L_cache) - |o_i|) / L_cache   up to L_max
              -1                                 beyond

    Source: DAPO, arXiv:2503.14476, equation 13.

    Args:
        completions: [G], not read.
        completion_ids: [G] token ids; |o_i| is their number.
        max_tokens: L_max, as rollout.max_tokens. Must be given.
        cache: L_cache; a fifth of L_max where left out, DAPO's share (4,096 of 20,480).

    Returns:
        [G] scores.
    """
    longest, span = check_lengths(max_tokens=max_tokens, cache=cache)
    return [punishment(len(ids), longest, span) for ids in token_ids(completion_ids, "overlong")]


def punishment(length: int, longest: int, span: int) -> float:
    """Equation 13 for one completion."""
    over = length - (longest - span)
    if over <= 0:
        return 0.0
    return -over / span if length <= longest else -1.0
