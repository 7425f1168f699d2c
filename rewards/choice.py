"""Choice: 1 if the final answer names the gold of a multiple-choice question, and no other."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rewards.completions import text_of
from rewards.extract import final_answer
from rewards.registry import rule

# What may stand around an answer without meaning anything: LaTeX's text commands, dollars, bold marks.
WRAPPING = re.compile(r"\\(?:text|textbf|mathrm|mathbf)\s*\{([^{}]*)\}|[$*]")
LABEL = re.compile(
    r"(?:(?:the\s+)?(?:correct\s+|final\s+)?(?:answer|option|choice)(?:\s+is)?\s*:?\s*)?"
    r"(?:\((?P<round>[A-Z])\)|\[(?P<square>[A-Z])\]|(?P<bare>[A-Z])(?![\w'’]))(?P<mark>[).:]*)\s*(?P<rest>.*)",
    re.DOTALL | re.IGNORECASE,
)
OTHER = re.compile(r"(?<!\w)[A-Z](?!\w)")  # in the rest of an answer, what may be another letter


@rule("choice", grades_answer=True)
def choice(
    prompts: Sequence[Any],
    completions: Sequence[Any],
    answer: Sequence[Any],
    choices: Sequence[Sequence[Any] | None] | None = None,
    log_extra: Callable[[str, list[Any]], None] | None = None,
    **columns: Any,
) -> list[float | None]:
    r"""1 where the final answer names the right choice and no other, else 0; None where the row has no gold.

        r_i = 1[label(final(o_i)) = label(a)]

    The answer is the last `<answer>…</answer>` or `\boxed{…}` after `</think>`, as for `accuracy`. A choice
    is named by its letter (`B`, `(B)`, `b.`, `\text{B}`, `The answer is B`), by its text, or by both where
    they agree; a gold so too, or by a whole number from 0. Logs for each completion the letter `chosen`.

    Source: DeepSeek-R1, arXiv:2501.12948v2, supplement on reinforcement learning data (multiple choice).

    Args:
        prompts: [G], not read.
        completions: [G] strings or lists of messages.
        answer: [G] golds.
        choices: [G] the row's choices, in order; without them letters alone are compared.

    Returns:
        [G] scores.
    """
    lists = [[]] * len(completions) if choices is None else [texts_of(one) for one in choices]
    golds = [label_of(gold, texts) for gold, texts in zip(answer, lists, strict=True)]
    found = [final_answer(text_of(completion)) for completion in completions]
    chosen = [
        None if text is None else label_of(text, texts) for text, texts in zip(found, lists, strict=True)
    ]
    if log_extra is not None:
        log_extra("chosen", chosen)
    return [None if gold is None else float(one == gold) for one, gold in zip(chosen, golds, strict=True)]


def texts_of(choices: Any) -> list[str]:
    """The texts of a row's choices, in order, without their letters in front.

    Args:
        choices: a list; or a mapping of letters to texts, or with a list of them under `text`, as ARC has it.
    """
    if isinstance(choices, Mapping):
        choices = choices.get("text", list(choices.values()))
    plain = [_plain(one) for one in choices or ()]
    return [re.sub(rf"^\(?{_letter(i)}[).:]\s*", "", text) for i, text in enumerate(plain)]


def label_of(answer: Any, choices: Sequence[str] = ()) -> str | None:
    """The upper-case letter of the one choice that an answer names; None where it names none, or several.

    Args:
        answer: what was answered, or a gold.
        choices: their texts, where known; then a text after the letter must be that choice's.
    """
    if isinstance(answer, int) and not isinstance(answer, bool):
        return _letter(answer) if 0 <= answer < (len(choices) or 26) else None
    text, texts = _plain(answer), [one.casefold().rstrip(".") for one in choices]
    whole = text.casefold().rstrip(".")
    if whole and texts.count(whole) == 1:
        return _letter(texts.index(whole))
    match = LABEL.fullmatch(text)
    if match is None:
        return None
    label = (match["round"] or match["square"] or match["bare"]).upper()
    rest, index = match["rest"], ord(label) - ord("A")
    if choices:
        agrees = index < len(texts) and rest.casefold().rstrip(".") in ("", texts[index])
    else:
        agrees = not rest or bool((match["mark"] or not match["bare"]) and not OTHER.search(rest))
    return label if agrees else None


def _letter(index: int) -> str:
    return chr(ord("A") + index)


def _plain(answer: Any) -> str:
    """The text without what may wrap it."""
    text = "" if answer is None else str(answer)
    return " ".join(WRAPPING.sub(lambda match: match[1] or "", text).split())
