"""A worker extension that plants a fault in the weight update when the file named by ROLLOUT_FAULT says so.

Imported inside the engine's process; without a fault it is the real one.
"""

import dataclasses
import os
from pathlib import Path

from grpo.rollout.vllm_worker import WeightTaker


def fault() -> str:
    return Path(os.environ["ROLLOUT_FAULT"]).read_text()


class FaultyTaker(WeightTaker):
    def incoming(self, path, entries, received):
        if fault() == "lose one tensor":
            entries = [entry for entry in entries if entry.name != "model.layers.1.mlp.up_proj.weight"]
        if fault() == "change one tensor":
            entries = [
                entry._replace(offset=0) if entry.name == "model.norm.weight" else entry for entry in entries
            ]
        return super().incoming(path, entries, received)

    def load_weights_from(self, weights):
        if fault() == "consume nothing":
            weights = iter(())
        if fault() == "drop the head":
            weights = ((name, tensor) for name, tensor in weights if name != "lm_head.weight")
        if fault() == "fail":
            raise RuntimeError("the planted failure")
        super().load_weights_from(weights)

    def repack(self):
        if fault() != "no repack":
            super().repack()

    def take_adapter(self, path, entries, number, lora):
        kept = {"stale A": self.slots("lora_a_stacked"), "stale adapter": self.slots("lora_b_stacked")}
        if fault() == "lose a module":
            entries = [entry for entry in entries if ".layers.1.mlp.up_proj." not in entry.name]
        received = super().take_adapter(path, entries, number, lora)
        for slot, old in kept.get(fault(), []):
            slot.copy_(old)
        return received

    def slots(self, name):
        """The buffers that vLLM's layers multiply by, each with a copy of what it holds."""
        modules = self.model_runner.lora_manager._adapter_manager.modules.values()
        return [(slot, slot.clone()) for module in modules for slot in getattr(module, name, ())]

    def build_adapter(self, tensors, number, lora):
        if fault() == "wrong scaling":
            lora = dataclasses.replace(lora, alpha=2 * lora.alpha)
        if fault() == "change one tensor":
            first = next(iter(tensors))
            tensors = {**tensors, first: 1.01 * tensors[first]}
        if fault() == "an old number":
            number -= 1
        return super().build_adapter(tensors, number, lora)
