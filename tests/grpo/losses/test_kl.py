import torch

from grpo.losses.kl import k3, k3_estimate


def test_k3_estimate_has_the_kl_as_its_mean():
    p, q = torch.tensor([0.7, 0.2, 0.1]).double(), torch.tensor([0.3, 0.3, 0.4]).double()
    exact = (p * (p / q).log()).sum()
    estimates = k3_estimate(p.log(), q.log())
    assert torch.allclose((p * estimates).sum(), exact)
    assert (estimates >= 0).all()
    assert not torch.allclose((p * k3_estimate(q.log(), p.log())).sum(), exact)  # the sides matter


def test_k3_pulls_towards_the_reference():
    logp = torch.tensor([-1.0, -3.0], requires_grad=True)
    ref = torch.tensor([-2.0, -2.0])
    k3(logp, ref, coef=0.5).sum().backward()
    # d/dlogp coef (e^(ref-logp) - (ref-logp) - 1) = coef (1 - e^(ref-logp))
    assert torch.allclose(logp.grad, 0.5 * (1 - (ref - logp.detach()).exp()))
    assert logp.grad[0] > 0 > logp.grad[1]


def test_k3_is_off_when_left_out():
    assert k3(torch.tensor([-1.0]), torch.tensor([-2.0])).item() == 0.0
