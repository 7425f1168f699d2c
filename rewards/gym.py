"""Gym: reasoning-gym's own scorers, on their tasks' rows."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from rewards.completions import text_of
from rewards.errors import RuleError, nearest
from rewards.extract import final_answer
from rewards.plain_eval import plain_eval
from rewards.registry import rule

Entry = dict[str, Any]
Scorer = Callable[[str, Entry], float]
GARBAGE = "?"  # right nowhere, and read by no parser: what a scorer gives to it, it gives to anything


@dataclass(frozen=True)
class Scored:
    """What a scorer said of a text: a number, or why it gave none."""

    number: float | None
    fault: str | None = None


@dataclass(frozen=True)
class Judge:
    """A row's scorer and what it gives to garbage and to its own gold, which show how far to trust it."""

    scorer: Scorer
    entry: Entry
    floor: float  # 0 where garbage makes it raise
    fault: str | None  # why it cannot be used for this row

    def score(self, answer: str, partial: bool) -> tuple[float | None, Scored]:
        """The reward for an answer, and what the scorer said."""
        if self.fault is not None:
            return None, Scored(None, self.fault)
        said = ask(self.scorer, answer, self.entry)
        number = said.number or 0.0
        if self.floor >= 1:  # it takes anything: only the gold itself is known to be right
            return float(answer.casefold() == str(self.entry["answer"]).strip().casefold()), said
        if partial:
            return min(1.0, max(0.0, (number - self.floor) / (1 - self.floor))), said
        return float(number >= 1), said


def warm() -> None:
    """Imports reasoning-gym. RuleError where it is not installed."""
    try:
        with warnings.catch_warnings():  # of a library that it imports, about that one's own syntax
            warnings.simplefilter("ignore", SyntaxWarning)
            import reasoning_gym  # noqa: F401
    except ImportError:
        hint = "Run: pip install 'grpo-toolkit[tasks]'"
        raise RuleError("reasoning-gym is not installed", "gym", hint) from None


@rule("gym", grades_answer=True, warm=warm)
def gym(
    prompts: Sequence[Any],
    completions: Sequence[Any],
    answer: Sequence[Any],
    metadata: Sequence[Mapping[str, Any]],
    task: Sequence[str | None] | None = None,
    task_options: Sequence[Mapping[str, Any] | None] | None = None,
    log_extra: Callable[[str, list[Any]], None] | None = None,
    *,
    partial: bool = False,
    **columns: Any,
) -> list[float | None]:
    r"""1 where the row's task in reasoning-gym gives the final answer its full score, else 0.

        r_i = 1[s(final(o_i)) >= 1];  with partial, max(0, (s(final(o_i)) - f) / (1 - f)),  f = s("?")

    s is the scorer of the row's task, f what it gives to garbage. Where f is 1, the answer must equal the
    gold. Where s raises, the score is 0; where it gives less than 1 to the row's own gold, None. Answers that
    a scorer evaluates may compute and nothing else (rewards/plain_eval.py). Logs for each completion its
    `verdict` (right, wrong, unextracted, ungraded), `scorer_score`, the `extracted` answer and a `fault`.

    Source: reasoning-gym, arXiv:2505.24760 (verifiers of its tasks); the floor is our own.

    Args:
        prompts: [G] the questions.
        completions: [G] strings or lists of messages.
        answer: [G] golds; None in tasks that have none.
        metadata: [G] the entry's, as reasoning-gym made it.
        task: [G] the task's name; `source_dataset` in the metadata where it is left out.
        task_options: [G] what the task was made with; its defaults where it is left out.
        partial: gives the scorer's number above its floor instead of 0.

    Returns:
        [G] scores.
    """
    count = len(completions)
    tasks, options = task or [None] * count, task_options or [None] * count
    judges: dict[tuple[Any, ...], Judge] = {}
    scores: list[float | None] = []
    logged: list[tuple[str, float | None, str | None, str | None]] = []
    for i, completion in enumerate(completions):
        row = (id(metadata[i]), text_of(prompts[i]), answer[i], tasks[i])
        if row not in judges:
            entry = {"question": row[1], "answer": answer[i], "metadata": metadata[i]}
            judges[row] = judge_of(scorer_of(metadata[i], tasks[i], options[i]), entry)
        text = final_answer(text_of(completion))
        score, said = (0.0, Scored(None)) if text is None else judges[row].score(text, partial)
        scores.append(score)
        logged.append((verdict_of(score, text), said.number, text, said.fault))
    if log_extra is not None:
        names = ("verdict", "scorer_score", "extracted", "fault")
        for name, values in zip(names, zip(*logged, strict=True), strict=False):
            log_extra(name, list(values))
    return scores


def verdict_of(score: float | None, extracted: str | None) -> str:
    """The verdict, in `accuracy`'s words; an answer right in part is wrong."""
    if extracted is None:
        return "unextracted"
    return "ungraded" if score is None else "right" if score >= 1 else "wrong"


def judge_of(scorer: Scorer, entry: Entry) -> Judge:
    """Asks the scorer of garbage and of the row's own gold."""
    gold = entry["answer"]
    floor = ask(scorer, GARBAGE, entry).number or 0.0
    said = Scored(1.0) if gold is None else ask(scorer, str(gold), entry)
    fault = None
    if said.number is None or said.number < 1:
        fault = f"the scorer gives its own gold {said.number}" + (f": {said.fault}" if said.fault else "")
    return Judge(scorer, entry, floor, fault)


def ask(scorer: Scorer, answer: str, entry: Entry) -> Scored:
    """What the scorer says of an answer. May run for ever on a hostile one."""
    with plain_eval() as refused:
        try:
            number = float(scorer(answer, entry))
        except (MemoryError, RecursionError):  # limits of the process, which the runner counts as such
            raise
        except Exception as error:
            return Scored(None, f"{type(error).__name__}: {error}"[:200])
    if refused:  # the scorer may have swallowed it
        return Scored(0.0, f"not evaluated: {refused[0]}")
    return Scored(number) if math.isfinite(number) else Scored(None, f"the scorer gives {number}")


def scorer_of(metadata: Any, task: str | None, options: Mapping[str, Any] | None) -> Scorer:
    """The scorer of a row's task. RuleError where the row does not say which, or says none that there is."""
    if not isinstance(metadata, Mapping):
        hint = "Keep the entry's metadata in a column of that name"
        raise RuleError(f"the metadata of a row is {metadata!r:.40}", "gym", hint)
    name = task or metadata.get("source_dataset")
    if not name:
        raise RuleError("a row does not say its task", "gym", "Name it in a column `task`")
    return _scorer(str(name), json.dumps(options or {}, sort_keys=True, default=str))


@lru_cache(maxsize=256)
def _scorer(name: str, options: str) -> Scorer:
    warm()
    import reasoning_gym
    from reasoning_gym.factory import DATASETS

    if name not in DATASETS:
        raise RuleError(f"no task {name!r}", "gym", nearest(name, DATASETS))
    try:
        scorer: Scorer = reasoning_gym.create_dataset(name, **json.loads(options)).score_answer
    except (TypeError, ValueError, AssertionError) as error:
        raise RuleError(f"the task's options do not fit: {error}", f"gym: {name}") from None
    return scorer
