import itertools
import math
import random
import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest

from eval.estimators import (
    beta_cdf,
    mean_estimate,
    pass_at_1,
    pass_at_k,
    rate_estimate,
    t_quantile,
)
from grpo.errors import UserError


def binomial_tail(successes: int, trials: int, p: Fraction) -> float:
    """P(X >= successes), exactly."""
    terms = (math.comb(trials, x) * p**x * (1 - p) ** (trials - x) for x in range(successes, trials + 1))
    return float(sum(terms))


def test_beta_cdf_is_the_binomial_tail():
    for trials, successes, p in [(5, 2, "0.3"), (40, 1, "0.01"), (300, 290, "0.95"), (1000, 500, "0.5")]:
        expected = binomial_tail(successes, trials, Fraction(p))
        assert beta_cdf(float(p), successes, trials - successes + 1) == pytest.approx(expected, abs=1e-12)


def test_beta_cdf_at_fractional_parameters():
    # I_x(1/2, 1/2) = 2/π asin √x
    for x in (1e-6, 0.2, 0.5, 0.97):
        assert beta_cdf(x, 0.5, 0.5) == pytest.approx(2 / math.pi * math.asin(math.sqrt(x)), abs=1e-12)


def test_t_quantile_matches_the_printed_table():
    table = {1: 12.706, 2: 4.303, 10: 2.228, 30: 2.042, 120: 1.980}
    assert {df: round(t_quantile(df), 3) for df in table} == table


def test_pass_at_1_is_the_mean_of_question_means():
    assert pass_at_1([[1, 0, 0, 0], [1], []]).value == pytest.approx((0.25 + 1) / 2)  # not 2 of 5


def test_all_alike_gives_the_exact_binomial_over_questions():
    estimate = pass_at_1([[0, 0, 0, 0]] * 30)  # 30 questions, not 120 trials
    assert (estimate.value, estimate.low) == (0, 0)
    assert estimate.high == pytest.approx(1 - 0.025 ** (1 / 30))  # Clopper-Pearson with no success
    mirrored = pass_at_1([[1, 1, 1, 1]] * 30)
    assert (mirrored.low, mirrored.high) == (pytest.approx(0.025 ** (1 / 30)), 1)


def test_one_sample_a_question_gives_clopper_pearson():
    estimate = pass_at_1([[1]] * 3 + [[0]] * 27)
    assert (round(estimate.low, 4), round(estimate.high, 4)) == (0.0211, 0.2653)  # published: 3 of 30


def test_interval_has_width_where_a_t_interval_has_none():
    estimate = pass_at_1([[1, 0]] * 30)
    assert estimate.low < 0.4 < 0.6 < estimate.high


def test_more_samples_narrow_the_interval_only_where_they_tell_more():
    alike = [[q % 2] for q in range(40)]
    once, four = pass_at_1(alike), pass_at_1([row * 4 for row in alike])
    assert (once.low, once.high) == (four.low, four.high)  # copies of one answer are no new evidence
    mixed = pass_at_1([[0, 1, 1, 0]] * 20 + [[1, 0, 1, 0]] * 20)
    assert mixed.high - mixed.low < once.high - once.low


def test_nothing_observed_is_nan_over_the_whole_range():
    estimate = pass_at_1([[], []])
    assert math.isnan(estimate.value)
    assert (estimate.low, estimate.high) == (0, 1)
    assert str(estimate) == "–"
    assert estimate.to_json() == {"value": None, "interval": [0, 1]}


@pytest.mark.parametrize("questions", [30, 200])
@pytest.mark.parametrize("samples", [1, 4])
@pytest.mark.parametrize("accuracy", [0.03, 0.1, 0.5, 0.9])
def test_coverage(questions, samples, accuracy):
    """At least 93 % for questions whose own rates are Beta distributed, from alike to nearly 0 or 1."""
    for concentration in (0.3, 2.0, math.inf):
        assert coverage(rate_estimate, questions, samples, accuracy, concentration) >= 0.93


def test_coverage_catches_an_interval_that_ignores_questions():
    def pooled(values_Q, completions):  # every completion an independent trial: what must not be done
        return rate_estimate(np.repeat(values_Q, completions // len(values_Q)).tolist(), completions)

    assert coverage(pooled, 30, 4, 0.5, 0.3) < 0.8


def test_coverage_catches_a_plain_t_interval():
    assert coverage(lambda values, completions: mean_estimate(values), 30, 1, 0.03, math.inf) < 0.93


def coverage(method, questions, samples, accuracy, concentration, repeats=600) -> float:
    """Share of simulated evaluations whose interval holds the true accuracy; equal draws are solved once."""
    random_ = np.random.default_rng([questions, samples, int(accuracy * 100)])
    rates = np.full((repeats, questions), accuracy)
    if math.isfinite(concentration):
        rates = random_.beta(accuracy * concentration, (1 - accuracy) * concentration, (repeats, questions))
    right = random_.binomial(samples, rates)
    _, first, counts = np.unique(
        np.stack([right.sum(1), (right**2).sum(1)]), axis=1, return_index=True, return_counts=True
    )  # mean and variance make the interval
    held = 0
    for draw, count in zip(right[first], counts, strict=True):
        estimate = method((draw / samples).tolist(), questions * samples)
        held += int(count) * (estimate.low <= accuracy <= estimate.high)
    return held / repeats


def test_pass_at_k_is_the_mean_over_all_subsets():
    rows = [[1, 0, 0, 0, 1], [0, 0, 0, 0, 0], [0, 1, 0, 0, 0, 0]]
    for k in range(1, 6):
        exact = [
            sum(any(subset) for subset in itertools.combinations(row, k)) / math.comb(len(row), k)
            for row in rows
        ]
        assert pass_at_k(rows, k).value == pytest.approx(sum(exact) / 3, abs=1e-12)
    assert pass_at_k(rows, 1).value == pytest.approx(pass_at_1(rows).value)


def test_pass_at_k_of_too_few_samples_says_so():
    with pytest.raises(UserError, match="pass@3 of 2 completions"):
        pass_at_k([[1, 0, 1], [0, 1]], 3)
    with pytest.raises(UserError):
        pass_at_k([[1, 0]], 0)


def test_a_mean_of_lengths_has_no_negative_bound():
    estimate = mean_estimate([1.0, 0.0, 40.0])
    assert estimate.low == 0
    assert mean_estimate([1.0, -1.0, 40.0]).low < 0
    assert estimate.high == mean_estimate([2.0, 1.0, 41.0]).high - 1


def test_mean_estimate_is_the_t_interval():
    estimate = mean_estimate([1.0, 2.0, 3.0, 4.0])
    half = 3.182 * math.sqrt(5 / 3) / 2  # t of 3 degrees, standard deviation of 1 to 4
    assert (estimate.value, estimate.low) == (2.5, pytest.approx(2.5 - half, abs=1e-3))
    assert math.isnan(mean_estimate([7.0]).high)


def test_interval_always_holds_its_value():
    draw = random.Random(0)
    for _ in range(300):
        rows = [
            [float(draw.random() < 0.2) for _ in range(draw.randint(0, 4))] for _ in range(draw.randint(1, 9))
        ]
        estimate = pass_at_1(rows)
        if any(rows):
            assert 0 <= estimate.low <= estimate.value <= estimate.high <= 1


def test_import_is_light():
    code = "import eval, sys; eval.pass_at_1([[1]]); print({'torch', 'numpy', 'vllm'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
