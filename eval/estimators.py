"""Accuracy and its 95 % interval, with the question as the sampling unit.

Completions of one question are alike, so counting them as independent trials makes an interval too narrow.
Axis letters: Q questions, K completions of a question (rows may differ in length).
"""

from __future__ import annotations

import functools
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from grpo.errors import UserError

LEVEL = 0.95
NORMAL_QUANTILE = statistics.NormalDist().inv_cdf(0.5 + LEVEL / 2)


@dataclass(frozen=True)
class Estimate:
    """A value and the ends of its 95 % interval. `value` is NaN where nothing was observed."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        if math.isnan(self.value):
            return "–"
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"

    def to_json(self) -> dict[str, float | list[float | None] | None]:
        """`{"value": …, "interval": [low, high]}`, with null for what is not known."""
        value, low, high = (x if math.isfinite(x) else None for x in (self.value, self.low, self.high))
        return {"value": value, "interval": [low, high]}


def pass_at_1(correct_QK: Sequence[Sequence[float]]) -> Estimate:
    """Mean over questions of each question's mean correctness; see `rate_estimate` for the interval.

    Args:
        correct_QK: [Q][K] 0 or 1 a completion; a question without completions is left out.
    """
    rows = [row for row in correct_QK if row]
    return rate_estimate([statistics.fmean(row) for row in rows], completions=sum(map(len, rows)))


def pass_at_k(correct_QK: Sequence[Sequence[float]], k: int) -> Estimate:
    """Unbiased chance that at least one of k completions is right: mean of 1 - C(n-c, k) / C(n, k).

    n completions of a question, c of them right; Chen et al. 2021 (2107.03374), equation 1.

    Args:
        correct_QK: [Q][K] 0 or 1 a completion, at least k of them a question.
        k: completions allowed.
    """
    shortest = min(map(len, correct_QK), default=k)
    if not 1 <= k <= shortest:
        raise UserError(f"pass@{k} of {shortest} completions", "k", f"Use 1 to {shortest}, or draw more")
    values = []
    for row in correct_QK:
        n, c = len(row), round(sum(row))
        values.append(1 - math.comb(n - c, k) / math.comb(n, k))
    return rate_estimate(values, completions=len(values))


def rate_estimate(values_Q: Sequence[float], completions: int) -> Estimate:
    """Mean of per-question rates in [0, 1] with Korn and Graubard's interval (Survey Methodology 24, 1998).

    The exact binomial (Clopper-Pearson) interval at the effective sample size n* = m (1 - m) / (s² / Q),
    scaled by (z / t)² for the Q - 1 degrees of freedom of s², and kept between Q (rates in [0, 1] never vary
    more than coins of the same mean) and the number of completions. It never has zero width, and covers
    at least 95 % where a t interval fails: at the ends of the scale and for few questions.

    Args:
        values_Q: [Q] rates.
        completions: independent draws behind them all, at least Q.
    """
    questions = len(values_Q)
    if not questions:
        return Estimate(math.nan, 0.0, 1.0)
    mean = min(1.0, statistics.fmean(values_Q))
    size = float(questions)
    if questions > 1 and 0 < mean < 1:
        error = statistics.variance(values_Q) / questions
        scale = (NORMAL_QUANTILE / t_quantile(questions - 1)) ** 2
        effective = scale * mean * (1 - mean) / error if error > 0 else math.inf
        size = float(min(completions, max(size, effective)))
    right, tail = size * mean, (1 - LEVEL) / 2
    low = beta_quantile(tail, right, size - right + 1) if mean > 0 else 0.0
    high = beta_quantile(1 - tail, right + 1, size - right) if mean < 1 else 1.0
    return Estimate(mean, min(low, mean), max(high, mean))


def mean_estimate(values_Q: Sequence[float]) -> Estimate:
    """Mean of unbounded per-question values (a length, a score) with the t interval over questions.

    Where no value is negative, neither is the interval.

    Args:
        values_Q: [Q] values; with fewer than two the interval is not known (NaN).
    """
    if len(values_Q) < 2:
        return Estimate(values_Q[0] if values_Q else math.nan, math.nan, math.nan)
    mean = statistics.fmean(values_Q)
    half = t_quantile(len(values_Q) - 1) * statistics.stdev(values_Q) / math.sqrt(len(values_Q))
    least = 0.0 if min(values_Q) >= 0 else -math.inf
    return Estimate(mean, max(least, mean - half), mean + half)


@functools.cache
def t_quantile(degrees: float) -> float:
    """Two-sided 95 % point of Student's t, from the beta quantile: P(|T| > t) = I_{d/(d+t²)}(d/2, 1/2)."""
    x = beta_quantile(1 - LEVEL, degrees / 2, 0.5)
    return math.sqrt(degrees * (1 / x - 1))


def beta_quantile(probability: float, a: float, b: float) -> float:
    """x with I_x(a, b) = probability, by Newton steps kept inside a shrinking bracket."""
    low, high, x = 0.0, 1.0, a / (a + b)
    while low < x < high:
        error = beta_cdf(x, a, b) - probability
        low, high = (x, high) if error < 0 else (low, x)
        log_density = (a - 1) * math.log(x) + (b - 1) * math.log1p(-x) - _log_beta(a, b)
        newton = x - error * math.exp(min(-log_density, 700.0))  # outside the bracket where it is that flat
        after = newton if low < newton < high else (low + high) / 2
        if abs(after - x) <= 1e-14 * x:
            break
        x = after
    return x


def beta_cdf(x: float, a: float, b: float) -> float:
    """Regularised incomplete beta function I_x(a, b): continued fraction DLMF 8.17.22 by Lentz's method."""
    if x <= 0 or x >= 1:
        return float(x >= 1)
    if x > (a + 1) / (a + b + 2):  # the fraction converges fast on this side only
        return 1 - beta_cdf(1 - x, b, a)
    log_front = a * math.log(x) + b * math.log1p(-x) - _log_beta(a, b)
    tiny, c, d, fraction = 1e-300, 1.0, 0.0, 1.0
    for term in range(2 * 10**5):
        m = term // 2
        if term == 0:
            step = 1.0
        elif term % 2:
            step = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        else:
            step = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        d = 1 / ((1 + step * d) or tiny)
        c = (1 + step / c) or tiny
        fraction *= c * d
        if abs(c * d - 1) < 1e-15:
            break
    return math.exp(log_front) * (fraction - 1) / a


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
