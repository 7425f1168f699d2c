"""What a rollout engine is, and the seed of each sample."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

from grpo.types import Request, Rollout

if TYPE_CHECKING:
    from torch import Tensor


class RolloutEngine(Protocol):
    """Draws completions from the policy's current weights."""

    @property
    def version(self) -> int:
        """Version of the weights the engine says it holds (the trainer's step)."""
        ...

    def submit(self, requests: Iterable[Request]) -> None:
        """Queues requests and returns at once; more may be queued while `finished` is being read."""
        ...

    def finished(self) -> Iterator[Rollout]:
        """Yields rollouts in order of finishing until nothing is outstanding."""
        ...

    def generate(self, requests: Iterable[Request]) -> Iterator[Rollout]:
        """`submit` at once, then `finished`."""
        self.submit(requests)
        return self.finished()

    def logprobs(self, sequences: Sequence[Sequence[int]]) -> list[list[float]]:
        """Log-probs at temperature 1 of each token but the first of each sequence, given those before it."""
        ...

    def update_weights(self, weights: Iterable[tuple[str, Tensor]], version: int) -> Mapping[str, str]:
        """Replaces all weights (checkpoint names), or the adapter (PEFT's) of an engine started for one.

        Returns:
            A checksum of each tensor the loader consumed.
        """
        ...

    def resting(self) -> AbstractContextManager[None]:
        """Around an update of the policy: an engine started to do so leaves its GPU memory to the trainer."""
        return nullcontext()

    def close(self) -> None:
        """Ends the engine and everything it started. Safe to call twice."""
        ...

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def sample_seed(run_seed: int, step: int, prompt_id: str, sample: int) -> int:
    """Seed of one completion: a hash, so that no two samples share a random stream.

    Counting seeds up would not do: an engine that derives its children's seeds as `seed + j` makes
    neighbouring seeds collide.

    Returns:
        An integer in [0, 2**63).
    """
    text = f"{run_seed}/{step}/{prompt_id}/{sample}".encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big") >> 1
