"""The memory of a recipe's run in a dry run: from the model's config.json alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from grpo.errors import GrpoError
from grpo.memory.change import Change, changes
from grpo.memory.estimate import PROMPT, Estimate, Estimator
from grpo.memory.room import room_for
from grpo.parallel.launch import local_count, process_count
from grpo.recipe import Recipe
from grpo.rollout.memory import size


@dataclass(frozen=True)
class Memory:
    """An estimate and what would make it fit, or why there is none."""

    estimate: Estimate | None
    changes: tuple[Change, ...] = ()
    unknown: str = ""

    def to_json(self) -> dict[str, Any]:
        """Everything as JSON values."""
        if self.estimate is None:
            return {"unknown": self.unknown}
        return {**self.estimate.to_json(), "changes": [vars(change) for change in self.changes]}

    def to_lines(self) -> list[str]:
        """For a person."""
        if self.estimate is None:
            return [f"memory       unknown: {self.unknown}"]
        lines = [*self.estimate.to_lines(), *(change.to_line() for change in self.changes)]
        if not self.estimate.fits and not self.changes:
            over = size(self.estimate.needed - self.estimate.room.bytes)
            lines.append(f"  {over} too much, and no change that is tried here makes it fit")
        return lines


def memory_of(
    recipe: Recipe, folder: Path | None, prompt: int | None = None, gpu_gib: float | None = None
) -> Memory:
    """The memory of a run.

    Args:
        recipe: resolved.
        folder: of its base, where there is one; its config.json is read.
        prompt: tokens of a prompt, where they are known.
        gpu_gib: of the GPU that it is estimated for, GiB; this machine's memory when None.
    """
    config = _config(recipe, folder)
    if config is None:
        model = recipe.model.path
        return Memory(
            None,
            unknown=f"the config of {model} is not on this machine; a folder that holds its "
            "config.json is enough: model.path=FOLDER",
        )
    room = room_for(recipe.model, gpu_gib)
    each = 1 if room.on_gpu else local_count()
    estimator = Estimator(config, room, prompt or PROMPT, ranks=process_count(), each=each)
    try:
        estimate = estimator.of(recipe)
        found = () if estimate.fits else tuple(changes(estimator, recipe))
    except (GrpoError, RuntimeError) as error:  # an architecture that looks at its numbers, or is no decoder
        first = str(error).strip().splitlines()[0]
        return Memory(None, unknown=f"{config.model_type} could not be tried without its weights ({first})")
    return Memory(estimate, found)


def _config(recipe: Recipe, folder: Path | None) -> Any:
    from transformers import AutoConfig

    if recipe.pretrain and folder is None:
        from grpo.corpus import CORPORA
        from grpo.stages.pretrain import build_decoder, build_tokenizer

        return build_decoder(recipe.pretrain, build_tokenizer(CORPORA[recipe.pretrain.corpus])).config
    try:
        return AutoConfig.from_pretrained(str(folder or recipe.model.path), local_files_only=True)
    except (OSError, ValueError):
        return None
