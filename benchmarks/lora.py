"""Full fine-tuning against LoRA and DoRA on the demo, by rank and learning rate.

    python benchmarks/lora.py --seeds 30,31,32 --folder runs/lora

All arms of a seed start from the same base, with the same prompts and samples. Rates are given as multiples
of the recipe's own, which is full fine-tuning's: "LoRA Without Regret" (Schulman and Thinking Machines Lab,
2025) finds about ten times that best for LoRA, at any rank, and rank 1 enough for reinforcement learning.
A run that is finished is not repeated; one that was stopped goes on.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from statistics import fmean
from typing import Any

from demo import cell, run, show
from safetensors import safe_open

from grpo.metrics import read_metrics
from grpo.recipe_file import load_recipe

COLUMNS = [
    "seed",
    "trained",
    "lr",
    "weights trained",
    "pass@1",
    "share thinking",
    "mismatch",
    "sync, s",
    "seconds",
]


def arms(ranks: list[int], rates: list[float]) -> dict[str, tuple[str, float]]:
    """Folder name of each arm: what is trained, as an override, and the multiple of the learning rate."""
    found = {f"full-{rate:g}": ("null", rate) for rate in rates if rate <= 1}
    for rank in ranks:
        for rate in rates:
            found[f"lora-{rank}-{rate:g}"] = (f"{{rank: {rank}}}", rate)
    rank, rate = ranks[len(ranks) // 2], rates[-1]
    found[f"dora-{rank}-{rate:g}"] = (f"{{kind: dora, rank: {rank}}}", rate)
    found[f"lora-{rank}-{rate:g}-adapter"] = (f"{{rank: {rank}, sync: adapter}}", rate)
    return found


def trained_weights(folder: Path) -> int:
    """Numbers in the newest checkpoint: of the adapter, or of the whole model."""
    newest = max((folder / "checkpoints").glob("step-*"), key=lambda path: int(path.name[5:]))
    (file,) = newest.glob("*model.safetensors")
    with safe_open(file, "pt") as tensors:
        return sum(tensors.get_tensor(name).numel() for name in tensors.keys())  # noqa: SIM118 it is no dict


def ends(end: dict[str, Any]) -> list[str]:
    """pass@1 and the share of worked answers of one end of a run."""
    first = cell({"value": end["pass@1"], "interval": end["interval"]})
    return [first, cell(end["styles"]["thinking"]["share"])]


def row(seed: int, name: str, lr: float, folder: Path, summary: dict[str, Any]) -> list[str]:
    """One line of the table; mismatch (KL of engine and trainer) and seconds a sync are means over steps."""
    steps = read_metrics(folder)[1:]
    mismatch, sync = (fmean(step.get(key, 0.0) for step in steps) for key in ("mismatch/kl", "time/sync"))
    last = [f"{mismatch:.1e}", f"{sync:.2f}", f"{summary['seconds']:.0f}"]
    return [f"{seed}", name, f"{lr:.1e}", f"{trained_weights(folder):,}", *ends(summary["trained"]), *last]


def main() -> None:
    """Runs what is missing and prints the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", default="30,31,32")
    parser.add_argument("--ranks", default="1,16,128", help="128 is the demo's whole width")
    parser.add_argument("--rates", default="1,3,10", help="multiples of the recipe's learning rate")
    parser.add_argument("--folder", type=Path, default=Path("runs/lora"))
    parser.add_argument("overrides", nargs="*", help="of the recipe, for all arms: train.steps=2")
    given = parser.parse_args()
    rows: list[list[str]] = []
    own = load_recipe("demo").train.lr
    found = arms(list(map(int, given.ranks.split(","))), list(map(float, given.rates.split(","))))
    for seed in map(int, given.seeds.split(",")):
        lines = []
        for name, (adapter, rate) in found.items():
            folder = given.folder / f"{name}-{seed}"
            values = [f"model.adapter={adapter}", f"train.lr={rate * own}", *given.overrides]
            summary = run(seed, values, folder)
            lines.append(row(seed, name, rate * own, folder, summary))
        rows += [[f"{seed}", "base", "", "", *ends(summary["base"]), "", "", ""], *lines]
    show(COLUMNS, rows)


if __name__ == "__main__":
    main()
