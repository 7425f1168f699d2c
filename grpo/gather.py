"""Prompts to scored groups: rollouts are scored while others are still being drawn."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from grpo.errors import RunError
from grpo.parallel.ranks import ALONE, Ranks
from grpo.rollout.engine import RolloutEngine, sample_seed
from grpo.scoring import Scorer
from grpo.types import Group, Prompt, Request, Rollout, Sampling

FAILED = ("abort", "error")


def requests_for(
    prompts: Sequence[Prompt], samples: int, sampling: Sampling, *, run_seed: int, step: int
) -> Iterator[Request]:
    """`samples` requests for each prompt, each with a seed of its own."""
    for prompt in prompts:
        for sample in range(samples):
            seed = sample_seed(run_seed, step, prompt.id, sample)
            yield Request(prompt.id, sample, prompt.token_ids, sampling, seed)


@dataclass
class Gathered:
    """The groups of one step in prompt order, and what was lost on the way."""

    groups: list[Group]
    retried: int = 0  # rollouts the engine failed on and drew again
    failed: int = 0  # rollouts it failed on twice: never trained, never scored
    waited: float = 0.0  # seconds for rewards after the last rollout
    dropped: int = 0  # prompts left with fewer than two rollouts


@dataclass
class _Waiting:
    """Rollouts of one prompt until its group is complete."""

    outstanding: int
    rollouts: list[Rollout] = field(default_factory=list)


def gather(
    engine: RolloutEngine,
    scorer: Scorer,
    prompts: Sequence[Prompt],
    samples: int,
    sampling: Sampling,
    *,
    run_seed: int,
    step: int,
    ranks: Ranks = ALONE,
) -> Gathered:
    """Draws `samples` completions of each prompt and scores each group as soon as it is full.

    A rollout that the engine aborted or failed on is drawn once more with another seed, then left out and
    counted. It is never handed on as a completion worth 0.

    Each rank draws and scores its share of the prompts, and every rank gets all groups. A sample's seed
    hashes its prompt, so it does not matter who draws it.

    Raises:
        RunError: no group is left with two rollouts, or the ranks do not hold the same prompts.
    """
    own = _draw(engine, scorer, ranks.share(prompts), samples, sampling, run_seed, step)
    told = ranks.exchange((own, [prompt.id for prompt in prompts]))
    _check_order([order for _, order in told], step)
    every = [part for part, _ in told]
    together = Gathered(
        groups=[group for part in every for group in part.groups],
        retried=sum(part.retried for part in every),
        failed=sum(part.failed for part in every),
        waited=max(part.waited for part in every),
        dropped=sum(part.dropped for part in every),
    )
    if not together.groups:
        raise RunError(
            f"no group is left: the engine failed on {together.failed} of {len(prompts) * samples} rollouts",
            f"step {step}",
            "See engine.log.",
        )
    return together


def _check_order(orders: Sequence[Sequence[str]], step: int) -> None:
    """Refuses ids of a step's prompts, by rank, that differ: shares of them would not make up one step."""
    for rank, order in enumerate(orders):
        if order != orders[0]:
            raise RunError(
                f"the ranks took different prompts: rank {rank}'s are not rank 0's in its order",
                f"step {step}",
                "All ranks must read the same checkpoint: give them the same run folder.",
            )


def _draw(
    engine: RolloutEngine,
    scorer: Scorer,
    prompts: Sequence[Prompt],
    samples: int,
    sampling: Sampling,
    run_seed: int,
    step: int,
) -> Gathered:
    """What one rank draws. It may leave no group: its share may be all bad luck, or hold no prompt."""
    by_id = {prompt.id: prompt for prompt in prompts}
    waiting = {prompt.id: _Waiting(samples) for prompt in prompts}
    again: dict[tuple[str, int], int] = defaultdict(int)
    out = Gathered([])
    engine.submit(requests_for(prompts, samples, sampling, run_seed=run_seed, step=step))
    for rollout in engine.finished():
        prompt, wait = by_id[rollout.prompt_id], waiting[rollout.prompt_id]
        key = (rollout.prompt_id, rollout.sample)
        if rollout.finish_reason in FAILED and not again[key]:
            again[key] += 1
            out.retried += 1
            seed = sample_seed(run_seed, step, f"{prompt.id}/again", rollout.sample)
            engine.submit([Request(prompt.id, rollout.sample, prompt.token_ids, sampling, seed)])
            continue
        wait.outstanding -= 1
        if rollout.finish_reason in FAILED:
            out.failed += 1
        else:
            wait.rollouts.append(rollout)
        if not wait.outstanding and len(wait.rollouts) >= min(2, samples):
            ordered = sorted(wait.rollouts, key=lambda r: r.sample)
            scorer.submit(Group(prompt, tuple(ordered)))
    drawn = time.monotonic()
    scored = {group.prompt.id: group for group in scorer.drain()}
    out.waited = time.monotonic() - drawn
    out.groups = [scored[prompt.id] for prompt in prompts if prompt.id in scored]
    out.dropped = len(prompts) - len(out.groups)
    return out
