"""Prompts to scored groups: rollouts are scored while others are still being drawn."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from grpo.errors import RunError
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
) -> Gathered:
    """Draws `samples` completions of each prompt and scores each group as soon as it is full.

    A rollout that the engine aborted or failed on is drawn once more with another seed, then left out and
    counted. It is never handed on as a completion worth 0.

    Raises:
        RunError: no group is left with two rollouts.
    """
    out = draw(engine, scorer, prompts, samples, sampling, run_seed=run_seed, step=step)
    return check_gathered(out, len(prompts) * samples, step)


def check_gathered(out: Gathered, rollouts: int, step: int) -> Gathered:
    """`out`, unless of the `rollouts` that were asked for no group is left (RunError)."""
    if not out.groups:
        raise RunError(
            f"no group is left: the engine failed on {out.failed} of {rollouts} rollouts",
            f"step {step}",
            "See engine.log.",
        )
    return out


def draw(
    engine: RolloutEngine,
    scorer: Scorer,
    prompts: Sequence[Prompt],
    samples: int,
    sampling: Sampling,
    *,
    run_seed: int,
    step: int,
) -> Gathered:
    """`gather`, that may leave no group: a share of the prompts may be all bad luck, or hold none."""
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
