"""Draws, scores and summarises completions of a set of prompts under the engine's current weights."""

from __future__ import annotations

import math
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from eval.estimators import Estimate, mean_estimate, pass_at_1, rate_estimate
from grpo.errors import UserError
from grpo.gather import gather
from grpo.types import Group, Prompt, Sampling

if TYPE_CHECKING:
    from grpo.rollout.engine import RolloutEngine
    from grpo.scoring import Scorer
    from rewards.runner import Score

SEED_STEP = -1  # in place of a training step: every evaluation of a run draws with the same seeds


@dataclass(frozen=True)
class Style:
    """Completions that share a way of answering: their share of all, and their accuracy."""

    share: Estimate
    pass_at_1: Estimate


@dataclass(frozen=True)
class Evaluation:
    """One set of prompts under one version of the policy."""

    name: str
    version: int  # policy version that drew the completions
    prompts: int  # questions asked
    samples: int  # completions drawn for each
    pass_at_1: Estimate  # by the rules that grade the answer; NaN where there is none
    rules: dict[str, Estimate]  # mean score by rule
    extras: dict[str, float]  # mean of each numeric extra, "rule/extra"
    styles: dict[str, Style]  # "thinking" and "direct", where a rule reports the extra `thinks`
    mean_length: Estimate  # sampled tokens a completion
    truncated: float  # share of completions cut at max_tokens
    ungraded: int  # completions that no answer-grading rule gave a score; left out of pass@1
    failed: int  # completions the engine could not finish; left out everywhere
    tokens: int  # sampled tokens
    seconds: float
    groups: tuple[Group, ...]  # in the order of the prompts

    def metrics(self) -> dict[str, float]:
        """Flat values for metrics.jsonl, named eval/<set>/…; what was not observed is left out."""
        values = {
            "pass@1": self.pass_at_1.value,
            "pass@1_low": self.pass_at_1.low,
            "pass@1_high": self.pass_at_1.high,
            "mean_length": self.mean_length.value,
            "clipped_ratio": self.truncated,
            "ungraded": float(self.ungraded),
            "failed": float(self.failed),
            "tokens": float(self.tokens),
            "seconds": self.seconds,
        }
        if math.isnan(self.pass_at_1.value):
            del values["pass@1_low"], values["pass@1_high"]
        values |= {f"reward/{rule}": estimate.value for rule, estimate in self.rules.items()}
        values |= {f"reward/{extra}": value for extra, value in self.extras.items()}
        values |= {f"{name}/share": style.share.value for name, style in self.styles.items()}
        values |= {f"{name}/pass@1": style.pass_at_1.value for name, style in self.styles.items()}
        return {f"eval/{self.name}/{key}": value for key, value in values.items() if math.isfinite(value)}

    def to_json(self) -> dict[str, Any]:
        """Everything but the completions, ready for JSON (null for what is not known)."""
        accuracy, length = self.pass_at_1.to_json(), self.mean_length.to_json()
        return {
            "set": self.name,
            "version": self.version,
            "prompts": self.prompts,
            "samples": self.samples,
            "pass@1": accuracy["value"],
            "interval": accuracy["interval"],
            "mean_length": length["value"],
            "mean_length_interval": length["interval"],
            "rules": {rule: estimate.to_json() for rule, estimate in self.rules.items()},
            "extras": self.extras,
            "styles": {
                name: {"share": style.share.to_json(), "pass@1": style.pass_at_1.to_json()}
                for name, style in self.styles.items()
            },
            "truncated": self.truncated if math.isfinite(self.truncated) else None,
            "ungraded": self.ungraded,
            "failed": self.failed,
            "tokens": self.tokens,
            "seconds": self.seconds,
        }


