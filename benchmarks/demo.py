"""The demo over several seeds, with its control: the figures of docs/results.md.

    python benchmarks/demo.py --seeds 1,2,3 --folder runs/demo_seeds

A seed makes its own base, data order and samples. The control is the same run with the rewards permuted
within each batch. A run that is finished is not repeated; one that was stopped goes on.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

ARMS = {"GRPO": [], "control": ["train.shuffle_rewards=true"]}


def run(seed: int, overrides: list[str], folder: Path) -> dict[str, Any]:
    """Runs the demo, unless it is done, and returns its summary."""
    summary = folder / "summary.json"
    if not summary.exists():
        values = [f"output.seed={seed}", f"pretrain.seed={seed}", f"output.folder={folder}"]
        command = [Path(sys.executable).with_name("grpo"), "train", "demo", *values, *overrides]
        subprocess.run([*command, "--resume"], check=True, stdout=subprocess.DEVNULL)
    found: dict[str, Any] = json.loads(summary.read_text())
    return found


def cell(estimate: dict[str, Any]) -> str:
    """A mean with its 95 % interval over prompts."""
    low, high = estimate["interval"]
    return f"{estimate['value']:.3f} [{low:.3f}, {high:.3f}]"


def row(seed: int, arm: str, which: str, summary: dict[str, Any]) -> list[str]:
    """One line of the table: pass@1, share and accuracy by style, mean length."""
    end = summary[which]
    styles = end["styles"]
    return [
        f"{seed}",
        arm if which == "trained" else "base",
        cell({"value": end["pass@1"], "interval": end["interval"]}),
        cell(styles["thinking"]["share"]),
        cell(styles["thinking"]["pass@1"]),
        cell(styles["direct"]["pass@1"]) if styles["direct"]["share"]["value"] else "–",
        f"{end['mean_length']:.1f}",
        f"{summary['seconds']:.0f}" if which == "trained" else "",
    ]


def main() -> None:
    """Runs what is missing and prints the table, as Markdown where it is piped."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", default="1,2,3")
    parser.add_argument("--folder", type=Path, default=Path("runs/demo_seeds"))
    arguments = parser.parse_args()
    columns = [
        "seed",
        "policy",
        "pass@1",
        "share thinking",
        "pass@1 thinking",
        "pass@1 direct",
        "tokens",
        "seconds",
    ]
    rows: list[list[str]] = []
    for seed in map(int, arguments.seeds.split(",")):
        found = {
            arm: run(seed, extra, arguments.folder / f"{arm.lower()}-{seed}") for arm, extra in ARMS.items()
        }
        rows.append(row(seed, "base", "base", found["GRPO"]))
        rows += [row(seed, arm, "trained", summary) for arm, summary in found.items()]
    if not sys.stdout.isatty():
        for line in (columns, ["---"] * len(columns), *rows):
            print("| " + " | ".join(line) + " |")
        return
    table = Table(*columns)
    for line in rows:
        table.add_row(*line)
    Console().print(table)


if __name__ == "__main__":
    main()
