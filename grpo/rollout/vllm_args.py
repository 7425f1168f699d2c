"""vLLM's engine arguments: our defaults, and the ones a recipe may not change."""

from __future__ import annotations

import ast
import importlib.util
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from grpo.errors import UserError
from grpo.nearest import suggest
from grpo.parallel.launch import local_count
from grpo.recipe import Recipe, RolloutSection
from grpo.rollout.memory import free_memory, size
from grpo.rollout.wire import Load, Lora

BLOCK = 32  # tokens a cache block; CPU's default of 128 never finds a short prompt again
SEQUENCES = (64, 512)  # completions at once on CPU: throughput of small models rises up to the latter
PREFILL_TOKENS = 4096  # prompt tokens a step on CPU
CACHE_BYTES = 4 << 30  # largest cache on CPU by default, where one sequence needs no more
GPU_SHARE = 0.45  # of GPU memory; the trainer shares the card
OWN_SHARE = 0.9  # of a GPU that is the engine's alone
WIDTHS = {"float32": 4, "bfloat16": 2}  # bytes of a number

LORA_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)  # that vLLM reserves room for

WHERE = "rollout.engine_args"
SPACE = "VLLM_CPU_KVCACHE_SPACE"  # vLLM's own variable; it goes before kv_cache_memory_bytes
OURS = {
    "model": "Set model.path",
    "tokenizer": "The tokenizer comes with model.path",
    "dtype": "Set model.dtype",
    "seed": "Set output.seed",
    "max_model_len": "Set rollout.context",
    "quantization": "Trainer and engine must hold the same weights",
    "logprobs_mode": "Training needs the log-probs of the distribution that was sampled from",
    "generation_config": "Sampling is what the recipe says, not what the checkpoint suggests",
    "worker_extension_cls": "Weight updates come through it",
    "skip_tokenizer_init": "Stop strings need the tokenizer",
    **dict.fromkeys(
        ("enable_lora", "max_loras", "max_lora_rank", "max_cpu_loras", "lora_dtype", "lora_target_modules"),
        "Set model.adapter with sync: adapter",
    ),
    "enable_sleep_mode": "Set rollout.sleep",
    "speculative_config": "Its log-probs are not checked against the trainer's",
}
NO_ROOM = ("KV cache", "kv cache", "cache blocks", "memory for kv")
NO_LORA = "does not support LoRA"
TOO_LONG = ("max_model_len", "max_position_embeddings")


def engine_arguments(
    checkpoint: str,
    *,
    dtype: str,
    context: int | None,
    seed: int,
    on_cpu: bool,
    load: Load,
    overrides: Mapping[str, Any],
    lora: Lora | None = None,
    sleep: bool = False,
    alone: bool = False,
) -> dict[str, Any]:
    """Arguments of `vllm.LLM` for a rollout engine.

    Args:
        checkpoint: folder or hub id.
        dtype: "float32" or "bfloat16".
        context: longest sequence in tokens; the model's own when None.
        seed: of whatever the requests do not seed themselves.
        on_cpu: whether the installed vLLM computes on the CPU.
        load: what a step asks: on CPU no more is drawn at once, nor is there cache for more.
        overrides: the recipe's `rollout.engine_args`.
        lora: the adapter that is applied beside the base's weights, where one is.
        sleep: whether it shall be able to give up its GPU memory for a while.
        alone: whether no trainer shares its GPU.
    """
    _check(overrides, on_cpu, sleep)
    arguments: dict[str, Any] = {
        "model": checkpoint,
        "dtype": dtype,
        "seed": seed,
        "logprobs_mode": "processed_logprobs",
        "generation_config": "vllm",
        "enable_prefix_caching": True,
    }
    if context is not None:
        arguments["max_model_len"] = context
    arguments |= _lora_arguments(lora)
    if not on_cpu:
        share = OWN_SHARE if alone else GPU_SHARE
        return {**arguments, "gpu_memory_utilization": share, "enable_sleep_mode": sleep, **overrides}
    return arguments | _on_cpu(checkpoint, WIDTHS[dtype], context, load, overrides)


