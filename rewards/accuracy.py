"""Accuracy: 1 if the final answer equals the gold."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from rewards.completions import text_of
from rewards.extract import EXTRACTORS, Extract, last_box
from rewards.math import symbolic
from rewards.math.ladder import RIGHT, UNGRADED, Verdict, judge
from rewards.registry import rule


@rule("accuracy", grades_answer=True, warm=symbolic.warm)
def accuracy(
    prompts: Sequence[Any],
    completions: Sequence[Any],
    answer: Sequence[Any],
    log_extra: Callable[[str, list[Any]], None] | None = None,
    *,
    extract: Extract = "final",
    **columns: Any,
) -> list[float | None]:
    r"""1 where the completion's final answer equals the gold, else 0; None where the row has no gold.

        r_i = 1[final(o_i) = a]

    The answer is the last `<answer>…</answer>` or `\boxed{…}` after `</think>`; with `extract: text` all that
    follows `</think>`, with `last_number` the last number anywhere. The cheapest rung that can
    decide does: string, number, words, value, math_verify. docs/grading.md says what counts as equal. Logs
    for each completion its `verdict` (right, wrong, unextracted, ungraded), the `rung` that decided and the
    `extracted` answer. A gold that cannot be graded gives None.

    Source: DeepSeek-R1, arXiv:2501.12948, section 2.2.2 (accuracy rewards).

    Args:
        prompts: [G], not read.
        completions: [G] strings or lists of messages.
        answer: [G] golds; a list of several values is one gold.

    Returns:
        [G] scores.
    """
    scores: list[float | None] = []
    verdicts: list[str | None] = []
    rungs: list[str | None] = []
    found: list[str | None] = []
    for completion, gold in zip(completions, answer, strict=True):
        extracted = EXTRACTORS[extract](text_of(completion))
        score: float | None = 0.0
        verdict: str | None = "unextracted"
        rung: str | None = None
        wanted = ", ".join(map(str, gold)) if isinstance(gold, list | tuple) else str(gold)
        if gold is None or not wanted.strip():
            score, verdict = None, None
        elif extracted is not None:
            graded = grade(wanted, extracted)
            verdict, rung = graded.outcome, graded.rung
            score = None if verdict == UNGRADED else float(verdict == RIGHT)
        scores.append(score)
        verdicts.append(verdict)
        rungs.append(rung)
        found.append(extracted)
    if log_extra is not None:
        log_extra("verdict", verdicts)
        log_extra("rung", rungs)
        log_extra("extracted", found)
    return scores


def grade(gold: str, answer: str) -> Verdict:
    r"""Whether an extracted answer equals the gold, and the rung that decided (rewards/math/ladder.py).

    A gold may come as `\boxed{…}` or between dollars. May run for ever on a hostile answer.
    """
    return judge(last_box(gold) or gold, answer)
