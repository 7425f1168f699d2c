"""A worker extension that plants a fault in the weight update when the file named by ROLLOUT_FAULT says so.

Imported inside the engine's process; without a fault it is the real one.
"""

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