def _on_cpu(
    checkpoint: str, width: int, context: int | None, load: Load, overrides: Mapping[str, Any]
) -> dict[str, Any]:
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(checkpoint).get_text_config()
    longest: int = context if context is not None else config.max_position_embeddings
    arguments = {
        "block_size": BLOCK,
        "enforce_eager": True,
        "max_num_seqs": sequences_for(load.completions),
        "max_num_batched_tokens": max(PREFILL_TOKENS, longest),
        # vLLM's CPU build crashes when it splits the prompt of a seeded request over two steps.
        "enable_chunked_prefill": False,
        **overrides,
    }
    if "kv_cache_memory_bytes" not in overrides and cache_space() is None:
        token, free = token_bytes(config, width), free_memory() // local_count()  # each may start one
        arguments["kv_cache_memory_bytes"] = cache_bytes(
            token, longest, load, arguments["max_num_seqs"], free
        )
    return arguments


def load_of(recipe: Recipe, engines: int) -> Load:
    """What a step asks of each of so many engines."""
    completions = recipe.train.prompts_per_step * recipe.rollout.group_size
    return Load(-(-completions // engines), recipe.rollout.group_size, recipe.rollout.max_tokens)


def sequences_for(completions: int) -> int:
    """Completions drawn at once on CPU where a step has so many."""
    return min(max(completions, SEQUENCES[0]), SEQUENCES[1])


def _lora_arguments(lora: Lora | None) -> dict[str, Any]:
    if lora is None:
        return {}
    room = next(rank for rank in LORA_RANKS if rank >= lora.rank)
    # Without the list vLLM wraps the output head too, and then reads no log-probs of prompts.
    targets = list(lora.targets)
    return {"enable_lora": True, "max_loras": 1, "max_lora_rank": room, "lora_target_modules": targets}


def token_bytes(config: Any, width: int) -> int:
    """Bytes of key-value cache a token takes.

    Args:
        config: a transformers text configuration.
        width: bytes of a number.
    """
    if rank := getattr(config, "kv_lora_rank", None):  # latent attention keeps one vector for all heads
        return int(config.num_hidden_layers * (rank + config.qk_rope_head_dim) * width)
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return int(2 * config.num_hidden_layers * heads * head * width)


def cache_bytes(token: int, longest: int, load: Load, sequences: int, free: int) -> int:
    """Bytes of key-value cache on CPU: all sequences at once, a group's prompt in it once.

    At most `CACHE_BYTES` and half of free memory. Where more is asked of the engine, as by an evaluation that
    draws fewer completions of more prompts, some of it waits.

    Args:
        token: bytes a token.
        longest: longest sequence, tokens.
        load: what a step asks.
        sequences: sequences at once.
        free: bytes of memory free now.
    """
    least = sequence_bytes(token, longest)
    if least > free // 2:
        takes = f"a sequence of {longest} tokens takes {size(least)}"
        raise no_room(f"{takes}, half of the free memory is {size(free // 2)}", on_cpu=True)
    # The last block of a prompt is partly full: each completion goes on in one of its own.
    prompt, own = -(-max(0, longest - load.tokens) // BLOCK), -(-load.tokens // BLOCK) + 1
    blocks = -(-sequences // load.group) * prompt + sequences * own
    return max(least, min(blocks * BLOCK * token, CACHE_BYTES, free // 2))


def sequence_bytes(token: int, longest: int) -> int:
    """Bytes of cache that one sequence of `longest` tokens needs, with the block that vLLM keeps empty."""
    return (-(-longest // BLOCK) + 2) * BLOCK * token


def cache_space() -> int | None:
    """Bytes of cache that VLLM_CPU_KVCACHE_SPACE asks for; None where it is not set.

    Raises:
        UserError: it is no number of GiB.
    """
    given = os.environ.get(SPACE)
    if not given:
        return None
    try:
        gib = int(given)
    except ValueError:
        gib = 0
    if gib < 1:
        raise UserError(
            f"{given!r} is no size of a cache", SPACE, "Set it to whole GiB, 1 or more, or unset it"
        )
    return gib << 30


def check_start(rollout: RolloutSection) -> None:
    """What would stop the engine's start and can be told before a model is made or loaded.

    Raises:
        UserError: VLLM_CPU_KVCACHE_SPACE is no size.
    """
    if rollout.engine == "vllm":
        cache_space()


def no_room(reason: str, *, on_cpu: bool) -> UserError:
    """The error for a key-value cache that does not fit."""
    on_gpu = f"{WHERE}.gpu_memory_utilization"
    setting = f"{WHERE}.kv_cache_memory_bytes or {SPACE} (whole GiB)" if on_cpu else on_gpu
    return UserError(
        f"no room for the KV cache: {reason}",
        "rollout",
        f"Lower rollout.context or rollout.max_tokens, or set {setting}",
    )


def start_error(error: Exception, arguments: Mapping[str, Any], *, on_cpu: bool) -> UserError | None:
    """The user's part in a failed start, if vLLM's words name one.

    Args:
        error: what vLLM raised.
        arguments: from `engine_arguments`.
        on_cpu: whether the installed vLLM computes on the CPU.
    """
    text = " ".join(str(error).split())
    if any(words in text for words in NO_ROOM):
        # The rest of vLLM's words is advice, which contradicts ours.
        return no_room(_cpu_sizes(arguments) if on_cpu else text.split(". ")[0], on_cpu=on_cpu)
    if any(words in text for words in TOO_LONG):
        return UserError(text[:300], "rollout.context", "The model reads no further")
    if NO_LORA in text:
        return UserError(text[:300].rstrip("."), "model.adapter.sync", "Write merged")
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"]))
        if name in arguments:
            return UserError(f"is {first['input']!r}", f"{WHERE}.{name}", first["msg"])
    return None


def _cpu_sizes(arguments: Mapping[str, Any]) -> str:
    """What one sequence needs and what there is. vLLM's own figures are GiB: 0.0 for a small model."""
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(arguments["model"]).get_text_config()
    longest = arguments.get("max_model_len") or config.max_position_embeddings
    needed = size(sequence_bytes(token_bytes(config, WIDTHS[arguments["dtype"]]), longest))
    given = size(cache_space() or arguments["kv_cache_memory_bytes"])
    free = size(free_memory())
    return f"a sequence of {longest} tokens takes {needed}, the cache is given {given}, {free} are free"


def argument_problems(overrides: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Each of a recipe's engine arguments that it may not give: name, what is wrong, what to do instead."""
    known = argument_names() if overrides else []
    for name in overrides:
        if name in OURS:
            yield name, f"{name} cannot be set here", OURS[name]
        elif known and name not in known:
            yield name, f"vLLM has no argument {name}", suggest(name, known, "")


def argument_names() -> list[str]:
    """The fields of vLLM's `EngineArgs`; none where vLLM is not installed.

    Read from its source: importing it takes ten seconds, and a recipe is checked in less than one.
    """
    found = importlib.util.find_spec("vllm")
    for folder in (found.submodule_search_locations if found else None) or ():
        source = Path(folder) / "engine" / "arg_utils.py"
        if not source.is_file():
            continue
        for node in ast.parse(source.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and node.name == "EngineArgs":
                fields = [inner.target for inner in node.body if isinstance(inner, ast.AnnAssign)]
                return [field.id for field in fields if isinstance(field, ast.Name)]
    return []


def _check(overrides: Mapping[str, Any], on_cpu: bool, sleep: bool) -> None:
    for name, what, instead in argument_problems(overrides):
        raise UserError(what, f"{WHERE}.{name}", instead)
    if on_cpu and sleep:
        raise UserError("vLLM's CPU build cannot sleep", "rollout.sleep", "Leave it out")
    if on_cpu and overrides.get("enable_chunked_prefill"):
        raise UserError(
            "chunked prefill cannot be used on CPU",
            f"{WHERE}.enable_chunked_prefill",
            "Leave it out: vLLM's CPU build crashes when it splits the prompt of a seeded request",
        )
