"""GRPO's loop, and nothing else.

    prompts ─► engine.generate ─► groups ─► scores ─► advantages ─► update ─► engine.update_weights ─┐
       ▲                                                                                            │
       └────────────────────────────── next step, next policy version ─────────────────────────────┘

Data flows one way round it. The only thing that travels back is versioned weights, and `Sync` checks that
they arrived.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from grpo.attention import note_packing
from grpo.credit import with_advantages
from grpo.gather import gather
from grpo.losses.objective import objective
from grpo.packing import pack, with_old_logprobs
from grpo.rollout.engine import sample_seed
from grpo.rollout.sync import Sync, must_move
from grpo.tally import Tally

if TYPE_CHECKING:
    from grpo.data import PromptStream
    from grpo.policy import Policy, Reference
    from grpo.recipe import Recipe
    from grpo.rollout.engine import RolloutEngine
    from grpo.run import Evaluate, Run
    from grpo.scoring import Scorer
    from grpo.types import Group, Sampling


def train(
    recipe: Recipe,
    run: Run,
    engine: RolloutEngine,
    prompts: PromptStream,
    probes: Sequence[Sequence[int]],
    scorer: Scorer,
    policy: Policy,
    reference: Reference | None,
    sampling: Sampling,
    evaluate: Evaluate,
) -> None:
    """Runs the steps that are left; policy, engine, prompts and run are already where the last one ended.

    `probes` are the token sequences that the sync check compares log-probs on.
    """
    seed = recipe.output.seed
    sync = Sync(engine, policy, probes, recipe.model.dtype, policy.ranks)
    run.note_metrics(sync.start())
    run.evaluate_if_due(evaluate, engine)
    for step in run.steps_left():
        scorer.trainer_state = {"global_step": step, "max_steps": recipe.train.steps}
        with run.phase("rollout"):
            taken, size = prompts.take(recipe.train.prompts_per_step), recipe.rollout.group_size
            gathered = gather(
                engine, scorer, taken, size, sampling, run_seed=seed, step=step, ranks=policy.ranks
            )
        graded = run.check_graded(scorer, gathered)
        control = sample_seed(seed, step, "shuffle", 0) if recipe.train.shuffle_rewards else None
        groups = with_advantages(graded, recipe.algorithm, scorer.weights, control)
        with run.phase("update"), engine.resting():
            terms = update(policy, reference, groups, recipe, step)
        with run.phase("sync"):
            terms |= sync.send(stepped=must_move(terms, groups, recipe.train.lr)) | sync.check()
        run.record(step, scorer, gathered, groups, terms)
        run.evaluate_if_due(evaluate, engine)
        run.save_if_due(policy, prompts)


def update(
    policy: Policy, reference: Reference | None, groups: Sequence[Group], recipe: Recipe, step: int
) -> dict[str, float]:
    """One rollout step's optimiser steps; the policy comes out one version later, the same on every rank.

    Completions with zero advantage are left out of the forward pass, but stay in the normaliser, unless
    KL or entropy acts on them too.
    """
    tally, algorithm = Tally(recipe.train.minibatches), recipe.algorithm
    batches = pack(
        groups,
        minibatches=recipe.train.minibatches,
        token_budget=recipe.train.token_budget,
        max_tokens=recipe.rollout.max_tokens,
        skip_zero_advantage=reference is None and not algorithm.entropy,
        mask_truncated=algorithm.truncated == "mask",
        device=policy.device,
        ranks=policy.ranks,
    )
    terms: dict[str, float] = {}
    for batch in with_old_logprobs(batches, policy.logprobs):
        for chunk in batch.chunks:
            note_packing(tally, chunk)
            logp, entropy = policy.logprobs(chunk)
            ref = reference.logprobs(chunk) if reference else None
            policy.backward(objective(logp, ref, entropy, chunk, batch.totals, algorithm, tally))
        if batch.chunks:
            terms |= policy.step(step)
    policy.version = step + 1
    return terms | tally.values(policy.ranks)
