import math

import torch

from grpo.losses.ratio import token


def test_token_is_the_quotient_of_probabilities(chunk_of):
    old = torch.tensor([0.5, 0.25, 0.1]).log()
    new = torch.tensor([0.25, 0.5, 0.1]).log()
    assert torch.allclose(token(new, old, chunk_of([3], [1.0])), torch.tensor([0.5, 2.0, 1.0]))


def test_token_has_the_gradient_of_a_probability_ratio(chunk_of):
    logp = torch.tensor([-1.0, -2.0], requires_grad=True)
    token(logp, torch.tensor([-1.5, -1.0]), chunk_of([2], [1.0])).sum().backward()
    assert torch.allclose(logp.grad, torch.tensor([math.exp(0.5), math.exp(-1.0)]))
