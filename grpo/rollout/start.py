"""Starts the rollout engine a recipe names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from grpo.recipe import RolloutSection
from grpo.rollout.engine import RolloutEngine
from grpo.rollout.hf import HfEngine
from grpo.rollout.vllm import VllmEngine
from grpo.rollout.wire import Load, Lora


def start_engine(
    rollout: RolloutSection,
    *,
    checkpoint: str,
    dtype: str,
    version: int,
    log_file: Path,
    scratch: Path,
    seed: int,
    device: str,
    load: Load,
    lora: Lora | None = None,
) -> RolloutEngine:
    """The engine of `rollout.engine`, ready to generate; `with` closes it.

    Args:
        rollout: the recipe's section.
        checkpoint: folder or hub id of the weights it starts from.
        dtype: "float32" or "bfloat16".
        version: version of those weights.
        log_file: receives what an engine in a process of its own prints.
        scratch: existing folder whose disk carries weight updates that memory has no room for.
        seed: of whatever the requests do not seed themselves.
        device: the trainer's, which an engine in its process shares.
        load: what a step asks of it, for which it makes room.
        lora: the adapter, where weight updates bring nothing else.
    """

    def vllm() -> RolloutEngine:
        return VllmEngine(
            checkpoint,
            dtype=dtype,
            context=rollout.context,
            version=version,
            seed=seed,
            log_file=log_file,
            scratch=scratch,
            load=load,
            engine_args=rollout.engine_args,
            lora=lora,
            sleep=rollout.sleep,
            device=rollout.device,
        )

    def hf() -> RolloutEngine:
        return HfEngine(checkpoint, dtype=dtype, context=rollout.context, version=version, device=device)

    engines: dict[str, Callable[[], RolloutEngine]] = {"vllm": vllm, "hf": hf}
    return engines[rollout.engine]()
