"""What the rollout engine takes."""

from __future__ import annotations

from typing import Any

from grpo.memory.room import GIB, Room
from grpo.parallel.launch import local_count
from grpo.recipe import Recipe
from grpo.rollout.memory import free_memory
from grpo.rollout.vllm_args import (
    GPU_SHARE,
    WIDTHS,
    cache_bytes,
    cache_space,
    load_of,
    sequence_bytes,
    sequences_for,
    token_bytes,
)

# A vLLM process on CPU beside weights and cache: docs/performance.md
VLLM_PROCESS = int(1.0 * GIB)
SHARE = "gpu_memory_utilization"
CACHE = "kv_cache_memory_bytes"


def engine_bytes(recipe: Recipe, config: Any, numbers: int, room: Room, engines: int) -> dict[str, int]:
    """Bytes of each part of an engine; of none that has a GPU of its own.

    Args:
        recipe: with its engine arguments.
        config: the model's text configuration.
        numbers: the model's weights.
        room: on a GPU, vLLM takes its share of that and no more.
        engines: that share a step's completions.
    """
    if recipe.rollout.device:
        return {}
    weights = numbers * WIDTHS[recipe.model.dtype]
    if recipe.rollout.engine == "hf":
        sequence = token_bytes(config, WIDTHS[recipe.model.dtype]) * longest(recipe, config)
        return {"weights": weights, "cache": sequence}
    if room.on_gpu:
        return {SHARE: int(share_of(recipe) * room.bytes)}
    return {"process": VLLM_PROCESS, "weights": weights, "cache": _cache(recipe, config, engines)}


def least_share(recipe: Recipe, config: Any, numbers: int, room: Room) -> float:
    """Smallest share of the GPU in hundredths that holds the weights and one of the longest sequences."""
    width = WIDTHS[recipe.model.dtype]
    least = numbers * width + sequence_bytes(token_bytes(config, width), longest(recipe, config))
    return -(-100 * (least + GIB) // room.bytes) / 100  # a GiB for what vLLM computes in


def share_of(recipe: Recipe) -> float:
    """Share of the GPU's memory that vLLM takes."""
    return float(recipe.rollout.engine_args.get(SHARE, GPU_SHARE))


def longest(recipe: Recipe, config: Any) -> int:
    """Tokens of the longest sequence that the engine takes."""
    return recipe.rollout.context or int(config.max_position_embeddings)


def _cache(recipe: Recipe, config: Any, engines: int) -> int:
    if given := cache_space():
        return given
    arguments = recipe.rollout.engine_args
    if CACHE in arguments:
        return int(arguments[CACHE])
    token, load = token_bytes(config, WIDTHS[recipe.model.dtype]), load_of(recipe, engines)
    sequences = int(arguments.get("max_num_seqs", sequences_for(load.completions)))
    return cache_bytes(token, longest(recipe, config), load, sequences, free_memory() // local_count())
