import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from grpo.logprobs import tiled_logprobs

T, H, V = 37, 16, 51


def made(dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(T, H, generator=generator).to(dtype).requires_grad_()
    weight = torch.randn(V, H, generator=generator).requires_grad_()
    bias = torch.randn(V, generator=generator).requires_grad_()
    return hidden, weight, bias, torch.randint(V, (T,), generator=generator)


def plain(hidden, weight, bias, targets, temperature):
    """Log-probs and entropies by the definition, in float64."""
    logp = ((hidden @ weight.t() + bias) / temperature).log_softmax(-1)
    return logp.gather(1, targets[:, None])[:, 0], -(logp.exp() * logp).sum(-1)


@pytest.mark.parametrize("tile", [1, 10, 37, 1024])
@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_values_and_gradients_are_those_of_float64(tile, temperature):
    hidden, weight, bias, targets = made()
    exact = [x.detach().double().requires_grad_() for x in (hidden, weight, bias)]
    logp, entropy = tiled_logprobs(
        hidden, weight, targets, temperature=temperature, head_bias=bias, tile=tile, entropy_grad=True
    )
    logp64, entropy64 = plain(*exact, targets, temperature)
    assert torch.allclose(logp.double(), logp64, atol=1e-5)
    assert torch.allclose(entropy.double(), entropy64, atol=1e-5)
    pull = torch.linspace(-1, 2, T)
    (pull * logp + pull.flip(0) * entropy).sum().backward()
    (pull.double() * logp64 + pull.flip(0).double() * entropy64).sum().backward()
    for ours, theirs in zip((hidden, weight, bias), exact, strict=True):
        assert torch.allclose(ours.grad.double(), theirs.grad, atol=1e-4, rtol=1e-4)


def test_entropy_carries_a_gradient_only_when_asked():
    hidden, weight, _, targets = made()
    logp, entropy = tiled_logprobs(hidden, weight, targets, temperature=1.0)
    assert logp.requires_grad
    assert not entropy.requires_grad


def test_a_frozen_head_gets_no_gradient():
    hidden, weight, _, targets = made()
    logp, _ = tiled_logprobs(hidden, weight.requires_grad_(False), targets, temperature=1.0)
    logp.sum().backward()
    assert hidden.grad.abs().sum() > 0
    assert weight.grad is None


def test_bfloat16_hidden_states_with_a_float32_head():
    hidden, weight, bias, targets = made(torch.bfloat16)
    logp, entropy = tiled_logprobs(hidden, weight, targets, temperature=1.0, head_bias=bias, tile=10)
    exact, _ = plain(*(x.detach().double() for x in (hidden, weight, bias)), targets, 1.0)
    assert logp.dtype == entropy.dtype == torch.float32
    assert (logp.double() - exact).abs().max() < 0.2  # of logits up to 15, whose bfloat16 step is 1/16
    logp.sum().backward()
    assert weight.grad.dtype == torch.float32
    assert hidden.grad.dtype == torch.bfloat16


def test_autocast_multiplies_in_its_own_type():
    hidden, weight, _, targets = made()
    with torch.autocast("cpu", torch.bfloat16):
        under, _ = tiled_logprobs(hidden, weight, targets, temperature=1.0)
    cast, _ = tiled_logprobs(hidden.detach().bfloat16(), weight, targets, temperature=1.0)
    assert torch.equal(under, cast)
    under.sum().backward()
    assert hidden.grad.dtype == torch.float32


def test_no_tokens():
    hidden, weight, _, targets = made()
    logp, entropy = tiled_logprobs(hidden[:0], weight, targets[:0], temperature=1.0)
    assert logp.shape == entropy.shape == (0,)


class Largest(TorchDispatchMode):
    """Remembers the number of elements of the largest tensor that any operation returned."""

    elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, (tuple, list)) else (out,):
            if isinstance(tensor, torch.Tensor):
                self.elements = max(self.elements, tensor.numel())
        return out


def largest(function) -> int:
    with Largest() as seen:
        function()
    return seen.elements


def test_all_logits_never_exist_at_once():
    tokens, vocabulary, tile = 400, 300, 20
    hidden, weight = (
        torch.randn(tokens, 8, requires_grad=True),
        torch.randn(vocabulary, 8, requires_grad=True),
    )
    targets = torch.randint(vocabulary, (tokens,))

    def tiled():
        logp, entropy = tiled_logprobs(hidden, weight, targets, temperature=1.0, tile=tile, entropy_grad=True)
        (logp + entropy).sum().backward()

    def whole():
        (hidden @ weight.t()).log_softmax(-1).gather(1, targets[:, None]).sum().backward()

    assert largest(whole) == tokens * vocabulary
    assert largest(tiled) == tile * vocabulary
