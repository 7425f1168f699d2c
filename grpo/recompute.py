"""Gradient checkpointing of as many decoder layers as are asked for: the first ones.

What a layer makes is thrown away going forward and made again going back. That happens to one layer at a
time, and to the first ones when those behind them have been freed.
"""

from __future__ import annotations

from torch import nn
from transformers.modeling_layers import GradientCheckpointingLayer


def layer_count(model: nn.Module) -> int:
    """Layers of the model that can be recomputed."""
    return len(_layers(model))


def recompute(model: nn.Module, count: int) -> None:
    """Makes the first `count` layers of a model of transformers recompute, and no other."""
    if count:
        model.gradient_checkpointing_enable({"use_reentrant": False})  # type: ignore[operator]
        model.config.use_cache = False  # type: ignore[union-attr]
    for number, layer in enumerate(_layers(model)):
        # transformers recomputes in training mode alone. What stands in the layer stays in evaluation mode:
        # nothing in it may drop or jitter, or the on-policy ratio would not be 1.
        layer.gradient_checkpointing = layer.training = number < count


def _layers(model: nn.Module) -> list[GradientCheckpointingLayer]:
    return [module for module in model.modules() if isinstance(module, GradientCheckpointingLayer)]
