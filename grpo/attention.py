"""Attention over sequences laid end to end: no padding through the model and no L x L mask.

Sequences of similar length are put into one bucket, padded on the right inside the attention alone, and
attended causally: no token sees padding, which stands to its right, and none sees another sequence.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from grpo.errors import UserError
from grpo.types import Chunk

NAME = "grpo_packed"
# A sequence joins a bucket if it is this share of its longest: of 0.3 to 0.95, what cost least at 20 to 1,500
# tokens. More buckets are more calls, fewer are more padding.
BUCKET_SHARE = 0.85


@dataclass
class Layout:
    """Where the tokens of a chunk stand in its buckets. Made once a forward pass, read by every layer."""

    buckets: tuple[tuple[int, int], ...]  # (sequences, padded length) of each bucket
    padded: Tensor  # [N] int64 packed token at each padded place; a sequence's padding repeats its last token
    packed: Tensor  # [L] int64 padded place of each packed token
    longest: int
    identity: bool  # no padding and no other order: nothing to move
    layers: int = 0  # layers that attended through this layout


def layout(lengths: Sequence[int], device: torch.device | str = "cpu") -> Layout:
    """The buckets of sequences with these lengths [S].

    Returns:
        A layout whose places cover every sequence padded to the longest of its bucket.
    """
    starts, total = [], 0
    for length in lengths:
        starts.append(total)
        total += length
    members: list[list[int]] = []
    for s in sorted(range(len(lengths)), key=lambda s: -lengths[s]):
        if not members or lengths[s] < BUCKET_SHARE * lengths[members[-1][0]]:
            members.append([])
        members[-1].append(s)
    order = [s for bucket in members for s in bucket]
    widths = [lengths[bucket[0]] for bucket in members for _ in bucket]
    real_width, width = torch.tensor([lengths[s] for s in order]), torch.tensor(widths)
    row = torch.repeat_interleave(torch.arange(len(order)), width)
    column = torch.arange(len(row)) - (width.cumsum(0) - width)[row]
    padded = torch.tensor([starts[s] for s in order])[row] + column.minimum(real_width[row] - 1)
    packed = torch.empty(total, dtype=torch.int64)
    real = column < real_width[row]
    packed[padded[real]] = torch.arange(len(padded))[real]
    return Layout(
        buckets=tuple((len(bucket), lengths[bucket[0]]) for bucket in members),
        padded=padded.to(device),
        packed=packed.to(device),
        longest=max(lengths),
        identity=bool(torch.equal(padded, torch.arange(total))),
    )


class _Pad(torch.autograd.Function):
    """Packed rows [L, ...] to padded rows [N, ...]. Padding has no gradient, so going back is a gather."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, padded: Tensor, packed: Tensor) -> Tensor:
        ctx.save_for_backward(packed)
        return rows.index_select(0, padded)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        return grads[0].index_select(0, ctx.saved_tensors[0]), None, None


