"""The processes of a run, and what they tell each other.

Every rank takes part in every exchange, in the same order. What one rank decides alone from an exchanged
value, all decide alike.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from grpo.errors import GrpoError, UserError
from grpo.parallel.ending import end_on_sigterm, ended, store
from grpo.parallel.launch import local_count, process_count, process_rank

if TYPE_CHECKING:
    from grpo.recipe import Recipe

T = TypeVar("T")
PATIENCE = timedelta(hours=2)  # for the slowest rank's rollouts, the base's pre-training, an evaluation


@dataclasses.dataclass(frozen=True)
class Ranks:
    """This process among those of the run, as a fresh one finds itself: alone."""

    rank: int = 0
    count: int = 1
    drawing: int = 1  # ranks 0 … drawing-1 have a rollout engine

    @property
    def first(self) -> bool:
        """Whether this is the rank that writes and shows."""
        return self.rank == 0

    def exchange(self, value: T) -> list[T]:
        """The value of every rank, by rank."""
        if self.count == 1:
            return [value]
        from torch.distributed import all_gather_object

        every: list[T] = [value] * self.count
        all_gather_object(every, value)
        return every

    def once(self, make: Callable[[], T]) -> T:
        """What `make` gives, or an error of ours that it raises, on the first rank: on every rank."""
        if self.count == 1:
            return make()
        from torch.distributed import broadcast_object_list

        made: list[Any] = [None, None]
        if self.first:
            try:
                made[0] = make()
            except GrpoError as error:
                made[1] = error
        broadcast_object_list(made, src=0)
        if made[1] is not None:
            raise made[1]
        return made[0]  # type: ignore[no-any-return]

    def same(self, value: T) -> T:
        """The first rank's value, on every rank."""
        return self.once(lambda: value)

    def share(self, values: Sequence[T]) -> Sequence[T]:
        """This rank's consecutive part of what the drawing ranks draw; joined by rank, all of it."""
        if self.rank >= self.drawing:
            return values[:0]
        edges = [len(values) * i // self.drawing for i in range(self.drawing + 1)]
        return values[edges[self.rank] : edges[self.rank + 1]]


ALONE = Ranks()


@contextlib.contextmanager
def joined(recipe: Recipe) -> Iterator[Ranks]:
    """The ranks of a run as torchrun started them, until it is over.

    Raises:
        UserError: the processes do not divide the prompts of a step.
    """
    count = process_count()
    if count == 1:
        yield ALONE
        return
    import torch.distributed as dist
    from torch.distributed.distributed_c10d import PrefixStore

    end_on_sigterm()
    backend = "cpu:gloo,cuda:nccl" if _on_gpus(recipe) else "gloo"
    group = PrefixStore("group", store())
    dist.init_process_group(backend, store=group, rank=process_rank(), world_size=count, timeout=PATIENCE)
    try:
        check_processes(recipe, count)
        yield Ranks(dist.get_rank(), count, count if recipe.rollout.engines == "per_rank" else 1)
    except BaseException as error:
        # The group stays open: the others must not lose it before it is known who failed first.
        told = ended(error)
        if told is error:
            raise
        raise told from None
    dist.destroy_process_group()


def _on_gpus(recipe: Recipe) -> bool:
    import torch

    return recipe.model.device != "cpu" and torch.cuda.is_available()


def check_processes(recipe: Recipe, count: int) -> None:
    """Refuses a number of processes that would draw shares of different size, or all on one engine's GPU.

    Raises:
        UserError: names the nearest number of prompts that works.
    """
    if recipe.rollout.device and count > 1 and recipe.rollout.engines == "per_rank":
        raise UserError(
            f"the engines of {count} processes cannot all have {recipe.rollout.device}",
            "rollout.device",
            "Write rollout.engines: shared, or leave it out.",
        )
    here = local_count()
    if recipe.rollout.device and count > 1 and int(recipe.rollout.device.removeprefix("cuda:")) < here:
        raise UserError(
            f"{recipe.rollout.device} is a trainer's: {here} processes have the first {here} GPUs",
            "rollout.device",
            f"Write cuda:{here} or a later one.",
        )
    prompts = recipe.train.prompts_per_step
    if recipe.rollout.engines == "per_rank" and prompts % count:
        more = -(-prompts // count) * count
        raise UserError(
            f"{count} processes do not divide the {prompts} prompts of a step",
            "train.prompts_per_step",
            f"Take {more}, or another number of processes, or rollout.engines: shared.",
        )


def reward_workers() -> int | None:
    """Reward workers of this process; None, for the default, where it is alone on its machine."""
    if local_count() == 1:
        return None
    return max(1, min(4, len(os.sched_getaffinity(0))) // local_count())
