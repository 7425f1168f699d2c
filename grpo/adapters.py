"""LoRA and DoRA by PEFT: on a frozen base, exported merged or alone, saved in PEFT's format.

The layers of the model are replaced in place, so the model keeps its class and everything that runs it.
The base stays in the compute type: nothing steps it. The adapter's tensors are float32, whatever that is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import groupby
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from peft.tuners.lora.layer import LoraLayer
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel
from transformers.core_model_loading import revert_weight_conversion
from transformers.pytorch_utils import Conv1D

from grpo.errors import UserError
from grpo.recipe import Adapter as Spec
from grpo.rollout.wire import Lora

NAME = "default"  # PEFT's own for a model's only adapter
ALL = "all-linear"
FILE = "adapter_model.safetensors"


class Adapter:
    """The adapter of a model.

    Args:
        model: whose linear layers are replaced, in place, and whose own weights are frozen.
        spec: the recipe's section.
        seed: of A; B starts at 0, so that the model starts as its base.

    Raises:
        UserError: a target matches nothing.
    """

    def __init__(self, model: PreTrainedModel, spec: Spec, seed: int) -> None:
        targets = resolve_targets(model, spec.targets)
        config = LoraConfig(
            r=spec.rank,
            lora_alpha=spec.alpha,
            target_modules=targets,
            exclude_modules=[head] if (head := head_name(model)) else None,
            lora_dropout=0.0,
            use_dora=spec.kind == "dora",
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.peft: Any = get_peft_model(model, config)
        if (base := Path(str(model.name_or_path))).is_dir():  # saved with the adapter, and read from anywhere
            self.peft.peft_config[NAME].base_model_name_or_path = str(base.resolve())
        self.model = model
        names = tuple(sorted({target.rpartition(".")[2] for target in targets}))
        # What the engine needs to know where it is sent the adapter alone.
        self.lora = Lora(spec.rank, spec.alpha, names) if spec.sync == "adapter" else None
        self.layers: dict[str, Any] = {
            name: layer for name, layer in model.named_modules() if isinstance(layer, LoraLayer)
        }
        for layer in self.layers.values():
            _measure_rows(layer)

    def weights(self, dtype: torch.dtype) -> Iterator[tuple[str, Tensor]]:
        """What the engine is sent, in its type: the merged model's weights, or the adapter's alone."""
        return self.tensors(dtype) if self.lora else self.merged(dtype)

    def tensors(self, dtype: torch.dtype = torch.float32) -> Iterator[tuple[str, Tensor]]:
        """The adapter's own tensors by PEFT's names."""
        for name, tensor in get_peft_model_state_dict(self.peft).items():
            yield name, tensor.detach().to(dtype)

    def merged(self, dtype: torch.dtype) -> Iterator[tuple[str, Tensor]]:
        """Every weight of the merged model by its checkpoint name; tied heads are left out.

        A layer at a time, computed in float32 and rounded once; the model itself is not changed.
        """
        tied = getattr(self.model, "all_tied_weights_keys", None) or {}
        state = [(name, t) for name, t in self.model.state_dict().items() if name not in tied]
        for _, layer in groupby(state, key=lambda item: _layer_of(item[0])):
            merged = dict(self._merged_layer(layer))
            for name, tensor in revert_weight_conversion(self.model, merged).items():
                yield name, tensor.to(dtype) if tensor.is_floating_point() else tensor

    def _merged_layer(self, state: Iterator[tuple[str, Tensor]]) -> Iterator[tuple[str, Tensor]]:
        for name, tensor in state:
            module, inner, leaf = name.rpartition(".base_layer.")
            if inner:
                whole = merged_weight(self.layers[module]) if leaf == "weight" else tensor.detach()
                yield f"{module}.{leaf}", whole
            elif ".lora_" not in name:
                yield name, tensor.detach()

    @contextmanager
    def off(self) -> Iterator[None]:
        """The model is its base inside."""
        with self.peft.disable_adapter():
            yield

    @contextmanager
    def checkable(self) -> Iterator[None]:
        """Inside, B is not 0, so that a check can see the adapter, and every product is taken in float32."""
        factors = [layer.lora_B[NAME].weight for layer in self.layers.values()]
        kept = [factor.detach().clone() for factor in factors]
        generator = torch.Generator().manual_seed(0)
        with in_float32(self.model):
            try:
                for factor in factors:
                    factor.data.copy_(0.02 * torch.randn(factor.shape, generator=generator))
                yield
            finally:
                for factor, before in zip(factors, kept, strict=True):
                    factor.data.copy_(before)

    def load(self, folder: Path) -> None:
        """Takes the adapter's tensors from a checkpoint of ours, bit for bit.

        Raises:
            UserError: they are not this adapter's.
        """
        saved = load_file(folder / FILE)
        if saved.keys() != dict(self.tensors()).keys():
            raise UserError(f"{folder} holds another adapter", "model.adapter", "Resume with its own recipe")
        set_peft_model_state_dict(self.peft, saved)

    def save(self, folder: Path) -> None:
        """Writes adapter_config.json and adapter_model.safetensors."""
        self.peft.save_pretrained(folder, save_embedding_layers=False)
        (folder / "README.md").unlink(missing_ok=True)  # PEFT's model card, a form left blank


@torch.no_grad()
def merged_weight(layer: Any) -> Tensor:
    """[O, I] (of a Conv1D [I, O]), float32: the one matrix that does what base and adapter do together.

    LoRA: W + (alpha / rank) B A. DoRA: that, each row brought to the length m that was learned for it.
    """
    base = layer.get_base_layer().weight.float()
    variant = layer.lora_variant.get(NAME)
    if variant is None:
        whole: Tensor = base + layer.get_delta_weight(NAME)
        return whole
    whole = variant.merge_safe(layer, NAME, base)
    layer._cache_pop(f"{NAME}-weight_norm")  # kept by PEFT for undoing a merge
    return whole


def head_name(model: PreTrainedModel) -> str:
    """Name of the output head's module; empty where there is none."""
    head = model.get_output_embeddings()
    return next((name for name, module in model.named_modules() if module is head), "")