class _Unpad(torch.autograd.Function):
    """Padded rows [N, ...] to packed rows [L, ...]. The gradient of padding is 0."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, packed: Tensor) -> Tensor:
        ctx.save_for_backward(packed)
        ctx.shape = rows.shape
        return rows.index_select(0, packed)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return grads[0].new_zeros(ctx.shape).index_copy_(0, ctx.saved_tensors[0], grads[0]), None


_pad: Callable[..., Tensor] = _Pad.apply
_unpad: Callable[..., Tensor] = _Unpad.apply


def _refuse(query: Tensor, key: Tensor, mask: Tensor | None, dropout: float, options: dict[str, Any]) -> None:
    """Raises UserError for what packed attention does not do, rather than leaving it out silently."""
    found: Layout | None = options.get("packed_layout")
    if found is None:
        raise UserError(f"{NAME} attention was called without a layout", "model", "Use packed_forward")
    window, longest = options.get("sliding_window"), found.longest
    wrong = {
        "dropout": dropout > 0,
        f"a sliding window of {window} over {longest} tokens": window and window < longest,
        "logit soft-capping": options.get("softcap") is not None,
        "attention sinks": options.get("s_aux") is not None,
        "a position bias": options.get("position_bias") is not None,
        "an attention mask": mask is not None,
        "attention that is not causal": options.get("is_causal") is False,
        "a batch or a cache": query.shape[0] != 1 or query.shape[2] != key.shape[2],
    }
    for what, present in wrong.items():
        if present:
            raise UserError(f"packed attention does not do {what}", "model", "Choose another base checkpoint")


def packed_attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **options: Any,
) -> tuple[Tensor, None]:
    """Causal attention within each sequence of a chunk, as transformers calls an attention function.

    Args:
        module: the attention layer; its `is_causal` is read.
        query: [B, heads, L, D], B = 1.
        key: [B, key heads, L, D]; fewer heads than the query's are shared by equal groups.
        value: [B, key heads, L, D of values].
        attention_mask: must be None.
        dropout: must be 0.
        scaling: factor on the products, 1/sqrt(D) when None.
        options: `packed_layout`, and what the model passes; refused where it would change the result.

    Returns:
        [B, L, heads, D of values], and None for the attention weights.
    """
    options.setdefault("is_causal", getattr(module, "is_causal", True))
    _refuse(query, key, attention_mask, dropout, options)
    found: Layout = options["packed_layout"]
    found.layers += 1
    rows = [tensor[0].transpose(0, 1) for tensor in (query, key, value)]  # [L, heads, D]
    if not found.identity:
        rows = [_pad(tensor, found.padded, found.packed) for tensor in rows]
    if query.device.type == "cpu":
        # PyTorch's bfloat16 kernels are 2 to 8 times slower than float32 on a CPU with AVX2 alone
        with torch.autocast("cpu", enabled=False):
            result = _attend([tensor.float() for tensor in rows], found, scaling)
    else:
        result = _attend(rows, found, scaling)
    if not found.identity:
        result = _unpad(result, found.packed)
    return result.to(value.dtype).unsqueeze(0), None


def _attend(rows: list[Tensor], found: Layout, scaling: float | None) -> Tensor:
    """Query, key and value [N, heads, D], padded, to attention [N, heads, D], bucket by bucket."""
    attended, start = [], 0
    for sequences, width in found.buckets:
        end = start + sequences * width
        shapes = [(sequences, width, *tensor.shape[1:]) for tensor in rows]
        q, k, v = (t[start:end].reshape(shape).transpose(1, 2) for t, shape in zip(rows, shapes, strict=True))
        out = scaled_dot_product_attention(
            q, k, v, is_causal=True, scale=scaling, enable_gqa=q.shape[1] != k.shape[1]
        )
        attended.append(out.transpose(1, 2).flatten(0, 1))
        start = end
    return torch.cat(attended)


def register() -> None:
    """Makes `attn_implementation="grpo_packed"` known to transformers, which then builds no mask for it."""
    from transformers import AttentionInterface

    AttentionInterface.register(NAME, packed_attention)


def packed_forward(model: Any, chunk: Chunk) -> Tensor:
    """Hidden states that predict the completion tokens of a chunk.

    Args:
        model: a causal language model of transformers, loaded with `attn_implementation="grpo_packed"`.
        chunk: S sequences laid end to end.

    Returns:
        [T, H] last hidden state at the token before each of `chunk.predicted`.

    Raises:
        UserError: the model has layers that mix tokens by something other than causal softmax attention.
    """
    found = layout(chunk.lengths, chunk.token_ids.device)
    output = model.get_decoder()(
        input_ids=chunk.token_ids.unsqueeze(0),
        position_ids=chunk.positions.unsqueeze(0),
        use_cache=False,
        packed_layout=found,
    )
    expected = model.config.get_text_config().num_hidden_layers
    if found.layers != expected:
        raise UserError(
            f"{found.layers} of {expected} layers attended within their sequences",
            "model",
            f"Load a model of attention layers alone, with attn_implementation={NAME!r}",
        )
    hidden: Tensor = output.last_hidden_state[0]
    return hidden.index_select(0, chunk.predicted - 1)
