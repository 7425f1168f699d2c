"""The text of each token of a completion."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from grpo.types import Rollout

PRIMED = 4  # prompt tokens decoded before a completion: its first token's text may depend on them
Pieces = Callable[["Rollout"], "list[str]"]


def pieces_of(tokenizer: PreTrainedTokenizerBase) -> Pieces | None:
    """What splits a rollout into the texts of its tokens; None for a tokenizer that is no Rust one.

    Joined they are the completion, but for bytes that make no character. A character that several tokens
    make up stands with the last of them, and the others are empty.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return None

    def pieces(rollout: Rollout) -> list[str]:
        prompt = _end_of(backend, rollout.prompt_ids)
        found = _stream(backend, prompt, rollout.token_ids)
        whole = backend.decode([*prompt, *rollout.token_ids], skip_special_tokens=False)
        text = whole.removeprefix(backend.decode(prompt, skip_special_tokens=False))
        known = "".join(found)
        if found and text.startswith(known):
            found[-1] += text[len(known) :]  # bytes that wait for more of their character
        return found

    return pieces


def _end_of(backend: Any, prompt_ids: Sequence[int]) -> list[int]:
    """Its last tokens, `PRIMED` or up to three more, so that they do not begin inside a character.

    A broken character would spoil those after it: decoders take adjoining single bytes for one run.
    """
    ends = [list(prompt_ids[-count:]) for count in range(PRIMED, PRIMED + 4)]
    broken = "\N{REPLACEMENT CHARACTER}"
    whole = (end for end in ends if not backend.decode(end, skip_special_tokens=False).startswith(broken))
    return next(whole, ends[0])


def _stream(backend: Any, prompt: list[int], token_ids: Sequence[int]) -> list[str]:
    from tokenizers.decoders import DecodeStream

    stream, found = DecodeStream(ids=prompt, skip_special_tokens=False), []
    for token in token_ids:
        try:
            piece = stream.step(backend, token)
        except Exception:  # tokenizers has no other: bytes before it turned out to make no character
            stream = DecodeStream(skip_special_tokens=False)
            piece = stream.step(backend, token)
        found.append(piece or "")
    return found


def logprobs_of(rollout: Rollout) -> Sequence[float | None]:
    """Behaviour log-prob of each token, None where the policy did not sample it."""
    return [value if drawn else None for value, drawn in zip(rollout.logprobs, rollout.sampled, strict=True)]
