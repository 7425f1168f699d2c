"""Groups to batches: completions laid end to end in chunks of a token budget, with no padding."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import chain, compress, pairwise

import torch
from torch import Tensor

from grpo.errors import RunError
from grpo.types import Batch, Chunk, Group, Rollout, Totals


@dataclass(frozen=True)
class _Sequence:
    """A rollout that the loss sees, and the advantage of its tokens."""

    rollout: Rollout
    advantage: float

    @property
    def length(self) -> int:
        return len(self.rollout.prompt_ids) + len(self.rollout.token_ids)


def pack(
    groups: Sequence[Group],
    *,
    minibatches: int,
    token_budget: int,
    max_tokens: int,
    skip_zero_advantage: bool,
    mask_truncated: bool,
    device: torch.device | str = "cpu",
) -> list[Batch]:
    """Packs the groups of a step, with their advantages, into one batch an optimiser step.

    Completions that the engine aborted or failed to draw never count. Completions without a sampled token
    count as sequences and have nothing to train on.

    Args:
        groups: in prompt order; split into `minibatches` consecutive parts, as even as can be.
        minibatches: optimiser steps of the rollout step.
        token_budget: packed tokens L of a chunk; a longer sequence gets a chunk of its own.
        max_tokens: rollout.max_tokens, handed on in the totals.
        skip_zero_advantage: leave out completions with advantage 0, which add nothing to the surrogate; they
            stay in the totals. Must be False where a KL or entropy term acts on them.
        mask_truncated: leave completions cut at max_tokens out of the loss and of the totals.
        device: where the tensors shall be.

    Returns:
        `minibatches` batches; one that has nothing to train on holds no chunk.

    Raises:
        RunError: a rollout's per-token values disagree in number or are not finite; names its prompt.
    """
    batches = []
    for part in _split(groups, minibatches):
        counted = [
            _Sequence(rollout, advantage)
            for group in part
            for rollout, advantage in zip(group.rollouts, group.advantages, strict=True)
            if rollout.finish_reason in ("stop", "length")
            and not (mask_truncated and rollout.finish_reason == "length")
        ]
        for sequence in counted:
            _check_rollout(sequence)
        totals = Totals(len(counted), sum(sum(s.rollout.sampled) for s in counted), max_tokens)
        acting = [s for s in counted if s.advantage != 0 or not skip_zero_advantage]
        kept = [s for s in acting if any(s.rollout.sampled)]
        chunks = tuple(_chunk(filled, device) for filled in _fill(kept, token_budget))
        batches.append(Batch(chunks, totals))
    return batches


def with_old_logprobs(
    batches: Sequence[Batch], logprobs: Callable[[Chunk], tuple[Tensor, Tensor]]
) -> list[Batch]:
    """Fills `Chunk.old` of every batch but the first, before any optimiser step.

    The first batch is trained with the very weights that the pass would use: it is on-policy, and its
    detached log-probs are the old ones. So one batch alone costs no pass.

    Args:
        batches: the optimiser steps of a rollout step, in order.
        logprobs: a chunk to log-probs [T] and entropies [T]; called without gradient.
    """
    filled = list(batches[:1])
    with torch.no_grad():
        for batch in batches[1:]:
            chunks = tuple(replace(chunk, old=logprobs(chunk)[0].detach()) for chunk in batch.chunks)
            filled.append(replace(batch, chunks=chunks))
    return filled


def sequences_chunk(sequences: Sequence[Sequence[int]], device: torch.device | str = "cpu") -> Chunk:
    """A chunk of plain token sequences, in their order: for log-probs outside the objective.

    Args:
        sequences: [S] token ids of each, at least one token long.
        device: where the tensors shall be.

    Returns:
        A chunk whose behaviour log-probs, versions and advantages are 0.
    """
    masks = [[i > 0 for i in range(len(row))] for row in sequences]
    return _lay_out(sequences, masks, device)


def check_chunk(chunk: Chunk, rollouts: Sequence[Rollout]) -> None:
    """Raises RunError unless `chunk.predicted` points at the sampled tokens of `rollouts`, one by one.

    An index off by one trains on the wrong tokens and shows nowhere else: losses stay plausible.
    """
    where = [
        (s, position, token)
        for s, rollout in enumerate(rollouts)
        for position, (token, sampled) in enumerate(
            zip(rollout.token_ids, rollout.sampled, strict=True), start=len(rollout.prompt_ids)
        )
        if sampled
    ]
    device, wrong = chunk.predicted.device, 0
    expected = torch.tensor(where, device=device).reshape(-1, 3)
    if len(expected) == len(chunk.predicted):
        starts = torch.tensor([0, *chunk.lengths[:-1]], device=device).cumsum(0)
        inside = chunk.predicted.clamp(0, len(chunk.token_ids) - 1)
        offset = chunk.predicted - starts[chunk.sequence]
        found = torch.stack([chunk.sequence, offset, chunk.token_ids[inside]], 1)
        right = (found == expected).all(1) & (chunk.positions[inside] == expected[:, 1])
        if bool(right.all()):
            return
        wrong = int(expected[right.int().argmin(), 0])
    raise RunError(
        "a packed index does not point at its completion token", f"prompt {rollouts[wrong].prompt_id}"
    )


def _split(groups: Sequence[Group], parts: int) -> list[Sequence[Group]]:
    edges = [len(groups) * i // parts for i in range(parts + 1)]
    return [groups[a:b] for a, b in pairwise(edges)]


def _check_rollout(sequence: _Sequence) -> None:
    rollout = sequence.rollout
    counts = {len(rollout.token_ids), len(rollout.sampled), len(rollout.logprobs), len(rollout.versions)}
    where = f"prompt {rollout.prompt_id}, sample {rollout.sample}"
    if len(counts) > 1:
        raise RunError(f"tokens, mask, log-probs and versions disagree in number: {sorted(counts)}", where)
    drawn = (sequence.advantage, *compress(rollout.logprobs, rollout.sampled))
    if not all(map(math.isfinite, drawn)):
        raise RunError("a log-prob or advantage is not finite", where)
    if not rollout.prompt_ids and any(rollout.sampled[:1]):
        raise RunError("the prompt has no token, so nothing predicts the first of its completion", where)


def _fill(sequences: Sequence[_Sequence], token_budget: int) -> list[list[_Sequence]]:
    """First fit, longest first: few chunks, and within each the lengths fall, which the attention likes."""
    bins: list[list[_Sequence]] = []
    room: list[int] = []
    for sequence in sorted(sequences, key=lambda s: -s.length):
        fitting = (i for i, left in enumerate(room) if left >= sequence.length)
        i = next(fitting, None)
        if i is None:
            bins.append([sequence])
            room.append(token_budget - sequence.length)
        else:
            bins[i].append(sequence)
            room[i] -= sequence.length
    return bins


def _chunk(sequences: Sequence[_Sequence], device: torch.device | str) -> Chunk:
    rollouts = [s.rollout for s in sequences]
    drawn = [d for r in rollouts for d in zip(r.logprobs, r.versions, r.sampled, strict=True) if d[2]]
    chunk = _lay_out(
        [r.prompt_ids + r.token_ids for r in rollouts],
        [(False,) * len(r.prompt_ids) + r.sampled for r in rollouts],
        device,
    )
    advantages = torch.tensor([s.advantage for s in sequences], dtype=torch.float32, device=device)
    chunk = replace(
        chunk,
        behaviour=torch.tensor([d[0] for d in drawn], dtype=torch.float32, device=device),
        versions=torch.tensor([d[1] for d in drawn], device=device),
        advantages=advantages[chunk.sequence],
    )
    check_chunk(chunk, rollouts)
    return chunk


def _lay_out(
    rows: Sequence[Sequence[int]], masks: Sequence[Sequence[bool]], device: torch.device | str
) -> Chunk:
    """A chunk of the rows [S][tokens] in their order, its log-probs, versions and advantages still 0."""
    lengths = torch.tensor([len(row) for row in rows])
    owner = torch.repeat_interleave(torch.arange(len(rows)), lengths)
    mask = torch.tensor(list(chain.from_iterable(masks)))
    sequence = owner[mask]
    zeros = torch.zeros(len(sequence), device=device)
    return Chunk(
        token_ids=torch.tensor(list(chain.from_iterable(rows)), device=device),
        positions=(torch.arange(len(owner)) - (lengths.cumsum(0) - lengths)[owner]).to(device),
        lengths=tuple(lengths.tolist()),
        predicted=mask.nonzero().squeeze(1).to(device),
        sequence=sequence.to(device),
        behaviour=zeros,
        versions=zeros.long(),
        advantages=zeros,
        completion_lengths=torch.bincount(sequence, minlength=len(rows)).to(device),
    )
