"""What trainer and engine process say to each other.

To the engine: ("submit", [(number, Request)]), ("logprobs", sequences), ("update", entries) followed by an
open file, ("sleep", whether or to wake), None to end. From it: ("ready", seconds), ("rollouts", [Drawn],
requests received, idle), ("answer", value), or an error of ours, after which it ends.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from grpo.types import FinishReason


@dataclass(frozen=True)
class Lora:
    """An adapter that the engine applies beside its base: B A is multiplied by alpha / rank."""

    rank: int
    alpha: int
    targets: tuple[str, ...]  # names of the layers it may change, each the last part of a module's name


class Load(NamedTuple):
    """What a step asks of an engine at most, for which it makes room."""

    completions: int
    group: int  # completions that share a prompt
    tokens: int  # longest completion


@dataclass(frozen=True)
class Start:
    """What the engine process is told first."""

    checkpoint: str
    dtype: str
    context: int | None  # tokens; the model's own when None
    seed: int
    engine_args: Mapping[str, Any]
    worker: str  # dotted name of the class mixed into vLLM's worker
    load: Load
    lora: Lora | None = None  # what updates bring: an adapter; whole weights where None
    sleep: bool = False  # whether it will be told to
    alone: bool = False  # no trainer shares its GPU


class Drawn(NamedTuple):
    """One finished completion."""

    number: int  # the request's
    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    text: str
    finish_reason: FinishReason
    stop_reason: str | int | None
    error: str | None
