"""Log-probs and entropies from hidden states, a tile of tokens at a time.

Logits of T tokens over a vocabulary V are the largest tensor of an update. Here they exist for one tile of
tokens only, in the forward pass and, recomputed, in the backward pass.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


class _TiledLogprobs(torch.autograd.Function):
    """(hidden [T, H], weight [V, H], bias [V] or None, targets [T]) to log-probs [T] and entropies [T].

    With z = logits / temperature and p = softmax(z): log p_y = z_y - logsumexp(z), H = -Σ p log p, so that
    ∂log p_y/∂z = 1_y - p and ∂H/∂z = -p (log p + H).
    """

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        targets: Tensor,
        temperature: float,
        tile: int,
        entropy_grad: bool,
    ) -> tuple[Tensor, Tensor]:
        cast = weight.to(hidden.dtype)
        wide = torch.promote_types(hidden.dtype, torch.float32)
        logp, entropy, normaliser = (hidden.new_empty(len(targets), dtype=wide) for _ in range(3))
        space, other = (_space(targets, cast, tile, wide) for _ in range(2))
        for start in range(0, len(targets), tile):
            part = slice(start, start + tile)
            z = _scores(hidden[part], cast, bias, temperature, space)
            highest = z.amax(-1, keepdim=True)
            z -= highest
            p = torch.exp(z, out=other[: len(z)])
            total = p.sum(-1)  # of which p is a share
            log_total = total.log()
            logp[part] = z.gather(-1, targets[part, None]).squeeze(-1) - log_total
            entropy[part] = log_total - p.mul_(z).sum(-1) / total
            normaliser[part] = log_total + highest.squeeze(-1)
        ctx.save_for_backward(hidden, cast, bias, targets, normaliser, entropy)
        ctx.temperature, ctx.tile, ctx.entropy_grad = temperature, tile, entropy_grad
        ctx.weight_dtype = weight.dtype
        if not entropy_grad:
            ctx.mark_non_differentiable(entropy)
        return logp, entropy

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        hidden, cast, bias, targets, normaliser, entropy = ctx.saved_tensors
        wide = normaliser.dtype
        need_hidden, need_weight, need_bias = ctx.needs_input_grad[:3]
        d_hidden = torch.empty_like(hidden) if need_hidden else None
        d_weight = torch.zeros_like(cast, dtype=wide) if need_weight else None
        d_bias = torch.zeros_like(bias, dtype=wide) if need_bias else None
        space = _space(targets, cast, ctx.tile, wide)
        for start in range(0, len(targets), ctx.tile):
            part = slice(start, start + ctx.tile)
            log_p = _scores(hidden[part], cast, bias, ctx.temperature, space).sub_(normaliser[part, None])
            d_logp = grads[0][part, None]
            if ctx.entropy_grad:
                d_z = log_p.exp()
                d_z *= log_p.add_(entropy[part, None]).mul_(grads[1][part, None]).add_(d_logp).neg_()
            else:
                d_z = log_p.exp_().mul_(-d_logp)
            d_z.scatter_add_(-1, targets[part, None], d_logp)
            d_z /= ctx.temperature
            narrow = d_z.to(hidden.dtype)
            if d_hidden is not None:
                d_hidden[part] = narrow @ cast
            if d_weight is not None and wide == narrow.dtype:
                d_weight.addmm_(narrow.t(), hidden[part])
            elif d_weight is not None:
                d_weight += narrow.t() @ hidden[part]
            if d_bias is not None:
                d_bias += d_z.sum(0)
        return (
            d_hidden,
            None if d_weight is None else d_weight.to(ctx.weight_dtype),
            None if d_bias is None else d_bias.to(bias.dtype),
            *(None,) * 4,
        )


def _space(targets: Tensor, weight: Tensor, tile: int, wide: torch.dtype) -> Tensor:
    """Room [tile, V] for the values of a tile, used by each in turn: new pages every time cost more."""
    return weight.new_empty(min(tile, len(targets)), len(weight), dtype=wide)


def _scores(hidden: Tensor, weight: Tensor, bias: Tensor | None, temperature: float, space: Tensor) -> Tensor:
    """Logits / temperature [tile, V] written into `space`, multiplied in the type of `hidden`."""
    z = space[: len(hidden)]
    if z.dtype == hidden.dtype:
        torch.mm(hidden, weight.t(), out=z)
    else:
        z.copy_(hidden @ weight.t())
    if bias is not None:
        z += bias
    return z.div_(temperature) if temperature != 1 else z


_tiled_logprobs: Callable[..., tuple[Tensor, Tensor]] = _TiledLogprobs.apply


def tiled_logprobs(
    hidden: Tensor,
    head_weight: Tensor,
    targets: Tensor,
    *,
    temperature: float,
    head_bias: Tensor | None = None,
    tile: int = 512,
    entropy_grad: bool = False,
) -> tuple[Tensor, Tensor]:
    """Log-probs of `targets` and the entropy at each token, at logits / temperature.

    Products are taken in the type of `hidden` (under autocast, in its type, as the head itself would be);
    everything after them, and the sum of the head's gradient over tiles, in float32.

    Args:
        hidden: [T, H] hidden states that predict the targets.
        head_weight: [V, H] weight of the output head, in its master type.
        targets: [T] int64 token ids.
        temperature: what the completions were sampled at.
        head_bias: [V] bias of the output head.
        tile: tokens whose logits exist at once.
        entropy_grad: whether the entropy carries a gradient.

    Returns:
        Log-probs [T] and entropies [T] in nats, float32 (float64 for float64 hidden states).
    """
    kind = hidden.device.type
    if torch.is_autocast_enabled(kind):
        hidden = hidden.to(torch.get_autocast_dtype(kind))
    return _tiled_logprobs(hidden, head_weight, head_bias, targets, temperature, tile, entropy_grad)
