"""The demo over several seeds, with its control: the figures of docs/results.md.

    python benchmarks/demo.py --seeds 1,2,3 --folder runs/demo_seeds

A seed makes its own base, data order and samples. The control is the same run with the rewards permuted
within each batch. The base is also measured greedily, since that is a policy nobody had to train. A run that
is finished is not repeated; one that was stopped goes on.
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

GREEDY = "base, greedy"
ARMS = {
    "GRPO": [],
    "control": ["train.shuffle_rewards=true"],
    GREEDY: ["train.steps=1", "eval.temperature=0", "eval.samples=1"],
}
STYLES = ("thinking", "direct")


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


def row(seed: int, policy: str, end: dict[str, Any], seconds: float | None = None) -> list[str]:
    """One line of the table: pass@1, share and accuracy by style, mean length."""
    styles = end["styles"]
    return [
        f"{seed}",
        policy,
        cell({"value": end["pass@1"], "interval": end["interval"]}),
        cell(styles["thinking"]["share"]),
        *[cell(styles[name]["pass@1"]) if styles[name]["share"]["value"] else "–" for name in STYLES],
        f"{end['mean_length']:.1f}",
        f"{seconds:.0f}" if seconds else "",
    ]


def show(columns: list[str], rows: list[list[str]]) -> None:
    """Prints a table, as Markdown where it is piped."""
    if not sys.stdout.isatty():
        for line in (columns, ["---"] * len(columns), *rows):
            print("| " + " | ".join(line) + " |")
        return
    table = Table(*columns)
    for line in rows:
        table.add_row(*line)
    Console().print(table)


def main() -> None:
    """Runs what is missing and prints the table."""
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
            arm: run(seed, extra, arguments.folder / f"{arm.lower().replace(', ', '-')}-{seed}")
            for arm, extra in ARMS.items()
        }
        rows.append(row(seed, "base", found["GRPO"]["base"]))
        rows.append(row(seed, GREEDY, found[GREEDY]["base"]))
        rows += [row(seed, arm, found[arm]["trained"], found[arm]["seconds"]) for arm in ("GRPO", "control")]
    show(columns, rows)


if __name__ == "__main__":
    main()
