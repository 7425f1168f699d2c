"""The policy: model, optimiser and the version of its weights; and the frozen reference.

Master weights are float32 whatever the compute type: a bf16 AdamW step at lr 1e-6 would change only a few
weights in a hundred. Forward passes run under bf16 autocast where the recipe says bfloat16.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.core_model_loading import revert_weight_conversion

from grpo.adapters import Adapter
from grpo.errors import RunError, UserError
from grpo.memory.change import layers_to_recompute
from grpo.memory.heap import return_freed
from grpo.model import DTYPES, TokenLogprobs, check_logits, load_model
from grpo.optimizer import make_optimizer
from grpo.packing import sequences_chunk
from grpo.parallel.ranks import ALONE, Ranks
from grpo.parallel.shards import (
    gathered,
    is_sharded,
    own_part,
    restore_optimizer,
    shard,
    sum_gradients,
    whole,
)
from grpo.recipe import Model, Recipe, Train
from grpo.recompute import recompute
from grpo.types import Chunk


class Reference:
    """The frozen model that the KL term pulls towards."""

    def __init__(
        self, model: PreTrainedModel, accelerator: Accelerator, temperature: float, sharded: bool = False
    ) -> None:
        module = TokenLogprobs(model.requires_grad_(False))
        if sharded:
            shard(module, model, accelerator.device)
        self._module = accelerator.prepare_model(module, evaluation_mode=True)
        self._temperature = temperature

    @torch.no_grad()
    def logprobs(self, chunk: Chunk) -> Tensor:
        """Log-probs [T] of the chunk's completion tokens, at logits / temperature."""
        logp: Tensor = self._module(chunk, self._temperature)[0]
        return logp


class AdapterOff(Reference):
    """The reference of a policy that trains an adapter: its own model, without it. No second copy."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy

    @torch.no_grad()
    def logprobs(self, chunk: Chunk) -> Tensor:
        """As `Reference.logprobs` [T]."""
        assert self._policy.adapter
        with self._policy.adapter.off():
            return self._policy.logprobs(chunk)[0]


class Policy:
    """The model being trained, whole or by its adapter alone.

    `version` counts rollout steps: the weights that sample step n's rollouts have version n.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        recipe: Recipe,
        accelerator: Accelerator,
        adapter: Adapter | None = None,
        ranks: Ranks = ALONE,
    ) -> None:
        self.ranks = ranks
        self.model, self.tokenizer, self.version = model, tokenizer, 0
        self.adapter = adapter
        self.device = accelerator.device
        self._accelerator, self._dtype = accelerator, DTYPES[recipe.model.dtype]
        self._temperature, self._entropy_grad = recipe.rollout.temperature, recipe.algorithm.entropy != 0
        self._train = recipe.train
        module = TokenLogprobs(model)
        if is_sharded(recipe, ranks):
            check_logits(model, torch.device("cpu"))  # whole, as no rank's device may be able to hold it
            shard(module, model, self.device)
        else:
            with adapter.checkable() if adapter else nullcontext():
                check_logits(model.to(self.device), self.device)
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        optimizer = make_optimizer(trained, recipe.train)
        # without accelerate's data-parallel wrapper, which would average gradients: they are to be summed
        self._module = accelerator.prepare_model(module, evaluation_mode=True)
        self.optimizer = accelerator.prepare_optimizer(optimizer)

    def logprobs(self, chunk: Chunk) -> tuple[Tensor, Tensor]:
        """Log-prob and entropy [T] of the chunk's completion tokens, at logits / temperature."""
        both: tuple[Tensor, Tensor] = self._module(chunk, self._temperature, self._entropy_grad)
        return both

    def backward(self, loss: Tensor) -> None:
        """Adds the gradient of one chunk's loss (a scalar, [])."""
        self._accelerator.backward(loss)

    def step(self, step: int) -> dict[str, float]:
        """One optimiser step at the learning rate of rollout step `step` (from 0).

        Returns:
            grad_norm before clipping, and lr.

        Raises:
            RunError: the gradient is not finite; the weights are left as they were.
        """
        lr = lr_at(step, self._train)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        sum_gradients(self.model.parameters(), self.ranks)
        norm = whole(self._accelerator.clip_grad_norm_(self.model.parameters(), self._train.max_grad_norm))
        if not torch.isfinite(norm):
            raise RunError(
                "the gradient is not finite",
                f"step {step}",
                "Lower train.lr, or look at samples/ for this step.",
            )
        self.optimizer.step()
        self.optimizer.zero_grad()
        return_freed(self.device)  # not after each backward pass: the next would need its pages anew
        return {"grad_norm": float(norm), "lr": lr}

    def weights(self) -> Iterator[tuple[str, Tensor]]:
        """Every weight by its checkpoint name, in the engine's type; tied heads are left out.

        An adapter alone by PEFT's names, where the recipe has it sent so. Sharded ones are gathered one by
        one, so every rank must go through all of them.
        """
        if self.adapter:
            yield from self.adapter.weights(self._dtype)
            return
        for name, tensor in revert_weight_conversion(self.model, self._state()).items():
            yield name, whole(tensor.to(self._dtype) if tensor.is_floating_point() else tensor)

    def named_masters(self) -> Iterator[tuple[str, Tensor]]:
        """The trainable float32 master weights, by parameter name; mutable under no_grad.

        Of a sharded one, this rank's part, which may be empty.
        """
        for name, parameter in self.model.named_parameters():
            if parameter.requires_grad:
                yield name, own_part(parameter)

    @torch.no_grad()
    def sequence_logprobs(self, sequences: Sequence[Sequence[int]]) -> list[list[float]]:
        """Log-probs at temperature 1 of every token but the first of each sequence."""
        chunk = sequences_chunk(sequences, self.device)
        logp, _ = self._module(chunk, 1.0)
        return [part.tolist() for part in logp.split([len(s) - 1 for s in sequences])]

    def restore(self, state: dict[str, Any]) -> None:
        """Takes version and optimiser state from a checkpoint's state; its weights are loaded already."""
        self.version = int(state["version"])
        restore_optimizer(self.optimizer, state["optimizer"])

    def save(self, folder: Path) -> None:
        """Writes master weights in transformers format, or the adapter in PEFT's, and the tokenizer.

        The first rank does, all ranks' parts.
        """
        state = {} if self.adapter else gathered(self._state(), keep=self.ranks.first)
        if not self.ranks.first:
            return
        if self.adapter:
            self.adapter.save(folder)
        else:
            self.model.save_pretrained(folder, state_dict=state)
        self.tokenizer.save_pretrained(folder)

    def _state(self) -> dict[str, Tensor]:
        tied = getattr(self.model, "all_tied_weights_keys", None) or {}
        return {name: p.detach() for name, p in self.model.state_dict().items() if name not in tied}

    def optimizer_state(self) -> dict[str, Any]:
        """The whole optimiser state, on the first rank; every rank takes part."""
        state: dict[str, Any] = gathered(self.optimizer.state_dict(), keep=self.ranks.first)
        return state


