"""What vLLM's worker learns from us about adapters: to take a new one out of memory, and to drop the old.

vLLM loads adapters from folders, and its prefix cache tells them apart by name. So each update is a new
adapter under a new number, built from the parcel's tensors, and the last one goes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from grpo.errors import EngineError
from grpo.rollout.transfer import Entry, checksum, unpack
from grpo.rollout.wire import Lora

if TYPE_CHECKING:
    from torch import Tensor


class AdapterTaker:
    """Mixed into vLLM's worker class (`worker_extension_cls`); reached by `collective_rpc`."""

    model_runner: Any

    def take_adapter(self, path: str, entries: Sequence[Entry], number: int, lora: Lora) -> dict[str, str]:
        """Replaces the adapter by one from a parcel, whose tensors have PEFT's names.

        Args:
            path: the open parcel, as `/proc/<pid>/fd/<n>`.
            entries: its table of contents.
            number: of the new adapter, from 1; never given before.
            lora: its rank and alpha.

        Returns:
            Checksum of each tensor that has a place in the engine's model.

        Raises:
            EngineError: another adapter than this one is in use afterwards.
        """
        manager = self.model_runner.lora_manager._adapter_manager
        # Copies: vLLM multiplies B by alpha / rank in place, and the parcel's file goes away.
        tensors = {name: tensor.clone() for name, tensor in unpack(path, entries)}
        adapter = self.build_adapter(tensors, number, lora)
        places = set(manager.modules).union(*manager.packed_modules.values())
        received = {
            name: checksum(taken)
            for name, (module, taken) in taken_tensors(tensors, adapter, renaming(manager.model)).items()
            if module in places
        }
        for old in manager.list_adapters():
            manager.remove_adapter(old)
        manager.add_adapter(adapter)
        manager.activate_adapter(number)
        if set(manager.list_adapters()) != {number} or manager.lora_index_to_id != [number]:
            raise EngineError(f"vLLM uses adapters {manager.lora_index_to_id}, not {number}", "weight update")
        return received

    def build_adapter(self, tensors: Mapping[str, Tensor], number: int, lora: Lora) -> Any:
        """vLLM's `LoRAModel` of named tensors."""
        from vllm.lora.lora_model import LoRAModel
        from vllm.lora.peft_helper import PEFTHelper

        manager = self.model_runner.lora_manager._adapter_manager
        helper = PEFTHelper(r=lora.rank, lora_alpha=lora.alpha, target_modules=[])
        return LoRAModel.from_lora_tensors(
            number,
            dict(tensors),
            helper,
            device="cpu",
            dtype=manager.lora_config.lora_dtype,
            weights_mapper=renaming(manager.model),
        )


def renaming(model: Any) -> Any:
    """How vLLM renames the checkpoint's modules for this model; None where it does not."""
    mapper = getattr(model, "hf_to_vllm_mapper", None)
    return mapper.get_rename_mapper() if mapper is not None else None


def taken_tensors(names: Mapping[str, Any], adapter: Any, mapper: Any) -> dict[str, tuple[str, Tensor]]:
    """By name sent: the module vLLM puts a tensor at, and what its adapter holds of it, [R, I] or [O, R]."""
    from vllm.lora.utils import parse_fine_tuned_lora_name

    found = {}
    for name in names:
        module, is_a = parse_fine_tuned_lora_name(name, mapper)
        weights = adapter.loras[module]
        found[name] = (module, weights.lora_a if is_a else weights.lora_b)
    return found
