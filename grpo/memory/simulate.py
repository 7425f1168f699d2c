"""An update without its numbers: every allocation of forward and backward pass counted, none made.

The trainer's own modules run on fake tensors, which have shapes and no memory, so nothing about an
architecture is written down here: what is kept for the backward pass, recomputed layers, tiles of the output
head, gathered keys and autocast's narrow copies are what the run itself makes.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import fields, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import AutoModelForCausalLM

from grpo.adapters import Adapter
from grpo.attention import NAME, register
from grpo.model import DTYPES, TokenLogprobs
from grpo.packing import pack
from grpo.recipe import Adapter as Spec
from grpo.recompute import layer_count, recompute
from grpo.types import Chunk, Group, Prompt, Rollout


class Shape(NamedTuple):
    """What a full chunk is made of."""

    tokens: int  # packed tokens of the chunk
    prompt: int  # tokens of each prompt
    completion: int  # tokens of each completion
    group: int  # completions of a prompt


class Taken(NamedTuple):
    """Bytes beyond weights, gradients and optimiser state."""

    kept: int  # from forward to backward pass: the activations proper
    peak: int  # most at once


class Allocations(TorchDispatchMode):
    """Counts the bytes of the storages that are made inside and still alive.

    Args:
        outside: tensors that are not to be counted.
    """

    def __init__(self, outside: Sequence[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.live = self.peak = 0
        self._sizes = {tensor.untyped_storage()._cdata: 0 for tensor in outside}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(made):
            if isinstance(tensor, Tensor):
                self._see(tensor.untyped_storage())
        return made

    def _see(self, storage: torch.UntypedStorage) -> None:
        key = storage._cdata
        if key in self._sizes:
            return
        self._sizes[key] = storage.nbytes()
        self.live += storage.nbytes()
        self.peak = max(self.peak, self.live)
        weakref.finalize(storage, self._forget, key)

    def _forget(self, key: int) -> None:
        self.live -= self._sizes.pop(key, 0)


class Simulated:
    """A policy that takes no memory.

    Args:
        config: of a causal language model, as transformers has it.
        dtype: the recipe's compute type, by name.
        adapter: what is trained on the frozen base; everything is when None.
    """

    def __init__(self, config: Any, dtype: str, adapter: Spec | None) -> None:
        register()
        self._fake = FakeTensorMode()
        kind = DTYPES[dtype] if adapter else torch.float32
        with torch.device("meta"):
            self.model = AutoModelForCausalLM.from_config(config, dtype=kind, attn_implementation=NAME)
            self.numbers: int = sum(p.numel() for p in self.model.parameters())
            if adapter:
                Adapter(self.model, adapter, seed=0)
        with self._fake:
            _place(self.model)
            self._parameters = list(self.model.parameters())
            for parameter in self._parameters:
                parameter.grad = torch.zeros_like(parameter) if parameter.requires_grad else None
        self._narrow = torch.autocast("cpu", DTYPES[dtype]) if dtype != "float32" else nullcontext()
        self.weights = sum(p.numel() * p.element_size() for p in self._parameters)
        self.sizes = [p.numel() for p in self._parameters if p.requires_grad]  # of what is trained
        self.trained = sum(self.sizes)
        self.layers = layer_count(self.model)
        self._taken: dict[tuple[Shape, int], Taken] = {}

    def update(self, shape: Shape, recomputed: int) -> Taken:
        """Of one chunk's forward and backward pass, the gradients of chunks before it being there.

        Args:
            shape: of the chunk.
            recomputed: layers whose activations are made again in the backward pass.
        """
        key = (shape, recomputed)
        if key not in self._taken:
            recompute(self.model, recomputed)
            self._taken[key] = self._run(full_chunk(shape))
        return self._taken[key]

    def _run(self, chunk: Chunk) -> Taken:
        values = {f.name: getattr(chunk, f.name) for f in fields(chunk)}
        with self._fake as fake:
            tensors: dict[str, Any] = {
                k: fake.from_tensor(v) for k, v in values.items() if isinstance(v, Tensor)
            }
            outside = [*self._parameters, *self.model.buffers(), *tensors.values()]
            outside += [p.grad for p in self._parameters if p.grad is not None]
            with Allocations(outside) as counted:
                with self._narrow:
                    logp, entropy = TokenLogprobs(self.model)(replace(chunk, **tensors), 1.0)
                kept = counted.live
                logp.sum().backward()
                del logp, entropy
        return Taken(kept, counted.peak)


def _place(model: nn.Module) -> None:
    """Puts parameters and buffers of the device `meta`, which has no autocast, on a CPU that is not there."""
    placed: dict[nn.Parameter, nn.Parameter] = {}  # what is tied stays tied
    for module in model.modules():
        for name, parameter in module._parameters.items():
            if parameter is None:
                continue
            if parameter not in placed:
                empty = torch.empty(parameter.shape, dtype=parameter.dtype)
                placed[parameter] = nn.Parameter(empty, requires_grad=parameter.requires_grad)
            module._parameters[name] = placed[parameter]
        for name, buffer in module._buffers.items():
            if buffer is not None:
                module._buffers[name] = torch.empty(buffer.shape, dtype=buffer.dtype)


def full_chunk(shape: Shape, device: torch.device | str = "cpu") -> Chunk:
    """A chunk of exactly `shape.tokens` tokens, the last group being cut short."""
    groups: list[Group] = []
    left = shape.tokens
    prompt = min(shape.prompt, shape.tokens // 2)
    while left > prompt + 1:
        ids = (1 + len(groups),) * prompt  # no two begin alike
        left -= prompt
        rollouts = []
        for sample in range(shape.group):
            if length := min(shape.completion, left):
                rollouts.append(_rollout(ids, sample, length))
                left -= length
        # what would be too short for a group of its own goes to the last completion
        if left <= prompt + 1 and left:
            last = rollouts.pop()
            rollouts.append(_rollout(ids, last.sample, len(last.token_ids) + left))
            left = 0
        ones = (1.0,) * len(rollouts)
        groups.append(Group(Prompt("", "", None, "", ids), tuple(rollouts), (), ones, ones))
    (batch,) = pack(
        groups,
        minibatches=1,
        token_budget=shape.tokens,
        max_tokens=shape.completion,
        skip_zero_advantage=True,
        mask_truncated=False,
        device=device,
    )
    (chunk,) = batch.chunks
    return chunk


def _rollout(prompt: tuple[int, ...], sample: int, length: int) -> Rollout:
    zeros = (0,) * length
    drawn = (True,) * length
    return Rollout("", sample, prompt, zeros, drawn, (0.0,) * length, zeros, "", "length")