def resolve_targets(model: PreTrainedModel, targets: list[str]) -> list[str]:
    """Names of the layers to adapt, as PEFT takes them: each the end of a module's name.

    Raises:
        UserError: one of them matches no linear layer; it lists those that exist.
    """
    head = head_name(model)
    linear = [
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear | Conv1D) and name != head
    ]
    names = sorted({name.rpartition(".")[2] for name in linear})
    if targets == [ALL]:
        return names
    for target in targets:
        if not any(f".{name}".endswith(f".{target}") for name in linear):
            what = "is the output head, which stays as it is" if target == head else "matches no linear layer"
            raise UserError(
                f"{target!r} {what}", "model.adapter.targets", f"Write {ALL}, or some of {', '.join(names)}"
            )
    return list(targets)


def check_targets(spec: Spec, base: str) -> None:
    """Looks for the targets in the model's architecture, before anything of it is loaded.

    Raises:
        UserError: one of them matches no linear layer.
    """
    config = AutoConfig.from_pretrained(base)
    with torch.device("meta"):
        resolve_targets(AutoModelForCausalLM.from_config(config), spec.targets)


def _layer_of(name: str) -> str:
    """What a tensor's name has up to its layer's number; the whole name outside the layers."""
    found = re.match(r".*?\.\d+(?=\.)", name)
    return found[0] if found else name


def _measure_rows(layer: Any) -> None:
    """Starts DoRA's row lengths in float32: PEFT measures them in the base's type, and a bfloat16 length
    makes another model than the base."""
    for magnitude in layer.lora_magnitude_vector.values():
        magnitude.update_layer(
            base_layer=layer.get_base_layer(),
            lora_A=layer.lora_A[NAME].weight.detach(),
            lora_B=layer.lora_B[NAME].weight.detach(),
            scaling=layer.scaling[NAME],
        )


@contextmanager
def in_float32(model: nn.Module) -> Iterator[None]:
    """Every module of narrower weights computes in float32 inside: its weights are widened for its own call
    alone, so that no second copy of the model is held."""

    def widen(module: nn.Module, _: Any) -> None:
        for parameter in module.parameters(recurse=False):
            kept[parameter] = parameter.data
            parameter.data = parameter.data.float()

    def restore(module: nn.Module, *_: Any) -> None:
        for parameter in module.parameters(recurse=False):
            parameter.data = kept.pop(parameter)

    kept: dict[nn.Parameter, Tensor] = {}
    with ExitStack() as hooks:
        for module in model.modules():
            own = list(module.parameters(recurse=False))
            if any(parameter.is_floating_point() and parameter.dtype != torch.float32 for parameter in own):
                hooks.callback(module.register_forward_pre_hook(widen).remove)
                hooks.callback(module.register_forward_hook(restore, always_call=True).remove)
        yield
