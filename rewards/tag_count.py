"""Tag count: a quarter for each of the four tags that stands exactly once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rewards.completions import full_texts
from rewards.format import TAGS
from rewards.registry import rule

# open-r1's, which want each tag on a line of its own
ON_LINES = ("<think>\n", "\n</think>\n", "\n<answer>\n", "\n</answer>")


@rule("tag_count")
def tag_count(
    prompts: Sequence[Any],
    completions: Sequence[Any],
    prompt_text: Sequence[str] | None = None,
    *,
    newlines: bool = False,
    prefilled: bool = False,
    **columns: Any,
) -> list[float]:
    """A quarter for each of `<think>`, `</think>`, `<answer>`, `</answer>` that stands exactly once.

        r_i = 1/4 Σ_t 1[count(t, o_i) = 1]

    A slope towards the strict format, whose order and surroundings it does not look at. Where the prompt ends
    in `<think>` that tag counts as the completion's own.

    Source: Open-R1 (Hugging Face, 2025), `tag_count_reward`.

    Args:
        prompts: [G] strings or lists of messages.
        completions: [G] strings or lists of messages.
        prompt_text: [G] prompts as rendered by the template.
        newlines: count as Open-R1 does, tags on lines of their own alone.
        prefilled: the chat template opens `<think>` after the prompt, where neither shows it.

    Returns:
        [G] scores.
    """
    texts = full_texts(prompts, completions, prompt_text, prefilled)
    tags = ON_LINES if newlines else TAGS
    return [sum(text.count(tag) == 1 for tag in tags) / len(tags) for text in texts]
