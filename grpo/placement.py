"""Whether this machine has the devices that a recipe names: told before data are read or models fetched."""

from __future__ import annotations

from typing import TYPE_CHECKING

from grpo.errors import UserError

if TYPE_CHECKING:
    from grpo.recipe import Recipe


def check_devices(recipe: Recipe) -> None:
    """Refuses a recipe for a GPU on a machine without one.

    Raises:
        UserError: `model.device` is cuda, and torch sees no CUDA device.
    """
    import torch

    if recipe.model.device == "cuda" and not torch.cuda.is_available():
        raise UserError(
            "this recipe is for a GPU, and no CUDA device is visible here",
            "model.device",
            "Run it where one is (see `grpo doctor`), plan it with --dry-run, or try `grpo train demo`: "
            "it needs none",
        )
