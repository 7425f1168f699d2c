"""Engines of several ranks: each has one of its own, or all see that of the first rank."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from grpo.parallel.ranks import Ranks
from grpo.rollout.engine import RolloutEngine
from grpo.types import Request, Rollout

if TYPE_CHECKING:
    from torch import Tensor


def open_engine(ranks: Ranks, version: int, start: Callable[[], RolloutEngine]) -> RolloutEngine:
    """An engine of this rank's own, or its end of the one that all ranks share.

    Args:
        version: of the weights it starts with.
        start: starts it.
    """
    if ranks.drawing == ranks.count:
        return start()
    return SharedEngine(ranks, start() if ranks.rank < ranks.drawing else None, version)


class SharedEngine(RolloutEngine):
    """The first rank's engine, as every rank sees it. Only the first can draw.

    Args:
        ranks: all of them; each takes part in every weight update and every question for log-probs.
        engine: the engine; None on the other ranks.
        version: of the weights it starts with.
    """

    def __init__(self, ranks: Ranks, engine: RolloutEngine | None, version: int) -> None:
        self._ranks, self._engine, self._version = ranks, engine, version

    @property
    def version(self) -> int:
        return self._version if self._engine is None else self._engine.version

    def submit(self, requests: Iterable[Request]) -> None:
        requests = list(requests)
        if requests:
            self._own().submit(requests)

    def finished(self) -> Iterator[Rollout]:
        if self._engine is not None:
            yield from self._engine.finished()

    def logprobs(self, sequences: Sequence[Sequence[int]]) -> list[list[float]]:
        return self._ranks.once(lambda: self._own().logprobs(sequences))

    def update_weights(self, weights: Iterable[tuple[str, Tensor]], version: int) -> Mapping[str, str]:
        received: Mapping[str, str] = {}
        if self._engine is not None:
            received = self._engine.update_weights(weights, version)
        else:
            for _ in weights:  # a sharded tensor is gathered by all ranks together
                pass
        self._version = version
        return self._ranks.same(received)

    def resting(self) -> AbstractContextManager[None]:
        return nullcontext() if self._engine is None else self._engine.resting()

    def close(self) -> None:
        if self._engine is not None:
            self._engine.close()

    def _own(self) -> RolloutEngine:
        assert self._engine is not None, "only the rank with the engine draws"
        return self._engine
