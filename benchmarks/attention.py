"""Forward and backward of a small Llama over sequences of unequal length: packed, padded, dense mask.

    python benchmarks/attention.py [--threads 1] [--repeats 3]

Seconds of CPU (all threads), the best of interleaved repeats. `packed` is the trainer's path; `padded` is one
right-padded batch; `dense` is the packed row with an L×L mask.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Callable, Sequence

import torch
from rich.console import Console
from rich.table import Table
from transformers import LlamaConfig, LlamaForCausalLM

from grpo.attention import NAME, packed_forward, register
from grpo.packing import sequences_chunk

CASES = {
    "256 sequences of 20-60 tokens": (256, 20, 60),
    "64 sequences of 20-600 tokens": (64, 20, 600),
    "3 sequences of 1,000-1,500 tokens": (3, 1000, 1500),
}


def decoder() -> LlamaForCausalLM:
    """Width 128, 3 layers, random weights."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=64, hidden_size=128, intermediate_size=384, num_hidden_layers=3, num_attention_heads=4
    )
    return LlamaForCausalLM(config)


def packed(model: LlamaForCausalLM, rows: Sequence[Sequence[int]]) -> torch.Tensor:
    """Hidden states of the trainer's path, summed."""
    model.set_attn_implementation(NAME)
    return packed_forward(model, sequences_chunk(rows)).sum()


def padded(model: LlamaForCausalLM, rows: Sequence[Sequence[int]]) -> torch.Tensor:
    """The rows as one right-padded batch."""
    model.set_attn_implementation("sdpa")
    longest = max(map(len, rows))
    ids = torch.tensor([[*row, *[0] * (longest - len(row))] for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows])
    return (model.model(ids, attention_mask=mask).last_hidden_state * mask[..., None]).sum()


def dense(model: LlamaForCausalLM, rows: Sequence[Sequence[int]]) -> torch.Tensor:
    """The rows end to end under one block-diagonal causal mask."""
    model.set_attn_implementation("sdpa")
    ids = torch.tensor([[token for row in rows for token in row]])
    positions = torch.tensor([[i for row in rows for i in range(len(row))]])
    blocks = torch.block_diag(*[torch.ones(len(row), len(row)).tril() for row in rows]).bool()
    mask = torch.zeros(blocks.shape).masked_fill(~blocks, float("-inf"))[None, None]
    return model.model(ids, attention_mask=mask, position_ids=positions).last_hidden_state.sum()


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    register()
    model = decoder()
    ways: dict[str, Callable[..., torch.Tensor]] = {"packed": packed, "padded": padded, "dense": dense}
    table = Table(title="CPU seconds, forward and backward")
    for column in ("", "tokens", *ways):
        table.add_column(column, justify="right")
    for name, (count, low, high) in CASES.items():
        rng = random.Random(0)
        rows = sorted(
            ([rng.randrange(64) for _ in range(rng.randint(low, high))] for _ in range(count)), key=len
        )
        best = dict.fromkeys(ways, float("inf"))
        for _ in range(arguments.repeats):
            for way, run in ways.items():
                start = time.process_time()
                run(model, rows).backward()
                best[way] = min(best[way], time.process_time() - start)
        tokens = sum(map(len, rows))
        table.add_row(name, f"{tokens:,}", *[f"{seconds:.2f}" for seconds in best.values()])
    Console().print(table)


if __name__ == "__main__":
    main()
