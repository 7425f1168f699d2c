"""Accuracy: 1 if the final answer equals the gold."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from rewards import symbolic
from rewards.completions import text_of
from rewards.extract import final_answer, last_box
from rewards.normalise import is_text, normalise, number
from rewards.registry import rule

MAX_SYMBOLIC = (
    1000  # characters; no gold of the usual sets has a fifth of it, and algebra on more can run for hours
)


@rule("accuracy", grades_answer=True, warm=symbolic.warm)
def accuracy(
    prompts: Sequence[Any],
    completions: Sequence[Any],
    answer: Sequence[Any],
    log_extra: Callable[[str, list[Any]], None] | None = None,
    **columns: Any,
) -> list[float | None]:
    r"""1 where the completion's final answer equals the gold, else 0; None where the row has no gold.

        r_i = 1[final(o_i) = a]

    The answer is the last `<answer>…</answer>` or `\boxed{…}` after `</think>`. The cheapest rung that can
    decide does: normalised string, exact number, math-verify. Logs for each completion its `verdict` (right,
    wrong, unextracted), the `rung` that decided and the `extracted` answer.

    Source: DeepSeek-R1, arXiv:2501.12948, section 2.2.2 (accuracy rewards).

    Args:
        prompts: [G], not read.
        completions: [G] strings or lists of messages.
        answer: [G] golds.

    Returns:
        [G] scores.
    """
    scores: list[float | None] = []
    verdicts, rungs, found = [], [], []
    for completion, gold in zip(completions, answer, strict=True):
        extracted = final_answer(text_of(completion))
        if gold is None or not str(gold).strip():
            score, rung, verdict = None, None, None
        elif extracted is None:
            score, rung, verdict = 0.0, None, "unextracted"
        else:
            right, rung = grade(str(gold), extracted)
            score, verdict = float(right), "right" if right else "wrong"
        scores.append(score)
        verdicts.append(verdict)
        rungs.append(rung)
        found.append(extracted)
    if log_extra is not None:
        log_extra("verdict", verdicts)
        log_extra("rung", rungs)
        log_extra("extracted", found)
    return scores


def grade(gold: str, answer: str) -> tuple[bool, str]:
    r"""Whether an extracted answer equals the gold, and the rung that decided: string, number or math_verify.

    A gold may come as `\boxed{…}` or between dollars. May run for ever on a hostile answer.
    """
    gold = last_box(gold) or gold
    plain_gold, plain = normalise(gold), normalise(answer)
    if plain == plain_gold:
        return True, "string"
    value_gold, value = number(plain_gold), number(plain)
    if value_gold is not None and value is not None:
        return value == value_gold, "number"
    if is_text(plain_gold, gold):
        return plain.casefold() == plain_gold.casefold(), "string"
    if len(answer) > MAX_SYMBOLIC:
        return False, "string"
    return symbolic.equal(_bare(gold), _bare(answer)), "math_verify"


def _bare(answer: str) -> str:
    """Without the dollars or bold marks around it, which mean nothing inside a box."""
    text = answer.strip().strip("*").strip()
    return text.strip("$").strip() if text.count("$") == 2 else text
