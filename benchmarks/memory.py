"""The estimate of the trainer's memory against its peak, each configuration in a process of its own.

    python benchmarks/memory.py
    GLIBC_TUNABLES=glibc.malloc.perturb=0 python benchmarks/memory.py    with glibc's caches for small blocks

Two updates: a small one, after which gradients and optimiser state exist as in any later step, and one whose
second chunk has exactly `train.token_budget` tokens. No engine is started. `--only 1` runs the second row.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from demo import show
from transformers import AutoConfig

from grpo.losses.objective import objective
from grpo.memory.estimate import Estimator
from grpo.memory.heap import NO_SMALL_CACHES, VARIABLE
from grpo.memory.room import room_for
from grpo.memory.simulate import Shape, full_chunk
from grpo.named_models import resolve
from grpo.policy import load_policy
from grpo.recipe import Recipe
from grpo.recipe_file import load_recipe
from grpo.stages.rl import load_tokenizer
from grpo.tally import Tally
from grpo.types import Totals

PROMPT, COMPLETION, GROUP = 100, 256, 8
BASE = (
    "pretrain=null",
    "model.path=smollm2-135m",
    "model.dtype=float32",
    "model.device=cpu",
    f"rollout.max_tokens={COMPLETION}",
    f"rollout.group_size={GROUP}",
    "rollout.context=1024",
)
ROWS: tuple[tuple[str, ...], ...] = (
    ("train.token_budget=4096",),
    ("train.token_budget=8192", "train.gradient_checkpointing=true"),
    ("train.token_budget=4096", "model.adapter={rank: 16}"),
    ("train.token_budget=2048", "train.gradient_checkpointing=true", "train.optimizer=adamw_8bit"),
)


def status(key: str) -> int:
    """Bytes of a row of /proc/self/status."""
    rows = Path("/proc/self/status").read_text().splitlines()
    return next(int(row.split()[1]) * 1024 for row in rows if row.startswith(key))


def measure(recipe: Recipe) -> dict[str, float]:
    """Bytes resident before a model is loaded, and at most; seconds of the full chunk."""
    before, base = status("VmRSS"), resolve(str(recipe.model.path))
    policy, _ = load_policy(recipe, base, base, load_tokenizer(base))
    seconds = 0.0
    for step, sizes in enumerate(((PROMPT + 28,), (PROMPT + 28, recipe.train.token_budget))):
        for tokens in sizes:
            chunk = full_chunk(Shape(tokens, PROMPT, COMPLETION, GROUP))
            totals = Totals(len(chunk.completion_lengths), len(chunk.predicted), COMPLETION)
            start = time.monotonic()
            logp, entropy = policy.logprobs(chunk)
            policy.backward(objective(logp, None, entropy, chunk, totals, recipe.algorithm, Tally(1)))
            seconds = time.monotonic() - start
        policy.step(step)
    return {"before": before, "peak": status("VmHWM"), "seconds": seconds}


def main() -> None:
    """Prints the table, or as the child of a row what it measured."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", type=int, help="number of a row, from 0")
    parser.add_argument("--child", type=int)
    parser.add_argument("overrides", nargs="*", help="of the recipe, for all rows: model.path=./base")
    given = parser.parse_args()
    if given.child is not None:
        recipe = load_recipe("demo", [*BASE, *ROWS[given.child], *given.overrides])
        print(json.dumps(measure(recipe)))
        return
    table = []
    for number in range(len(ROWS)) if given.only is None else [given.only]:
        recipe = load_recipe("demo", [*BASE, *ROWS[number], *given.overrides])
        command = [sys.executable, __file__, "--child", f"{number}", *given.overrides]
        as_train_has_it = {VARIABLE: NO_SMALL_CACHES, **os.environ}
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=as_train_has_it)
        found = json.loads(done.stdout.splitlines()[-1])
        config = AutoConfig.from_pretrained(resolve(str(recipe.model.path)))
        estimate = Estimator(config, room_for(recipe.model), prompt=PROMPT).of(recipe)
        guess, peak = sum(estimate.trainer.values()), found["peak"]
        values = [guess / 2**20, peak / 2**20, found["before"] / 2**20]
        shown = [f"{value:,.0f}" for value in values]
        table.append([" ".join(ROWS[number]), *shown, f"{guess / peak:.2f}", f"{found['seconds']:.0f}"])
        show(["recipe", "estimate, MiB", "peak, MiB", "before a model", "ratio", "seconds"], table)


if __name__ == "__main__":
    main()
