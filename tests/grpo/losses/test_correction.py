import torch

from grpo.losses.correction import none, token_truncate


def test_none_is_one_everywhere(chunk_of):
    weight = none(torch.tensor([-1.0, -9.0]), torch.tensor([-2.0, -1.0]), chunk_of([2], [1.0]))
    assert weight.tolist() == [1.0, 1.0]


def test_token_truncate_caps_from_above_alone(chunk_of):
    old = torch.tensor([0.5, 0.9, 0.01]).log().requires_grad_()
    behaviour = torch.tensor([0.4, 0.1, 0.5]).log()
    weight = token_truncate(old, behaviour, chunk_of([3], [1.0]), cap=3.0)
    assert torch.allclose(weight, torch.tensor([1.25, 3.0, 0.02]))
    assert not weight.requires_grad


def test_cap_is_2_when_left_out(chunk_of):
    weight = token_truncate(torch.zeros(1), torch.tensor([-5.0]), chunk_of([1], [1.0]))
    assert weight.item() == 2.0
