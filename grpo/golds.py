"""Golds tried on their own rules before a run: a gold that its grader rejects would punish right answers."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Literal

from grpo.errors import UserError
from grpo.scoring import Scorer
from grpo.types import Prompt
from rewards.score import Score

log = logging.getLogger(__name__)

BATCH = 64  # golds a call
SHOWN = 5  # failing ids named
OTHER = r"\sqrt{7}"  # an answer that no cheap comparison settles


def check_golds(
    scorer: Scorer,
    prompts: Sequence[Prompt],
    answer_form: Callable[[str], str],
    action: Literal["error", "drop"],
    *,
    name: str,
) -> list[Prompt]:
    """The prompts whose gold, written as an answer, every answer-grading rule scores 1 and can read.

    A gold that equals itself as a text and that its rule cannot compare with anything else is no gold.

    Every other rule is called on a few of them, so that one that cannot be called is found before the run.

    Args:
        prompts: rows with their golds.
        answer_form: writes a gold as the template asks for answers (`<answer>gold</answer>`).
        action: at a gold that is rejected or missing, stop with its id or leave the row out
            (`data.bad_gold`; logged).
        name: of the rows, in what is logged.

    Raises:
        UserError: a gold is rejected or missing, or all are, or a rule cannot be called.
    """
    graders = [k for k, rule in enumerate(scorer.rules) if rule.grades_answer]
    if not prompts:
        return []
    _try_all(scorer, prompts[: min(8, len(prompts))], answer_form)
    if not graders:
        return list(prompts)
    rows, prompts = len(prompts), _with_golds(prompts, action)
    batches = [prompts[i : i + BATCH] for i in range(0, len(prompts), BATCH)]
    work = [(batch, [answer_form(prompt.answer or "") for prompt in batch]) for batch in batches]
    scores = [row for result in scorer.score_many(work, graders) for row in result]
    extras = [scorer.rules[k].gold_extra for k in graders]
    other = [(batch, [answer_form(OTHER)] * len(batch)) for batch in batches]
    others = [row for result in scorer.score_many(other, graders) for row in result]
    right = [
        all(judged(score, extra) == 1.0 for score, extra in zip(row, extras, strict=True))
        and not any(score.ungraded for score in against)
        for row, against in zip(scores, others, strict=True)
    ]
    good = [prompt for prompt, is_right in zip(prompts, right, strict=True) if is_right]
    bad = [prompt for prompt, is_right in zip(prompts, right, strict=True) if not is_right]
    if bad and action == "error":
        rules = " and ".join(scorer.names[k] for k in graders)
        shown = ", ".join(f"{prompt.id} ({prompt.answer!r:.40})" for prompt in bad[:SHOWN])
        more = f" and {len(bad) - SHOWN} more" if len(bad) > SHOWN else ""
        what = (
            f"{len(bad)} of {len(prompts)} golds are not right by {rules}, or cannot be read: {shown}{more}"
        )
        raise UserError(
            what, "data", "Set data.gold to take the bare answer, or data.bad_gold: drop to leave them out"
        )
    if not good:
        raise UserError(f"none of {len(prompts)} golds is right by its own rule", "data", "Check data.gold")
    if len(good) < rows:
        what = "golds that are missing, or not right by their own rule"
        log.warning("%s: %d of %d rows dropped: %s", name, rows - len(good), rows, what)
    return good


def judged(score: Score, gold_extra: str) -> object:
    """What of a score a gold must have 1 in: the score itself, or what the rule logs for that."""
    return score.extras.get(gold_extra) if gold_extra else score.score


def _try_all(scorer: Scorer, prompts: Sequence[Prompt], answer_form: Callable[[str], str]) -> None:
    """Calls every rule once; one that raises on all of these will on all."""
    rows = scorer.score(prompts, [answer_form(prompt.answer or "") for prompt in prompts])
    for name, scores in zip(scorer.names, zip(*rows, strict=True), strict=True):
        if all(score.status == "error" for score in scores):
            what = (
                f"rule {name!r} raises on every gold tried, on {prompts[0].id}: {scores[0].extras['error']}"
            )
            raise UserError(what, "rewards", "Try it with `grpo reward`")


def _with_golds(prompts: Sequence[Prompt], action: Literal["error", "drop"]) -> list[Prompt]:
    found = [prompt for prompt in prompts if prompt.answer is not None and prompt.answer.strip()]
    if len(found) < len(prompts) and (action == "error" or not found):
        kept = {prompt.id for prompt in found}
        first = next(prompt.id for prompt in prompts if prompt.id not in kept)
        count = f"{len(prompts) - len(found)} of {len(prompts)} rows"
        what = f"{count} have no answer, first {first}, but a rule grades it"
        instead = "Name the answer column in data.columns"
        raise UserError(what, "data", instead + (", or set data.bad_gold: drop" if found else ""))
    return found
