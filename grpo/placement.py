"""Whether this machine has the devices that a recipe names: told before data are read or models fetched."""

from __future__ import annotations

from typing import TYPE_CHECKING

from grpo.errors import UserError

if TYPE_CHECKING:
    from grpo.recipe import Recipe


def check_devices(recipe: Recipe) -> None:
    """Refuses a recipe for GPUs that torch does not see here.

    Raises:
        UserError: of `model.device`, `rollout.device` or `rollout.sleep`.
    """
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    rollout = recipe.rollout
    if recipe.model.device == "cuda" and not count:
        raise UserError(
            "this recipe is for a GPU, and no CUDA device is visible here",
            "model.device",
            "Run it where one is (see `grpo doctor`), plan it with --dry-run, or try `grpo train demo`: "
            "it needs none",
        )
    if rollout.device and int(rollout.device.removeprefix("cuda:")) >= count:
        what = f"no {rollout.device} is visible here; CUDA devices: {count}"
        raise UserError(what, "rollout.device", "Leave it out to share the trainer's device")
    if rollout.sleep and not count:
        what = "vLLM on a CPU cannot sleep, and trainer and engine share no GPU here"
        raise UserError(what, "rollout.sleep", "Leave it out")
