"""Format: 1 if a completion is a thought and then an answer; if strict, nothing else."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from rewards.completions import full_texts
from rewards.registry import rule

TAGS = ("<think>", "</think>", "<answer>", "</answer>")
_ANSWER = re.compile(r"<answer>((?:(?!<answer>).)*?)</answer>", re.DOTALL)


@rule("format")
def format_rule(
    prompts: Sequence[Any],
    completions: Sequence[Any],
    prompt_text: Sequence[str] | None = None,
    log_extra: Callable[[str, list[Any]], None] | None = None,
    *,
    strict: bool = True,
    prefilled: bool = False,
    **columns: Any,
) -> list[float | None]:
    """1 where the completion is `<think>…</think><answer>…</answer>`, else 0.

        r_i = 1[o_i = s <think> t </think> s <answer> a </answer> s],  s white space, a not blank

    Each tag stands exactly once. Not strict, it is enough that a thought is closed and a non-blank answer
    stands somewhere after it; text around them and further tags are allowed. Where the prompt ends in
    `<think>` the tag counts as the completion's own, which then must not open it again. Logs `thinks` for
    each completion: 1 if the thought is not blank.

    Source: DeepSeek-R1, arXiv:2501.12948, section 2.2.2 (format rewards).

    Args:
        prompts: [G] strings or lists of messages.
        completions: [G] strings or lists of messages.
        prompt_text: [G] prompts as rendered by the template; `prompts` is looked at where it is left out.
        strict: nothing but the two blocks.
        prefilled: the chat template opens `<think>` after the prompt, where neither shows it.

    Returns:
        [G] scores.
    """
    texts = full_texts(prompts, completions, prompt_text, prefilled)
    if log_extra is not None:
        log_extra("thinks", [float(bool(thought(text).strip())) for text in texts])
    return [float(is_strict(text) if strict else is_soft(text)) for text in texts]


def is_strict(text: str) -> bool:
    """Whether `text` is one thought and one non-blank answer with white space alone around them."""
    if any(text.count(tag) != 1 for tag in TAGS):
        return False
    before, _, rest = text.partition("<think>")
    _, closed, rest = rest.partition("</think>")
    between, opened, rest = rest.partition("<answer>")
    answer, ended, after = rest.partition("</answer>")
    in_order = bool(closed and opened and ended)
    return in_order and bool(answer.strip()) and not (before + between + after).strip()


def is_soft(text: str) -> bool:
    """Whether a thought is closed in `text` and a non-blank answer stands after it."""
    _, opened, rest = text.partition("<think>")
    _, closed, rest = rest.partition("</think>")
    if not (opened and closed):
        return False
    return any(answer.strip() for answer in _ANSWER.findall(rest))


def thought(text: str) -> str:
    """What stands between the first `<think>` and the `</think>` after it; "" where either is missing."""
    inside, closed, _ = text.partition("<think>")[2].partition("</think>")
    return inside if closed else ""