def lr_at(step: int, train: Train) -> float:
    """Learning rate of a rollout step: linear warm-up, then constant, linear or cosine decay to 0."""
    if step < train.warmup_steps:
        return train.lr * (step + 1) / train.warmup_steps
    left = 1 - (step - train.warmup_steps) / max(1, train.steps - train.warmup_steps)
    if train.schedule == "linear":
        return train.lr * left
    if train.schedule == "cosine":
        return train.lr * 0.5 * (1 + float(torch.cos(torch.tensor(torch.pi * (1 - left)))))
    return train.lr


def make_accelerator(model: Model) -> Accelerator:
    """The process's device and precision, in accelerate's terms.

    Raises:
        UserError: the recipe wants a GPU and there is none.
    """
    AcceleratorState._reset_state(reset_partial_state=True)  # a second run of a process may compute otherwise
    accelerator = Accelerator(
        cpu=model.device == "cpu" or not torch.cuda.is_available(),
        mixed_precision="bf16" if model.dtype == "bfloat16" else "no",
    )
    if model.device == "cuda" and accelerator.device.type != "cuda":
        raise UserError(
            "no CUDA device is visible", "model.device", "Write auto or cpu, or see `grpo doctor`."
        )
    return accelerator


def load_policy(
    recipe: Recipe,
    checkpoint: str | Path,
    base: str | Path,
    tokenizer: PreTrainedTokenizerBase,
    ranks: Ranks = ALONE,
) -> tuple[Policy, Reference | None]:
    """The policy from `checkpoint` (the base, or the one resumed from), and the reference from `base`.

    There is no reference where the KL coefficient is 0. A base that an adapter is trained on is frozen and
    needs no float32 masters.
    """
    accelerator = make_accelerator(recipe.model)
    if spec := recipe.model.adapter:
        model = load_model(base, DTYPES[recipe.model.dtype])
        adapter = Adapter(model, spec, recipe.output.seed)
        if str(checkpoint) != str(base):
            adapter.load(Path(checkpoint))
        policy = Policy(model, tokenizer, recipe, accelerator, adapter, ranks)
    else:
        model = load_model(checkpoint, torch.float32)
        policy = Policy(model, tokenizer, recipe, accelerator, ranks=ranks)
    recompute(policy.model, layers_to_recompute(recipe, policy.model.config, ranks))
    if not recipe.algorithm.kl.options.get("coef"):
        return policy, None
    if policy.adapter:
        return policy, AdapterOff(policy)
    frozen = load_model(base, DTYPES[recipe.model.dtype])
    return policy, Reference(
        frozen, accelerator, recipe.rollout.temperature, sharded=is_sharded(recipe, ranks)
    )
