"""The memory of a run, part by part: of the trainer, and of the engine beside it."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass
from typing import Any

from grpo.memory.engine import engine_bytes
from grpo.memory.room import Room
from grpo.memory.simulate import Shape, Simulated
from grpo.optimizer import moments_bytes
from grpo.recipe import Recipe
from grpo.rollout.memory import size
from grpo.rollout.vllm_args import WIDTHS

# Measured by benchmarks/memory.py; docs/performance.md
PROCESS = 480 << 20  # PyTorch, transformers, PEFT and accelerate loaded, before a model is
CUDA_CONTEXT = 600 << 20  # of a process on a GPU, whatever it computes
HEAP = 300 << 20  # gaps in glibc's heap, whatever is computed
GAPS = 1.2  # of the activations there, with what kernels allocate for themselves
GAPS_CUDA = 1.05  # the same of CUDA's allocator, which is a guess
PROMPT = 256  # tokens of a prompt, where no tokenizer tells


@dataclass(frozen=True)
class Estimate:
    """Bytes of each part of both, and the room they have."""

    trainer: dict[str, int]
    engine: dict[str, int]
    room: Room
    recomputed: int  # layers under gradient checkpointing
    layers: int
    other: int  # activations with all layers recomputed, or with none where all are
    sleeps: bool  # the engine gives its memory up during updates

    @property
    def needed(self) -> int:
        """Bytes of trainer and engine together; awake or asleep, whichever takes more."""
        trainer, engine = sum(self.trainer.values()), sum(self.engine.values())
        if not self.sleeps:
            return trainer + engine
        return max(trainer, trainer - self.trainer["gradients"] - self.trainer["activations"] + engine)

    @property
    def fits(self) -> bool:
        """Whether there is room for both."""
        return self.needed <= self.room.bytes

    def to_json(self) -> dict[str, Any]:
        """Everything as JSON values, bytes throughout."""
        return {**vars(self), "room": self.room._asdict(), "needed": self.needed, "fits": self.fits}

    def to_lines(self) -> list[str]:
        """For a person."""
        verdict = "fits in" if self.fits else "does not fit in"
        again = f"{self.recomputed} of {self.layers} layers recomputed"
        other = f"{size(self.other)} with {'none' if self.recomputed == self.layers else 'all'}"
        return [
            f"memory       {size(self.needed)} {verdict} the {size(self.room.bytes)} of {self.room.whose}",
            f"  trainer    {_sum(self.trainer)} ({again}; activations {other})",
            f"  engine     {_sum(self.engine) if self.engine else 'on a GPU of its own'}"
            + (" (asleep during updates)" if self.sleeps else ""),
        ]


def _sum(parts: dict[str, int]) -> str:
    each = " + ".join(f"{name} {size(count)}" for name, count in parts.items() if count)
    return f"{size(sum(parts.values()))} = {each}"


class Estimator:
    """Estimates a model by recipes that differ in how it is trained.

    Args:
        config: of the model, as transformers has it; no weight is needed.
        room: of trainer and engine.
        prompt: tokens of a prompt.
        ranks: processes that share weights, gradients and optimiser state under `train.shard`.
        each: processes that this room has to hold.
    """

    def __init__(self, config: Any, room: Room, prompt: int = PROMPT, ranks: int = 1, each: int = 1) -> None:
        self.config, self.room, self.prompt, self.ranks, self.each = config, room, prompt, ranks, each
        self._models: dict[str, Simulated] = {}

    def model(self, recipe: Recipe) -> Simulated:
        """The recipe's policy without its numbers."""
        key = f"{recipe.model.dtype} {recipe.model.adapter}"
        if key not in self._models:
            self._models[key] = Simulated(self.config, recipe.model.dtype, recipe.model.adapter)
        return self._models[key]

    def of(self, recipe: Recipe, recomputed: int | None = None) -> Estimate:
        """The estimate for a recipe.

        Args:
            recipe: resolved.
            recomputed: layers under gradient checkpointing; as the recipe says when None.
        """
        layers = self.model(recipe).layers
        if recomputed is None:
            said = recipe.train.gradient_checkpointing
            recomputed = self.fewest_layers(recipe) if said == "auto" else layers * bool(said)
        trainer = self.trainer(recipe, recomputed)
        other = 0 if recomputed == layers else layers
        return Estimate(
            trainer={name: self.each * count for name, count in trainer.items()},
            engine={name: self._engines(recipe) * count for name, count in self.engine(recipe).items()},
            room=self.room,
            recomputed=recomputed,
            layers=layers,
            other=self.each * self.trainer(recipe, other)["activations"],
            sleeps=recipe.rollout.sleep,
        )

    def trainer(self, recipe: Recipe, recomputed: int) -> dict[str, int]:
        """Bytes of each part of one trainer's process."""
        model = self.model(recipe)
        ranks = self.ranks if recipe.train.shard == "fsdp2" else 1
        shape = Shape(
            recipe.train.token_budget, self.prompt, recipe.rollout.max_tokens, recipe.rollout.group_size
        )
        process, gaps = (CUDA_CONTEXT, GAPS_CUDA) if self.room.on_gpu else (PROCESS + HEAP, GAPS)
        return {
            "process": process,
            "weights": model.weights // ranks,
            "gradients": 4 * model.trained // ranks,
            "optimiser": moments_bytes(recipe.train.optimizer, model.sizes) // ranks,
            "reference": self._reference(recipe) // ranks,
            "activations": int(gaps * model.update(shape, recomputed).peak),
        }

    def engine(self, recipe: Recipe) -> dict[str, int]:
        """Bytes of each part of one engine."""
        config, engines = self.config.get_text_config(), self._engines(recipe)
        return engine_bytes(recipe, config, self.numbers(recipe), self.room, engines)

    def _engines(self, recipe: Recipe) -> int:
        return 1 if recipe.rollout.engines == "shared" else self.each

    def on_ranks(self, ranks: int) -> Estimator:
        """The same for so many processes, each on a GPU of its own."""
        other = copy(self)
        other.ranks = ranks
        return other

    def numbers(self, recipe: Recipe) -> int:
        """Weights of the model without its adapter."""
        return self.model(recipe).numbers

    def _reference(self, recipe: Recipe) -> int:
        if recipe.model.adapter or not recipe.algorithm.kl.options.get("coef"):
            return 0
        return self.numbers(recipe) * WIDTHS[recipe.model.dtype]

    def fewest_layers(self, recipe: Recipe) -> int:
        """Layers to recompute so that the run fits: none if it does as it is, all if nothing helps."""
        low, high = 0, self.model(recipe).layers
        while low < high:
            middle = (low + high) // 2
            if self.of(recipe, middle).fits:
                high = middle
            else:
                low = middle + 1
        return high
