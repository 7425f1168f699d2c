"""Gradients summed over ranks, and weights laid out over them (FSDP2).

The loss is normalised by the totals of the whole batch, so each rank's gradient is its part of a sum: it is
summed, never averaged.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor

from grpo.parallel.ranks import Ranks

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from grpo.recipe import Recipe

BUCKET = 1 << 23  # elements of one all-reduce: 32 MiB in float32


def sum_gradients(parameters: Iterable[nn.Parameter], ranks: Ranks) -> None:
    """Replaces each gradient by its sum over ranks; sharded parameters have theirs summed already."""
    if ranks.count == 1:
        return
    trained = [p for p in parameters if p.requires_grad and not isinstance(p, DTensor)]
    for parameter in trained:
        if parameter.grad is None:  # nothing of this rank's share touched it
            parameter.grad = torch.zeros_like(parameter)
    for bucket in _buckets([p.grad for p in trained if p.grad is not None]):
        flat = torch.cat([gradient.reshape(-1) for gradient in bucket])
        torch.distributed.all_reduce(flat)
        for gradient, part in zip(bucket, flat.split([g.numel() for g in bucket]), strict=True):
            gradient.copy_(part.view_as(gradient))


def _buckets(gradients: list[Tensor]) -> Iterator[list[Tensor]]:
    bucket: list[Tensor] = []
    for gradient in gradients:
        if bucket and sum(g.numel() for g in bucket) + gradient.numel() > BUCKET:
            yield bucket
            bucket = []
        bucket.append(gradient)
    if bucket:
        yield bucket


def is_sharded(recipe: Recipe, ranks: Ranks) -> bool:
    """Whether weights are laid out over the ranks; one alone holds them all in any case."""
    return recipe.train.shard == "fsdp2" and ranks.count > 1


def shard(module: nn.Module, model: PreTrainedModel, device: torch.device) -> None:
    """Lays the weights of `module` out over all ranks, a decoder layer at a time (FSDP2).

    Weights are gathered in float32, in which they are kept: the sharded run computes what the whole one does.

    Args:
        module: what is called; it holds `model`.
        model: names its decoder layers.
        device: of this rank.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import FSDPModule, fully_shard

    mesh = init_device_mesh(device.type, (torch.distributed.get_world_size(),))
    layers = [m for m in model.modules() if type(m).__name__ in (model._no_split_modules or ())]
    # The root too is resharded after a pass: after one without gradient it would keep weights that the
    # optimiser, which steps the shards, knows nothing of.
    for part in (*layers, module):
        fully_shard(part, mesh=mesh, reshard_after_forward=True)
        assert isinstance(part, FSDPModule)
        part.set_gradient_divide_factor(1.0)
        part.set_force_sum_reduction_for_comms(True)  # gloo cannot multiply while it reduces


def whole(tensor: Tensor) -> Tensor:
    """A sharded tensor gathered, [N, …]; every rank takes part. Any other tensor as it is."""
    if not isinstance(tensor, DTensor):
        return tensor
    gathered: Tensor = tensor.full_tensor()
    return gathered


def own_part(tensor: Tensor) -> Tensor:
    """This rank's part [N, …] of a sharded tensor, N from 0, in its memory; any other tensor as it is."""
    if not isinstance(tensor, DTensor):
        return tensor
    sharded: DTensor = tensor.detach()  # type: ignore[assignment]
    return sharded.to_local()


def gathered(state: Any, keep: bool) -> Any:
    """A state dict with every sharded tensor gathered on the CPU; every rank takes part.

    Args:
        state: nested dicts and lists of tensors and plain values.
        keep: whether this rank wants it; the others' memory holds one tensor at a time, and gets None for it.
    """
    if isinstance(state, dict):
        return {name: gathered(value, keep) for name, value in state.items()}
    if isinstance(state, list | tuple):
        return type(state)(gathered(value, keep) for value in state)
    if not isinstance(state, DTensor):
        return state
    full = whole(state)
    return full.cpu() if keep else None


def restore_optimizer(optimizer: Any, state: dict[str, Any]) -> None:
    """Loads a whole optimiser state, each rank taking its part of what belongs to a sharded parameter.

    So a checkpoint can be resumed on any number of ranks, sharded or not.
    """
    optimizer.load_state_dict(state)
    for parameter, values in optimizer.state.items():
        if isinstance(parameter, DTensor):
            for name, value in values.items():
                if isinstance(value, Tensor) and value.shape == parameter.shape:
                    values[name] = distribute_tensor(
                        value, parameter.device_mesh, parameter.placements, src_data_rank=None
                    )
