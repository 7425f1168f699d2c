"""The text of prompts and completions, which rules receive as strings or as lists of messages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


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
