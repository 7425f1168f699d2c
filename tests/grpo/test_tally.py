import pytest
import torch

from grpo.tally import Tally


def test_add_is_the_mean_over_all_chunks_not_of_their_means():
    tally = Tally()
    tally.add("a", torch.tensor([1.0, 2.0, 3.0]))
    tally.add("a", torch.tensor([10.0]))
    assert tally.values() == {"a": 4.0}


def test_add_weighs():
    tally = Tally()
    tally.add("a", torch.tensor([1.0, 3.0]), torch.tensor([3.0, 1.0]))
    assert tally.values() == {"a": 1.5}


def test_peak_and_total():
    tally = Tally(optimiser_steps=2)
    for values in ([1.0, 5.0], [2.0]):
        tally.peak("high", torch.tensor(values))
        tally.total("loss", torch.tensor(values).sum())
    assert tally.values() == {"high": 5.0, "loss": 4.0}


def test_no_data_gives_no_key():
    tally = Tally()
    tally.add("a", torch.tensor([]))
    tally.peak("b", torch.tensor([]))
    tally.add("c", torch.tensor([1.0]), torch.tensor([0.0]))
    assert tally.values() == {}


def test_values_hold_no_graph_and_take_booleans():
    tally, x = Tally(), torch.tensor([2.0], requires_grad=True)
    tally.add("x", x * 2)
    tally.add("true", torch.tensor([True, False]))
    tally.total("loss", (x * 3).sum())
    assert tally.values() == {"x": 4.0, "true": 0.5, "loss": 6.0}
    assert not any(t.requires_grad for t in (*tally._sums.values(), *tally._totals.values()))


def test_float32_noise_does_not_add_up():
    tally = Tally()
    for _ in range(100):
        tally.add("a", torch.full((1000,), 0.1))
    assert tally.values()["a"] == pytest.approx(0.1, abs=1e-8)
