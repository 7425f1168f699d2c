"""Combinations of recipe values that cannot work, each with its reason."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from grpo.errors import UserError
from grpo.named_models import model_problems
from grpo.recipe import Recipe
from grpo.recipe_tree import Key, Tree, dotted
from grpo.rollout.vllm_args import LORA_RANKS, argument_problems
from grpo.templates import TEMPLATES
from rewards.extract import EXTRACTORS

HEAD_WIDTHS = (32, 64, 80, 96, 112, 128)  # that vLLM's attention takes, on CPU too
ADAPTER_CONFIG = "adapter_config.json"  # PEFT's name
Problem = tuple[Key, str, str]


class Unknown(Exception):
    """A check asked for a value that is wrong in itself."""


class Doubtful:
    """A section some of whose values are wrong: a check that asks for one of those goes no further.

    Args:
        section: the section with defaults in the place of the wrong values.
        wrong: their names.
    """

    def __init__(self, section: Any, wrong: Collection[str]) -> None:
        self._section, self._wrong = section, wrong

    def __getattr__(self, name: str) -> Any:
        if name in self._wrong:
            raise Unknown(name)
        return getattr(self._section, name)


def check_combinations(sections: Mapping[str, Any], tree: Tree) -> None:
    """Adds to `tree` a problem for each impossible combination.

    Args:
        sections: the sections by name, valid or `Doubtful`. Checks that need others are left out.
        tree: where problems go.
    """
    checks: tuple[tuple[Callable[..., Iterator[Problem]], tuple[str, ...]], ...] = (
        (_one_base, ("model", "pretrain")),
        (_checkpoint, ("model",)),
        (_adapter, ("model", "rollout")),
        (_sharded_adapter, ("model", "train")),
        (_sharded_moments, ("train",)),
        (_named, ("model",)),
        (_context, ("model", "rollout")),
        (_decoder, ("pretrain",)),
        (_lengths, ("rollout",)),
        (_budget, ("rollout", "train")),
        (_engine_args, ("rollout",)),
        (_placement, ("model", "rollout")),
        (_small_context, ("rollout", "pretrain")),
        (_minibatches, ("train",)),
        (_coefficients, ("algorithm",)),
        (_answer_form, ("data", "rewards")),
        (_protocols, ("data", "eval")),
    )
    for check, needed in checks:
        if all(name in sections for name in needed):
            with contextlib.suppress(Unknown):
                for key, what, instead in check(*(sections[name] for name in needed)):
                    tree.problem(key, what, instead)


def check_context(recipe: Recipe, config: Path) -> None:
    """Checks lengths against the model's own context.

    Args:
        recipe: a valid recipe.
        config: the checkpoint's config.json.

    Raises:
        UserError: the engine's context, or a completion, is longer than the model takes.
    """
    for key, what, instead in _lengths_of_model(recipe.rollout, config):
        raise UserError(what, dotted(key), instead)


def _lengths_of_model(rollout: Any, config: Path) -> Iterator[Problem]:
    try:
        found = json.loads(config.read_text(encoding="utf-8"))
        context = (found.get("text_config") or found).get("max_position_embeddings")
    except (OSError, ValueError, AttributeError):
        yield ("model", "path"), f"{config} is no readable JSON mapping", "Save the checkpoint again"
        return
    for key in ("context", "max_tokens"):
        wanted = getattr(rollout, key)
        if context and wanted and (wanted > context or (key == "max_tokens" and wanted == context)):
            yield ("rollout", key), f"{wanted} tokens, but the model's context is {context}", "Use fewer"


def _one_base(model: Any, pretrain: Any) -> Iterator[Problem]:
    if model.path and pretrain:
        yield (
            ("model", "path"),
            "given together with a pretrain section",
            "Keep one: a checkpoint, or pretrain",
        )
    if not model.path and not pretrain:
        yield ("model", "path"), "missing", "Give a folder or hub id, or a pretrain section"


def _checkpoint(model: Any) -> Iterator[Problem]:
    if model.path and (Path(model.path) / ADAPTER_CONFIG).is_file():
        what = f"{model.path} is a PEFT adapter, no whole checkpoint"
        yield ("model", "path"), what, f"Merge it into its base first: grpo merge {model.path} OUT"
    elif model.path and model.path.endswith(".gguf"):
        if not Path(model.path).is_file():
            yield ("model", "path"), f"no such file {model.path!r}", "Give a GGUF file that is there"
    elif model.path and re.match(r"[.~/]", model.path):
        folder = Path(model.path)
        if not (folder / "config.json").is_file():
            missing = "is a file" if folder.is_file() else "is no folder"
            what = f"{model.path} {'has no config.json' if folder.is_dir() else missing}"
            yield (
                ("model", "path"),
                what,
                "Give the folder of a checkpoint in transformers format, or a hub id",
            )


def _adapter(model: Any, rollout: Any) -> Iterator[Problem]:
    if model.adapter is None or model.adapter.sync != "adapter":
        return
    key, instead = ("model", "adapter", "sync"), "Write merged"
    if model.adapter.kind != "lora":
        yield key, f"vLLM cannot apply {model.adapter.kind} beside its base", instead
    if rollout.engine != "vllm":
        yield key, f"engine {rollout.engine} takes whole weights only", instead
    if model.adapter.rank > LORA_RANKS[-1]:
        yield (
            key,
            f"vLLM applies adapters of rank {LORA_RANKS[-1]} at most, not {model.adapter.rank}",
            instead,
        )


def _sharded_adapter(model: Any, train: Any) -> Iterator[Problem]:
    if model.adapter and train.shard == "fsdp2":
        yield ("train", "shard"), "adapters are trained whole, on every process", "Write none"


def _sharded_moments(train: Any) -> Iterator[Problem]:
    if train.optimizer != "adamw" and train.shard == "fsdp2":
        what = f"{train.optimizer} cannot step the parts of a sharded model"
        yield ("train", "optimizer"), what, "Write adamw, or leave train.shard out"


def _named(model: Any) -> Iterator[Problem]:
    for key, what, instead in model_problems(model):
        yield ("model", key), what, instead


def _context(model: Any, rollout: Any) -> Iterator[Problem]:
    config = Path(model.path or "") / "config.json"
    if model.path and config.is_file():
        yield from _lengths_of_model(rollout, config)


def _decoder(pretrain: Any) -> Iterator[Problem]:
    if pretrain and pretrain.hidden_size not in (width * pretrain.heads for width in HEAD_WIDTHS):
        yield (
            ("pretrain", "heads"),
            f"{pretrain.heads} heads of hidden_size {pretrain.hidden_size} are of a width vLLM lacks",
            f"Make hidden_size / heads one of {', '.join(map(str, HEAD_WIDTHS))}",
        )


def _lengths(rollout: Any) -> Iterator[Problem]:
    if rollout.context is not None and rollout.max_tokens >= rollout.context:
        yield (
            ("rollout", "max_tokens"),
            f"{rollout.max_tokens} leaves no room for a prompt in a context of {rollout.context}",
            "Use fewer, or raise rollout.context",
        )


def _budget(rollout: Any, train: Any) -> Iterator[Problem]:
    if train.token_budget <= rollout.max_tokens:
        yield (
            ("train", "token_budget"),
            f"{train.token_budget} cannot hold a completion of {rollout.max_tokens} tokens and its prompt",
            "Raise it, or lower rollout.max_tokens",
        )


def _engine_args(rollout: Any) -> Iterator[Problem]:
    for name, what, instead in argument_problems(rollout.engine_args):
        yield ("rollout", "engine_args", name), what, instead


def _placement(model: Any, rollout: Any) -> Iterator[Problem]:
    device = ("rollout", "device")
    if rollout.engine == "hf":
        for key in ("device", "sleep"):
            if getattr(rollout, key):
                yield (
                    ("rollout", key),
                    "engine hf computes in the trainer's process",
                    "Leave it out, or use vllm",
                )
    elif rollout.device and not re.fullmatch(r"cuda:\d+", rollout.device):
        yield device, f"{rollout.device!r} names no GPU", "Write cuda:1"
    elif rollout.device == "cuda:0" and model.device != "cpu":
        yield device, "cuda:0 is the trainer's", "Write cuda:1, or leave it out to share it"
    elif rollout.device and rollout.sleep:
        what = "an engine on a GPU of its own has no memory to give to the trainer"
        yield ("rollout", "sleep"), what, "Keep one of rollout.device and rollout.sleep"


def _small_context(rollout: Any, pretrain: Any) -> Iterator[Problem]:
    if pretrain and (rollout.context or rollout.max_tokens + 1) > pretrain.context:
        key = "context" if rollout.context else "max_tokens"
        yield (
            ("rollout", key),
            f"{getattr(rollout, key)} is more than pretrain.context {pretrain.context} allows",
            "Use fewer, or raise pretrain.context",
        )


def _minibatches(train: Any) -> Iterator[Problem]:
    if train.prompts_per_step % train.minibatches:
        yield (
            ("train", "minibatches"),
            f"{train.minibatches} does not divide prompts_per_step {train.prompts_per_step}",
            "Each optimiser step takes the same number of prompts",
        )


def _answer_form(data: Any, rewards: Any) -> Iterator[Problem]:
    """A rule that grades answers must find a gold where the data's template asks for the answer."""
    template = TEMPLATES.get(data.template)
    if template is None:
        return  # told when the data are read
    find = [name for name, extract in EXTRACTORS.items() if extract(template.answer_form("7")) == "7"]
    for number, rule in enumerate(rewards):
        asked = rule.options.get("extract", "")
        if asked in EXTRACTORS and asked not in find:
            yield (
                ("rewards", number, "extract"),
                f"{rule.rule} looks elsewhere for the answer than template {data.template} asks for it",
                f"Write extract: {' or '.join(find)}",
            )


def _protocols(data: Any, evaluation: Any) -> Iterator[Problem]:
    """Each needs a name of its own, by which it is kept."""
    from grpo.protocols import name_of, own_name  # which reads folders of runs, and so recipes

    seen = [own_name(data, evaluation)]
    for number, protocol in enumerate(evaluation.protocols):
        name = name_of(protocol, data, evaluation)
        if name in seen:
            other = f"protocol {seen.index(name) - 1}" if seen.index(name) else "the recipe itself"
            yield (
                ("eval", "protocols", number),
                f"asks as {other} does, as far as its name tells: {name}",
                "Leave it out, or change template, shots, temperature or max_tokens",
            )
        seen.append(name)


def _coefficients(algorithm: Any) -> Iterator[Problem]:
    if algorithm.kl.options.get("coef", 0.0) < 0:
        yield ("algorithm", "kl", "coef"), "below 0 would reward drift from the reference", "Use 0 for none"
