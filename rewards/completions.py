"""The text of prompts and completions, which rules receive as strings or as lists of messages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rewards.errors import RuleError


def text_of(completion: str | Sequence[dict[str, Any]]) -> str:
    """The text of one prompt or completion: the string itself, or the content of the last message."""
    if isinstance(completion, str):
        return completion
    content = completion[-1].get("content") if completion else ""
    if isinstance(content, str):
        return content
    return "".join(
        part.get("text", "") for part in content or ()
    )  # content in parts, as multimodal messages have


def full_texts(
    prompts: Sequence[Any],
    completions: Sequence[Any],
    prompt_text: Sequence[str] | None = None,
    prefilled: bool = False,
) -> list[str]:
    """The completions [G], each with the `<think>` in front that its prompt ends in, if it does.

    Args:
        prompts: [G] strings or lists of messages.
        completions: [G] strings or lists of messages.
        prompt_text: [G] prompts as rendered; `prompts` is looked at where it is left out.
        prefilled: the template opens `<think>` where neither shows it.
    """
    texts = []
    for prompt, completion in zip(prompts if prompt_text is None else prompt_text, completions, strict=True):
        opened = prefilled or text_of(prompt).rstrip().endswith("<think>")
        texts.append(("<think>" if opened else "") + text_of(completion))
    return texts


def reasoning_of(text: str) -> str:
    """What a completion thinks: from the first `<think>`, or its start, to the next `</think>`, or its end.

    A completion without either tag is all reasoning, and so is one that was cut off while thinking.
    """
    before, opened, after = text.partition("<think>")
    return (after if opened else before).partition("</think>")[0]


def token_ids(completion_ids: Sequence[Sequence[int]] | None, rule: str) -> Sequence[Sequence[int]]:
    """The token ids of the completions [G]; RuleError where the rule was given none."""
    if completion_ids is None:
        hint = "Give `completion_ids`: in a file for `grpo reward`, a column of that name"
        raise RuleError("needs the completions' token ids", rule, hint)
    return completion_ids
