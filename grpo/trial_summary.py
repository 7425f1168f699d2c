"""What came of a rule tried on a file: counts, timings, and its verdicts against labels."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from grpo.trial import Label, Row
from rewards.runner import Score

OUTCOMES = ("right", "wrong", "ungraded")
WORDS: dict[Label, str | None] = {1.0: "right", 0.0: "wrong", "ungraded": "ungraded", None: None}
EQUAL_WITHIN = 1e-6  # of two scores
Confusion = dict[str, dict[str, int]]  # label, outcome: count


@dataclass
class Summary:
    """What came of a file."""

    rule: str
    rows: int
    mean: float | None = None  # of the scores given
    statuses: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)  # p50, p99 and max a completion
    labelled: int = 0
    confusion: Confusion | None = None  # None unless every label is right, wrong or ungraded
    disagreements: list[Row] = field(default_factory=list)  # line, label, score, what the rule logged
    error: str | None = None  # the first of a rule that raised, ran too long or crashed, with its line


def outcome(score: Score) -> str:
    """`right` for a score of at least 1, `wrong` for less, `ungraded` where the rule did not judge."""
    if score.score is None or score.ungraded:
        return "ungraded"
    return "right" if score.score >= 1 - EQUAL_WITHIN else "wrong"


def confusion(labels: Sequence[Label], scores: Sequence[Score]) -> Confusion | None:
    """Counts by label and outcome; None where nothing is labelled or a label is a score of another value."""
    if any(label not in WORDS for label in labels) or not any(label is not None for label in labels):
        return None
    counts = Counter((WORDS[label], outcome(score)) for label, score in zip(labels, scores, strict=True))
    return {label: {found: counts[label, found] for found in OUTCOMES} for label in OUTCOMES}


def differs(label: Label, score: Score, as_outcomes: bool) -> bool:
    """Whether a score is not what its label says. No score differs from any number.

    Args:
        as_outcomes: labels are right, wrong or ungraded, so that 1.1 is as right as 1.
    """
    if label is None:
        return False
    if as_outcomes or isinstance(label, str):
        return outcome(score) != WORDS[label]
    return score.score is None or abs(score.score - label) > EQUAL_WITHIN


def summarise(rule: str, scores: Sequence[Score], labels: Sequence[Label]) -> Summary:
    """Counts, timings, confusion and disagreements."""
    given = [score.score for score in scores if score.score is not None]
    times = sorted(score.seconds for score in scores)
    lines = list(enumerate(zip(scores, labels, strict=True), 1))
    counted = confusion(labels, scores)
    return Summary(
        rule=rule,
        rows=len(scores),
        mean=statistics.fmean(given) if given else None,
        statuses=dict(Counter(score.status for score in scores)),
        seconds={"p50": quantile(times, 0.5), "p99": quantile(times, 0.99), "max": times[-1]},
        labelled=sum(label is not None for label in labels),
        confusion=counted,
        disagreements=[
            {"line": line, "label": label, "score": score.score, **score.extras}
            for line, (score, label) in lines
            if differs(label, score, as_outcomes=counted is not None)
        ],
        error=first_error([(f"line {line}", score) for line, (score, _) in lines]),
    )


def first_error(named: Sequence[tuple[str, Score]]) -> str | None:
    """The first exception, overrun or crash, with the name of its row; None where there was none."""
    return next(
        (f"{name}: {score.extras['error']}" for name, score in named if "error" in score.extras), None
    )


def quantile(ordered: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of the sorted values do not exceed."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def rates(found: Confusion) -> dict[str, tuple[int, int]]:
    """`false positives` of the wrong ones and `false negatives` of the right ones, each with their number."""
    wrong, right = found["wrong"], found["right"]
    return {
        "false positives": (wrong["right"], sum(wrong.values())),
        "false negatives": (right["wrong"] + right["ungraded"], sum(right.values())),
    }
