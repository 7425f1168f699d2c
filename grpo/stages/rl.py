"""The RL stage: everything a run needs, opened in the order in which mistakes are cheapest to find."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from grpo.data import check_splits, count_splits
from grpo.errors import UserError
from grpo.folder import find_checkpoint, move_aside
from grpo.hub import silence
from grpo.live import view_for
from grpo.named_models import MODELS, resolve
from grpo.optimizer import check_optimizer
from grpo.parallel.engines import open_engine
from grpo.parallel.follower import Follower
from grpo.parallel.ranks import Ranks, joined, reward_workers
from grpo.pieces import pieces_of
from grpo.placement import check_devices
from grpo.quiet import quieten
from grpo.recipe_checks import check_context
from grpo.rollout.vllm_args import check_start, load_of
from grpo.rows import Item, read_items
from grpo.run import Run, is_finished, show_summary
from grpo.scoring import Scorer
from grpo.stages.held_out import make_evaluate, protocol_prompts
from grpo.stages.pretrain import pretrain
from grpo.trackers import check_trackers

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from grpo.data import DataSplits
    from grpo.recipe import Recipe
    from grpo.rollout.engine import RolloutEngine
    from grpo.run import Evaluate
    from grpo.types import Prompt, Sampling
    from grpo.view import View

    Opened = tuple[str, DataSplits, dict[str, list[Prompt]], list[list[Prompt]]]

PROBES = 8  # prompts whose log-probs are compared at every weight sync
PROBE_TOKENS = 32  # of each, at its end: they need not be prompts, and worked examples would cost seconds


def train(
    recipe: Recipe, *, resume: bool = False, overwrite: bool = False, console: Console | None = None
) -> dict[str, Any]:
    """Runs a recipe and returns its summary (what summary.json holds).

    Recipe and folder first, then data and golds, then the model, then the engine: nothing heavy is loaded
    for a run that cannot start. An old run is moved aside, never removed.

    Args:
        recipe: resolved, as `grpo.load_recipe` gives it.
        resume: go on from the newest good checkpoint of its output folder.
        overwrite: move a run that is in its output folder aside.
        console: where to show it; the terminal when left out.
    """
    with joined(recipe) as ranks:
        console = (console or Console()) if ranks.first else Console(quiet=True)
        return train_together(recipe, ranks, console, resume=resume, overwrite=overwrite)


def train_together(
    recipe: Recipe, ranks: Ranks, console: Console, *, resume: bool, overwrite: bool
) -> dict[str, Any]:
    """`train`, by every rank. Whatever reads data or changes files is done once, by the first."""
    quieten()
    check_devices(recipe)
    check_optimizer(recipe)
    check_start(recipe.rollout)
    check_trackers(recipe.output.trackers)
    checkpoint = ranks.once(lambda: find_checkpoint(recipe, resume=resume, overwrite=overwrite))
    if ranks.once(lambda: is_finished(recipe, checkpoint)):
        return ranks.once(lambda: show_summary(recipe, console))
    folder = Path(recipe.output.folder)
    state = {"global_step": 0, "max_steps": recipe.train.steps}  # as TRL has it before the first step
    with Scorer(recipe.rewards, trainer_state=state, workers=reward_workers()) as scorer:
        graders = scorer.graders
        with view_for(console, folder.name, *graders[:1]) as view:
            base, splits, sets, protocols = ranks.once(lambda: open_all(recipe, view, scorer))
            tokenizer = load_tokenizer(base)
            sampling = sampling_of(recipe)
            aside = ranks.once(lambda: move_aside(folder) if overwrite else None)
            if aside:
                view.note(f"the old run is now {aside}")
            run = (Run if ranks.first else Follower)(recipe, view, checkpoint, pieces_of(tokenizer), ranks)
            evaluate = make_evaluate(recipe, scorer, splits, sets, protocols, sampling)
            with run.trackers:
                learn(recipe, ranks, run, base, tokenizer, scorer, splits, sampling, evaluate)
    return ranks.once(lambda: run.finish(console, graders))


def open_all(recipe: Recipe, view: View, scorer: Scorer) -> Opened:
    """The base checkpoint, made where need be, and the prompts: of splits, eval.sets and eval.protocols."""
    view.phase("reading the data")
    items = read_items(recipe.data, seed=recipe.output.seed)
    check_splits(count_splits(items, recipe.data), recipe.data, recipe.train.prompts_per_step)
    base = base_checkpoint(recipe, view)
    tokenizer = load_tokenizer(base)
    if recipe.model.adapter:
        from grpo.adapters import check_targets

        check_targets(recipe.model.adapter, base)
    splits, sets = open_prompts(recipe, items, base, tokenizer, scorer)
    return base, splits, sets, protocol_prompts(recipe, splits, tokenizer, context_of(recipe, base))


def learn(
    recipe: Recipe,
    ranks: Ranks,
    run: Run,
    base: str,
    tokenizer: PreTrainedTokenizerBase,
    scorer: Scorer,
    splits: DataSplits,
    sampling: Sampling,
    evaluate: Evaluate,
) -> None:
    """Loads the policy, where a resumed run stopped if it is one, and trains it."""
    from grpo import trainer
    from grpo.data import PromptStream
    from grpo.policy import load_policy
    from grpo.rollout.start import start_engine

    run.view.phase("loading the model")
    start = str(run.checkpoint or base)
    policy, reference = load_policy(recipe, start, base, tokenizer, ranks)
    adapter = policy.adapter
    prompts = PromptStream(splits.train, recipe.output.seed)
    if run.checkpoint:
        policy.restore(run.state)
        prompts.restore(run.state["prompts"])
    run.view.phase("starting the engine")

    def start_own() -> RolloutEngine:
        return start_engine(
            recipe.rollout,
            checkpoint=base if adapter else start,
            dtype=recipe.model.dtype,
            version=policy.version,
            log_file=run.folder / ("engine.log" if ranks.first else f"engine-{ranks.rank}.log"),
            scratch=run.folder,
            seed=recipe.output.seed,
            device=str(policy.device),
            load=load_of(recipe, ranks.drawing),
            lora=adapter.lora if adapter else None,
        )

    with open_engine(ranks, policy.version, start_own) as engine:
        if adapter and run.checkpoint:  # the engine started from the base
            engine.update_weights(policy.weights(), policy.version)
        run.view.stage("training", recipe.train.steps, run.done)  # its pace leaves out the engine's start
        probes = [p.token_ids[-PROBE_TOKENS:] for p in splits.train if len(p.token_ids) > 1][:PROBES]
        trainer.train(recipe, run, engine, prompts, probes, scorer, policy, reference, sampling, evaluate)


def base_checkpoint(recipe: Recipe, view: View) -> str:
    """Folder or hub id of the base; pre-trained or dequantised now where it is not cached."""
    if recipe.pretrain is None:
        assert recipe.model.path is not None  # a recipe has one or the other
        if recipe.model.path in MODELS:
            view.note(f"{recipe.model.path}: {MODELS[recipe.model.path].about}")
        path = resolve(recipe.model.path)
        if not Path(path).is_dir():
            silence()  # its clients would ask again and again where the hub does not answer
        return path
    return str(pretrain(recipe, view))


def load_tokenizer(base: str) -> PreTrainedTokenizerBase:
    """The base's tokenizer.

    Raises:
        UserError: there is none.
    """
    from transformers import AutoTokenizer

    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(base)
    except (OSError, ValueError) as error:
        why = "it holds none" if Path(base).is_dir() else str(error).strip().splitlines()[0]
        raise UserError(
            f"no checkpoint with a tokenizer is at {base} ({why})",
            "model.path",
            "Give a folder in transformers format or a hub id.",
        ) from None
    return tokenizer


def sampling_of(recipe: Recipe) -> Sampling:
    """How training draws completions. The recipe's stop strings replace the template's."""
    from grpo.templates import get_template
    from grpo.types import Sampling

    stop = recipe.rollout.stop
    own = get_template(recipe.data.template).stop
    return Sampling(
        temperature=recipe.rollout.temperature,
        max_tokens=recipe.rollout.max_tokens,
        stop=tuple(own if stop is None else stop),
    )


def open_prompts(
    recipe: Recipe, items: Sequence[Item], base: str, tokenizer: PreTrainedTokenizerBase, scorer: Scorer
) -> tuple[DataSplits, dict[str, list[Prompt]]]:
    """Training and held-out prompts and those of eval.sets, their golds tried on the rules."""
    from grpo.data import open_data, open_set
    from grpo.golds import check_golds
    from grpo.templates import get_template

    context = context_of(recipe, base)
    options: dict[str, Any] = {
        "tokenizer": tokenizer,
        "max_prompt_tokens": context - recipe.rollout.max_tokens,
    }
    more = max((protocol.shots or 0 for protocol in recipe.eval.protocols), default=0)
    splits = open_data(items, recipe.data, more=more, **options)
    check_budget(recipe, splits.train)
    form = get_template(recipe.data.template).answer_form
    good: dict[str, Any] = {
        part: check_golds(scorer, getattr(splits, part), form, recipe.data.bad_gold, name=part)
        for part in ("train", "select", "report")
    }
    sets = {
        name: open_set(name, recipe.data, seed=recipe.output.seed, shots=splits.shots, **options)
        for name in recipe.eval.sets
    }
    return dataclasses.replace(splits, **good), sets


def check_budget(recipe: Recipe, prompts: Sequence[Prompt]) -> None:
    """Raises UserError unless the longest prompt fits in a forward pass with a completion of full length."""
    longest, completion = max(len(prompt.token_ids) for prompt in prompts), recipe.rollout.max_tokens
    if longest + completion > recipe.train.token_budget:
        raise UserError(
            f"the longest row may have {longest + completion} tokens, {longest} of them the prompt's, "
            f"more than the {recipe.train.token_budget} of a forward pass",
            "train.token_budget",
            f"Write {longest + completion} or more, or lower rollout.max_tokens",
        )


def context_of(recipe: Recipe, base: str) -> int:
    """Longest sequence: the recipe's, else the model's own.

    Raises:
        UserError: a completion would not fit in it.
    """
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(base).get_text_config()
    if Path(base).is_dir():
        check_context(recipe, Path(base) / "config.json")
    return recipe.rollout.context or int(config.max_position_embeddings)
