import math
import statistics

import pytest
import torch

from grpo.advantages import group_mean, group_norm, leave_one_out, total_rewards

NAN = math.nan
ONE = torch.ones(1)
ESTIMATORS = [group_norm, group_mean, leave_one_out]


def of(*rows: list[float]) -> torch.Tensor:
    """Scores of one rule, [P, G, 1]."""
    return torch.tensor(rows, dtype=torch.float64).unsqueeze(-1)


def test_total_rewards_weighs_the_rules_that_scored():
    scores = torch.tensor([[[1.0, 0.5], [NAN, 0.5], [NAN, NAN]]])
    total = total_rewards(scores, torch.tensor([2.0, 0.1]))
    assert torch.allclose(total[0, :2], torch.tensor([2.05, 0.05], dtype=torch.float64))
    assert total[0, 2].isnan()


def test_group_norm_is_written_as_in_the_paper():
    rows = [[1.0, 0.0, 0.0, 0.5], [0.2, 0.9, 0.4, 0.4]]
    expected = [[(r - statistics.mean(row)) / (statistics.stdev(row) + 1e-4) for r in row] for row in rows]
    found = group_norm(of(*rows), ONE)
    assert found.dtype == torch.float32
    assert torch.allclose(found, torch.tensor(expected), atol=1e-6)


def test_group_norm_options():
    row = [1.0, 0.0, 0.0, 0.5]
    mean, sd = statistics.mean(row), statistics.pstdev(row)
    expected = torch.tensor([[(r - mean) / (sd + 0.1) for r in row]])
    assert torch.allclose(group_norm(of(row), ONE, eps=0.1, ddof=0), expected, atol=1e-6)


def test_group_mean_keeps_the_scale():
    assert torch.allclose(group_mean(of([4.0, 0.0, 2.0, 2.0]), ONE), torch.tensor([[2.0, -2.0, 0.0, 0.0]]))


def test_leave_one_out_compares_with_the_others():
    row = [1.0, 0.0, 0.0, 0.6]
    expected = [r - (sum(row) - r) / 3 for r in row]
    assert torch.allclose(leave_one_out(of(row), ONE), torch.tensor([expected]), atol=1e-6)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_equal_rewards_give_exactly_zero(estimator):
    # 0.1 + 0.2 and 0.3 + 0.0 are equal rewards; in binary they differ by 5e-17, in float32 by 1e-8
    for dtype in (torch.float64, torch.float32):
        scores = torch.tensor([[[0.1, 0.2], [0.3, 0.0], [0.0, 0.3], [0.2, 0.1]]], dtype=dtype)
        assert estimator(scores, torch.ones(2)).tolist() == [[0.0] * 4]
    cancelling = torch.tensor([[[0.1, 0.2, -0.3], [0.0, 0.0, 0.0]]], dtype=torch.float64)
    assert estimator(cancelling, torch.ones(3)).tolist() == [[0.0, 0.0]]
    assert estimator(of([1.0, 1.0, 1.0], [0.0, 0.0, 0.0]), ONE).eq(0).all()


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_small_real_differences_survive(estimator):
    found = estimator(of([1.0, 1.0, 1.001]), ONE)
    assert found[0, 2] > 0 > found[0, 0]


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_unscored_completions_take_no_part(estimator):
    scored = estimator(of([1.0, 0.0, 0.25]), ONE)
    mixed = estimator(of([1.0, NAN, 0.0, NAN, 0.25]), ONE)
    assert torch.equal(mixed[:, [0, 2, 4]], scored)
    assert mixed[0, [1, 3]].tolist() == [0.0, 0.0]


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_fewer_than_two_scored_give_zero(estimator):
    assert estimator(of([1.0, NAN, NAN], [NAN, NAN, NAN]), ONE).tolist() == [[0.0] * 3] * 2


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_the_better_completion_gets_the_greater_advantage(estimator):
    found = estimator(of([0.0, 1.0], [5.0, -5.0]), ONE)
    assert found[0, 1] > 0 > found[0, 0]
    assert found[1, 0] > 0 > found[1, 1]
    assert torch.allclose(found.sum(1), torch.zeros(2), atol=1e-6)
