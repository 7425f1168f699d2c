"""How large a model this machine's memory can train, by a rule of bytes a parameter.

A rule for the first look, on a machine with nothing installed; `--dry-run` knows the recipe at hand.

                              full, GPU (bf16)   full, CPU (f32)   LoRA, GPU   LoRA, CPU
    master weights or base                  4                 4           2           4
    gradients, AdamW's two moments         12                12           -           -
    copy in the compute type                2                 -           -           -
    adapter with its optimiser              -                 -           1           1
    engine's weights                        2                 4           2           4
    weights on their way to it              -                 4           -           4
    bytes a parameter                      20                24           5          13

On a GPU the weights on their way are in RAM. `SHARE` of memory is for all of these; the rest is for
activations of sequences of 4,096 tokens, recomputed in the backward pass (`train.gradient_checkpointing`),
the key-value cache, and what torch and CUDA take. Standard library only, as doctor.py.
"""

from __future__ import annotations

from grpo.facts import Facts
from grpo.finding import Finding, ok, warn

BYTES = {"cuda": (20, 5), "cpu": (24, 13)}  # a parameter: full fine-tuning, LoRA
SHARE = 0.75
GIB = 2**30


def largest(memory: int, device: str) -> tuple[float, float]:
    """Parameters of the largest model that full fine-tuning, and LoRA, can take.

    Args:
        memory: bytes of one GPU, or of RAM.
        device: cuda or cpu.
    """
    full, lora = BYTES[device]
    return SHARE * memory / full, SHARE * memory / lora


def check_size(facts: Facts) -> Finding:
    """What can be trained here and at what size, by memory alone."""
    if facts.device == "cuda" and not facts.gpu_memory:
        ask = "see what `nvidia-smi --query-gpu=memory.total --format=csv` says"
        return warn("how much memory the GPU has is unknown, so also what it can train", ask)
    memory = min(facts.gpu_memory) if facts.device == "cuda" else facts.memory
    full, lora = (words(count) for count in largest(memory, facts.device))
    where = f"{memory / GIB:.0f} GiB of RAM; time is the narrower limit on CPUs"
    if facts.device == "cuda":
        where = f"one GPU of {memory / GIB:.0f} GiB, {len(facts.gpu_memory)} here"
    return ok(f"full fine-tuning up to about {full} parameters at 4k tokens, LoRA up to {lora} ({where})")


def words(parameters: float) -> str:
    """A number of parameters in two figures: `3.2 B`, `740 M`."""
    if parameters >= 9.95e8:
        return f"{parameters / 1e9:.{int(parameters < 9.95e9)}f} B"
    return f"{round(parameters / 1e7) * 10} M"
