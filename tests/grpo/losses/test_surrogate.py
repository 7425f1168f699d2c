import pytest
import torch

from grpo.losses.surrogate import clip

# ratio, advantage, loss, gradient of the loss by the ratio; bounds 0.8 and 1.3
TABLE = [
    (1.0, 2.0, -2.0, -2.0),
    (1.2, 2.0, -2.4, -2.0),
    (1.5, 2.0, -2.6, 0.0),  # high bound acts
    (0.5, 2.0, -1.0, -2.0),  # below the low bound a good token may still come back
    (1.0, -2.0, 2.0, 2.0),
    (0.5, -2.0, 1.6, 0.0),  # low bound acts
    (1.5, -2.0, 3.0, 2.0),  # above the high bound a bad token may still come back
    (1.5, 0.0, 0.0, 0.0),
]


@pytest.mark.parametrize(("ratio", "advantage", "loss", "slope"), TABLE)
def test_clip(ratio, advantage, loss, slope):
    w = torch.tensor([ratio], requires_grad=True)
    values, _ = clip(w, torch.tensor([advantage]), low=0.2, high=0.3)
    values.sum().backward()
    assert values.item() == pytest.approx(loss)
    assert w.grad.item() == pytest.approx(slope, abs=1e-7)


def test_clip_reports_where_each_bound_acts():
    rows = [(ratio, advantage) for ratio, advantage, _, _ in TABLE]
    w, a = torch.tensor(rows).unbind(1)
    _, measures = clip(w, a, low=0.2, high=0.3)
    assert measures["policy/clip_ratio_low"].nonzero().flatten().tolist() == [5]
    assert measures["policy/clip_ratio_high"].nonzero().flatten().tolist() == [2]


def test_bounds_are_02_when_left_out():
    w, a = torch.tensor([1.19, 1.21, 0.81, 0.79]), torch.tensor([1.0, 1.0, -1.0, -1.0])
    loss, _ = clip(w, a)
    assert torch.allclose(loss, torch.tensor([-1.19, -1.2, 0.81, 0.8]))