def evaluate(
    engine: RolloutEngine,
    scorer: Scorer,
    prompts: Sequence[Prompt],
    sampling: Sampling,
    samples: int,
    *,
    seed: int,
    name: str,
) -> Evaluation:
    """Draws `samples` completions of each prompt, scores them and summarises.

    Seeds hash the run's seed, the prompt and the sample, not the step, so that two evaluations differ by
    the weights alone.

    Args:
        engine: idle; its current version is what is evaluated.
        scorer: idle; may be the one that training uses.
        name: of the set, as in the metrics eval/<name>/….
    """
    if not prompts or samples < 1:
        raise UserError(f"{len(prompts)} prompts of {samples} samples", f"eval of {name}", "Use 1 or more")
    start = time.monotonic()
    drawn = gather(engine, scorer, prompts, samples, sampling, run_seed=seed, step=SEED_STEP)
    return summarise(
        drawn.groups,
        scorer.names,
        [rule.grades_answer for rule in scorer.rules],
        name=name,
        version=engine.version,
        prompts=len(prompts),
        samples=samples,
        failed=drawn.failed,
        seconds=time.monotonic() - start,
    )


def summarise(
    groups: Sequence[Group],
    names: Sequence[str],
    graders: Sequence[bool],
    *,
    name: str,
    version: int,
    prompts: int,
    samples: int,
    failed: int = 0,
    seconds: float = 0.0,
) -> Evaluation:
    """Estimates from scored groups: means over questions of each question's mean (names and graders: [K])."""
    lengths = [[float(sum(rollout.sampled)) for rollout in group.rollouts] for group in groups]
    verdicts = [[correct(scores, graders) for scores in group.scores] for group in groups]
    cut = [rollout.finish_reason == "length" for group in groups for rollout in group.rollouts]
    return Evaluation(
        name=name,
        version=version,
        prompts=prompts,
        samples=samples,
        pass_at_1=pass_at_1([_known(row) for row in verdicts]),
        rules={rule: _score_estimate(groups, k) for k, rule in enumerate(names)},
        extras=_extra_means(groups, names),
        styles=_styles(groups, verdicts),
        mean_length=mean_estimate([statistics.fmean(row) for row in lengths]),
        truncated=statistics.fmean(cut) if cut else math.nan,
        ungraded=sum(verdict is None for row in verdicts for verdict in row) if any(graders) else 0,
        failed=failed,
        tokens=int(sum(map(sum, lengths))),
        seconds=seconds,
        groups=tuple(groups),
    )


def correct(scores_K: Sequence[Score], graders_K: Sequence[bool]) -> float | None:
    """1 where each answer-grading rule that gave a score gave at least 1, else 0; None where none did."""
    pairs = zip(scores_K, graders_K, strict=True)
    graded = [score.score for score, grades in pairs if grades and score.score is not None]
    return float(min(graded) >= 1) if graded else None


def _known(values: Sequence[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def _score_estimate(groups: Sequence[Group], rule: int) -> Estimate:
    rows = [_known([scores[rule].score for scores in group.scores]) for group in groups]
    means = [statistics.fmean(row) for row in rows if row]
    if all(0 <= value <= 1 for row in rows for value in row):
        return rate_estimate(means, completions=sum(map(len, rows)))
    return mean_estimate(means)


def _extra_means(groups: Sequence[Group], names: Sequence[str]) -> dict[str, float]:
    seen: dict[str, list[float]] = defaultdict(list)
    for group in groups:
        for scores in group.scores:
            for rule, score in zip(names, scores, strict=True):
                for extra, value in score.extras.items():
                    if isinstance(value, bool | int | float):
                        seen[f"{rule}/{extra}"].append(float(value))
    return {key: statistics.fmean(values) for key, values in seen.items()}


def _styles(groups: Sequence[Group], verdicts: Sequence[Sequence[float | None]]) -> dict[str, Style]:
    thinks = [[_thinks(scores) for scores in group.scores] for group in groups]
    if not any(value is not None for row in thinks for value in row):
        return {}

    def style(belongs: Callable[[float], bool]) -> Style:
        shares = [[float(belongs(value)) for value in _known(row)] for row in thinks]
        rows = [
            _known(
                [
                    verdict
                    for verdict, value in zip(*pair, strict=True)
                    if value is not None and belongs(value)
                ]
            )
            for pair in zip(verdicts, thinks, strict=True)
        ]
        return Style(pass_at_1(shares), pass_at_1(rows))

    return {"thinking": style(lambda value: value > 0), "direct": style(lambda value: value <= 0)}


def _thinks(scores_K: Sequence[Score]) -> float | None:
    """The extra `thinks` of whichever rule reports it."""
    return next((float(score.extras["thinks"]) for score in scores_K if "thinks" in score.extras), None)
