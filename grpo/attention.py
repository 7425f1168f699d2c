"""Attention over trees of token sequences: no padding through the model, no L x L mask, and a prompt once.

Segments of similar length are put into one bucket, padded on the right inside the attention alone, and
attended causally behind the tokens that they continue: no token sees padding, which stands to its right, and
none sees another sequence. What G completions share, their prompt, goes through the rest of the model once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor
from torch.nn.attention.bias import causal_lower_right
from torch.nn.functional import scaled_dot_product_attention
from torch.utils.checkpoint import checkpoint

from grpo.errors import UserError
from grpo.segments import places
from grpo.tally import Tally
from grpo.types import Chunk, Segment

NAME = "grpo_packed"
# A sequence joins a bucket if it is this share of its longest: of 0.3 to 0.95, what cost least at 20 to 1,500
# tokens. More buckets are more calls, fewer are more padding.
BUCKET_SHARE = 0.9


class Bucket(NamedTuple):
    """Segments that attend in one call."""

    segments: int
    width: int  # tokens of the longest; the others are padded on the right
    before: int  # tokens of the segments that each of them continues: read, not padded


@dataclass
class Layout:
    """Where the tokens of a chunk stand in its buckets. Made once a forward pass, read by every layer."""

    buckets: tuple[Bucket, ...]
    queries: Tensor  # [N] int64 packed token at each padded place; a segment's padding repeats its last token
    keys: Tensor  # [M] int64 packed token at each place of keys and values: those before, then its own
    packed: Tensor  # [L] int64 padded place of each packed token
    longest: int  # tokens of the longest sequence
    identity: bool  # no padding and no other order: nothing to move
    shared: bool  # some segment continues another, so keys are more than queries
    layers: int = 0  # layers that attended through this layout


def layout(segments: Sequence[Segment], device: torch.device | str = "cpu") -> Layout:
    """The buckets of the segments of a chunk.

    Returns:
        A layout whose places cover every segment padded to the longest of its bucket.
    """
    before, own = places(segments)
    queries: list[int] = []
    keys: list[int] = []
    packed = [0] * sum(segment.length for segment in segments)
    buckets = []
    for members in _members(segments, [len(tokens) for tokens in before]):
        width = segments[members[0]].length
        buckets.append(Bucket(len(members), width, len(before[members[0]])))
        for s in members:
            for place, token in enumerate(own[s], len(queries)):
                packed[token] = place
            padded = own[s] + own[s][-1:] * (width - len(own[s]))
            queries += padded
            keys += before[s] + padded
    shared = any(segment.parent >= 0 for segment in segments)
    places_of_queries = torch.tensor(queries, device=device)
    return Layout(
        buckets=tuple(buckets),
        queries=places_of_queries,
        keys=torch.tensor(keys, device=device) if shared else places_of_queries,
        packed=torch.tensor(packed, device=device),
        longest=max(len(b) + len(o) for b, o in zip(before, own, strict=True)),
        identity=queries == list(range(len(packed))) and not shared,
        shared=shared,
    )


def _members(segments: Sequence[Segment], before: Sequence[int]) -> list[list[int]]:
    """Segments by bucket, longest first: with as many tokens before them, and of about one length."""
    buckets: list[list[int]] = []
    for s in sorted(range(len(segments)), key=lambda s: (-before[s], -segments[s].length)):
        first = buckets[-1][0] if buckets else None
        if (
            first is None
            or before[s] != before[first]
            or segments[s].length < BUCKET_SHARE * segments[first].length
        ):
            buckets.append([])
        buckets[-1].append(s)
    return buckets


def note_packing(tally: Tally, chunk: Chunk) -> None:
    """Notes the tokens of a chunk, and how much of what attention computes for them is no padding.

    Outside attention the model computes no padding at all. A chunk that predicts nothing, which keeps a rank
    in step with the others, is left out.
    """
    if not len(chunk.predicted):
        return
    tokens = len(chunk.token_ids)
    members = _members(chunk.segments, [len(before) for before in places(chunk.segments)[0]])
    padded = sum(len(bucket) * chunk.segments[bucket[0]].length for bucket in members)
    tally.total("packing/tokens", torch.tensor(tokens))
    tally.add("packing/real_share", torch.tensor([tokens / padded]), torch.tensor([padded]))


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
    q, k, v = (tensor[0].transpose(0, 1) for tensor in (query, key, value))  # [L, heads, D]
    if found.shared and torch.is_grad_enabled():
        # Every completion's copy of its prompt's keys and values is made again going back, not kept.
        result = checkpoint(_attend, q, k, v, found, scaling, use_reentrant=False)
    else:
        result = _attend(q, k, v, found, scaling)
    return result.to(value.dtype).unsqueeze(0), None


def _attend(query: Tensor, key: Tensor, value: Tensor, found: Layout, scaling: float | None) -> Tensor:
    """Query, key and value [L, heads, D] to attention [L, heads, D]."""
    rows = [query, key, value]
    if found.shared:
        rows = [_pad(query, found.queries, found.packed), *(t.index_select(0, found.keys) for t in rows[1:])]
    elif not found.identity:
        rows = [_pad(tensor, found.queries, found.packed) for tensor in rows]
    if query.device.type == "cpu":
        # PyTorch's bfloat16 kernels are 2 to 8 times slower than float32 on a CPU with AVX2 alone
        with torch.autocast("cpu", enabled=False):
            result = _by_bucket([tensor.float() for tensor in rows], found.buckets, scaling)
    else:
        result = _by_bucket(rows, found.buckets, scaling)
    return result if found.identity else _unpad(result, found.packed)


def _by_bucket(rows: list[Tensor], buckets: Sequence[Bucket], scaling: float | None) -> Tensor:
    """Queries [N, heads, D], keys and values [M, heads, D], padded, to attention [N, heads, D]."""
    attended, q_start, k_start = [], 0, 0
    for count, width, before in buckets:
        q_end, k_end = q_start + count * width, k_start + count * (before + width)
        q = rows[0][q_start:q_end].unflatten(0, (count, width)).transpose(1, 2)
        k, v = (t[k_start:k_end].unflatten(0, (count, before + width)).transpose(1, 2) for t in rows[1:])
        mask = _mask(q, width, before + width)
        out = scaled_dot_product_attention(
            q, k, v, attn_mask=mask, scale=scaling, enable_gqa=q.shape[1] != k.shape[1]
        )
        attended.append(out.transpose(1, 2).flatten(0, 1))
        q_start, k_start = q_end, k_end
    return torch.cat(attended)


def _mask(query: Tensor, width: int, keys: int) -> Tensor:
    """Each of the last `width` of `keys` tokens sees all before it and itself."""
    if isinstance(query, FakeTensor):  # causal_lower_right cannot be faked; on CPU it becomes this one
        return torch.ones(width, keys, dtype=torch.bool)
    mask: Tensor = causal_lower_right(width, keys)
    return mask


def register() -> None:
    """Makes `attn_implementation="grpo_packed"` known to transformers, which then builds no mask for it."""
    from transformers import AttentionInterface

    AttentionInterface.register(NAME, packed_attention)


def packed_forward(model: Any, chunk: Chunk) -> Tensor:
    """Hidden states that predict the completion tokens of a chunk.

    Args:
        model: a causal language model of transformers, loaded with `attn_implementation="grpo_packed"`.
        chunk: trees of segments.

    Returns:
        [T, H] last hidden state at `chunk.source`: at the token before each of `chunk.predicted`.

    Raises:
        UserError: the model has layers that mix tokens by something other than causal softmax attention.
    """
    found = layout(chunk.segments, chunk.token_ids.device)
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
    return hidden.index_select(0, chunk.source)
