"""Groups to batches: chunks of a token budget, without padding, each prompt in them once."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import compress, groupby, pairwise

import torch
from torch import Tensor

from grpo.errors import RunError
from grpo.parallel.ranks import ALONE, Ranks
from grpo.segments import common_prefix, places
from grpo.types import Batch, Chunk, Group, Rollout, Segment, Totals


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
    ranks: Ranks = ALONE,
) -> list[Batch]:
    """Packs the groups of a step, with their advantages, into one batch an optimiser step.

    Of several ranks each gets its part of every batch, with the totals of the whole, and as many chunks as
    every other: a rank with fewer gets chunks that predict nothing.

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
        ranks: the processes that share the work.

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
        shares = [_fill(dealt, token_budget) for dealt in _deal(kept, ranks.count)]
        chunks = [_chunk(filled, device) for filled in shares[ranks.rank]]
        idle = max(map(len, shares)) - len(chunks)
        chunks += [sequences_chunk([[0]], device)] * idle  # one token, and none after it to predict
        batches.append(Batch(tuple(chunks), totals))
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
    return _lay_out([((), row, [i > 0 for i in range(len(row))]) for row in sequences], device)


def check_chunk(chunk: Chunk, rollouts: Sequence[Rollout]) -> None:
    """Raises RunError unless the chunk holds `rollouts`, and the loss will see their sampled tokens.

    Each rollout must be a path of the tree, position by position, and each of its sampled tokens be predicted
    from the token before it. An index off by one trains on the wrong tokens and shows nowhere else: losses
    stay plausible.
    """
    ids, positions = chunk.token_ids.tolist(), chunk.positions.tolist()
    before, own = places(chunk.segments)
    segment_of = [s for s, tokens in enumerate(own) for _ in tokens]
    found: list[list[tuple[int, int]]] = [[] for _ in rollouts]
    triples = zip(chunk.sequence.tolist(), chunk.predicted.tolist(), chunk.source.tolist(), strict=True)
    for sequence, predicted, source in triples:
        found[sequence].append((predicted, source))
    for rollout, pairs in zip(rollouts, found, strict=True):
        last = segment_of[pairs[0][0]] if pairs and 0 <= pairs[0][0] < len(segment_of) else 0
        path = before[last] + own[last]
        row = [*rollout.prompt_ids, *rollout.token_ids]
        drawn = compress(range(len(rollout.prompt_ids), len(row)), rollout.sampled)
        right = [ids[i] for i in path] == row and [positions[i] for i in path] == list(range(len(row)))
        if not right or pairs != [(path[at], path[at - 1]) for at in drawn]:
            raise RunError(
                "a packed index does not point at its completion token", f"prompt {rollout.prompt_id}"
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


def _deal(sequences: Sequence[_Sequence], ranks: int) -> list[list[_Sequence]]:
    """A part for each rank, with about as many tokens: the largest group first, to who has least."""
    parts: list[list[_Sequence]] = [[] for _ in range(ranks)]
    tokens = [0] * ranks
    for group in sorted(_by_prompt(sequences), key=lambda members: -_tokens(members, 0)):
        least = tokens.index(min(tokens))
        parts[least] += group
        tokens[least] += _tokens(group, 0)
    return parts


def _by_prompt(sequences: Sequence[_Sequence]) -> list[list[_Sequence]]:
    """The completions of each prompt, longest first."""
    groups: dict[tuple[int, ...], list[_Sequence]] = {}
    for sequence in sorted(sequences, key=lambda s: -s.length):
        groups.setdefault(sequence.rollout.prompt_ids, []).append(sequence)
    return list(groups.values())


def _fill(sequences: Sequence[_Sequence], token_budget: int) -> list[list[_Sequence]]:
    """First fit, the largest group first; a group of more than a budget is cut, and its prompt repeated.

    The completions of a group follow each other, longest first.
    """
    groups = _by_prompt(sequences)
    prompts = [members[0].rollout.prompt_ids for members in groups]
    common = common_prefix(prompts)
    empty = token_budget - common
    parts = [
        part
        for prompt, members in zip(prompts, groups, strict=True)
        for part in _cut(members, empty - (len(prompt) - common))
    ]
    bins: list[list[_Sequence]] = []
    room: list[int] = []
    for part in sorted(parts, key=lambda part: -_tokens(part, common)):
        size = _tokens(part, common)
        i = next((i for i, left in enumerate(room) if left >= size), None)
        if i is None:
            bins.append([])
            room.append(empty)
            i = len(bins) - 1
        bins[i] += part
        room[i] -= size
    return bins


def _tokens(part: Sequence[_Sequence], common: int) -> int:
    """Tokens of one prompt, less what all prompts share, and of its completions."""
    return len(part[0].rollout.prompt_ids) - common + sum(len(s.rollout.token_ids) for s in part)


def _cut(members: Sequence[_Sequence], room: int) -> list[list[_Sequence]]:
    """Completions of one prompt in parts of `room` completion tokens; a longer one is a part of its own."""
    parts: list[list[_Sequence]] = []
    left = 0
    for sequence in members:
        size = len(sequence.rollout.token_ids)
        if not parts or size > left:
            parts.append([])
            left = room
        parts[-1].append(sequence)
        left -= size
    return parts


def _chunk(sequences: Sequence[_Sequence], device: torch.device | str) -> Chunk:
    rollouts = [s.rollout for s in sequences]
    drawn = [d for r in rollouts for d in zip(r.logprobs, r.versions, r.sampled, strict=True) if d[2]]
    rows = [(r.prompt_ids, r.token_ids, r.sampled) for r in rollouts]
    chunk = _lay_out(rows, device)
    advantages = torch.tensor([s.advantage for s in sequences], dtype=torch.float32, device=device)
    chunk = replace(
        chunk,
        behaviour=torch.tensor([d[0] for d in drawn], dtype=torch.float32, device=device),
        versions=torch.tensor([d[1] for d in drawn], device=device),
        advantages=advantages[chunk.sequence],
    )
    check_chunk(chunk, rollouts)
    return chunk


Row = tuple[Sequence[int], Sequence[int], Sequence[bool]]  # prompt, completion, and its sampled tokens


def _lay_out(rows: Sequence[Row], device: torch.device | str) -> Chunk:
    """A chunk of the rows [S], its log-probs, versions and advantages still 0.

    Rows with one prompt follow each other, and hold it once; what all prompts begin with is held once too.
    """
    groups = [list(members) for _, members in groupby(rows, key=lambda row: row[0])]
    prompts = [tuple(members[0][0]) for members in groups]
    common = common_prefix(prompts)
    segments = [Segment(common)] if common else []
    ids: list[int] = list(prompts[0][:common])
    positions = list(range(common))
    predicted: list[int] = []
    source: list[int] = []
    counts: list[int] = []

    def add(tokens: Sequence[int], parent: int, position: int) -> int:
        """Appends a segment whose first token has this position; its number."""
        segments.append(Segment(len(tokens), parent))
        ids.extend(tokens)
        positions.extend(range(position, position + len(tokens)))
        return len(segments) - 1

    for prompt, members in zip(prompts, groups, strict=True):
        root = 0 if common else -1
        alone = len(members) == 1  # then prompt and completion are one run
        if not alone and prompt:
            root = add(prompt[common:], root, common)
        before = len(ids) - 1  # the prompt's last token
        for _, completion, sampled in members:
            head = prompt[common:] if alone else ()
            add((*head, *completion), root, len(prompt) - len(head))
            start = len(ids) - len(completion)
            drawn = list(compress(range(start, len(ids)), sampled))
            predicted += drawn
            source += [before if at == start and not alone else at - 1 for at in drawn]
            counts.append(len(drawn))
    completion_lengths = torch.tensor(counts)
    zeros = torch.zeros(len(predicted), device=device)
    return Chunk(
        token_ids=torch.tensor(ids, device=device),
        positions=torch.tensor(positions, device=device),
        segments=tuple(segments),
        predicted=torch.tensor(predicted, dtype=torch.int64, device=device),
        source=torch.tensor(source, dtype=torch.int64, device=device),
        sequence=torch.repeat_interleave(torch.arange(len(counts)), completion_lengths).to(device),
        behaviour=zeros,
        versions=zeros.long(),
        advantages=zeros,
        completion_lengths=completion_lengths.to(device),
    )
