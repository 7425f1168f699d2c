"""GRPO post-training you can read, trust and change. Everything loads where it is first used.

recipe = grpo.load_recipe("demo", ["train.steps=10"])
summary = grpo.train(recipe)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from grpo import advantages, losses
    from grpo.errors import EngineError, GrpoError, RunError, SyncError, UserError
    from grpo.recipe import Recipe
    from grpo.recipe_file import dump_recipe, load_recipe
    from grpo.stages.pretrain import pretrain
    from grpo.stages.rl import train

_HOMES = {
    "EngineError": "grpo.errors",
    "GrpoError": "grpo.errors",
    "RunError": "grpo.errors",
    "SyncError": "grpo.errors",
    "UserError": "grpo.errors",
    "Recipe": "grpo.recipe",
    "dump_recipe": "grpo.recipe_file",
    "load_recipe": "grpo.recipe_file",
    "pretrain": "grpo.stages.pretrain",
    "train": "grpo.stages.rl",
}
_MODULES = ("advantages", "losses")

__all__ = [
    "EngineError",
    "GrpoError",
    "Recipe",
    "RunError",
    "SyncError",
    "UserError",
    "advantages",
    "dump_recipe",
    "load_recipe",
    "losses",
    "pretrain",
    "train",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"grpo.{name}")
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'grpo' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
