"""Held-out accuracy of `r1_zero_smollm2` on sums and on differences, base and trained.

    python benchmarks/by_sign.py runs/r1_zero_smollm2 --seeds 0,1,2

Reads the completions that a run keeps in eval/base.pickle and eval/trained.pickle; no model is loaded.
"""

from __future__ import annotations

import argparse
import pickle
from collections import defaultdict
from pathlib import Path
from statistics import fmean

from rich.console import Console
from rich.table import Table

from grpo.folder import ENDS


def scores(path: Path) -> dict[str, list[float]]:
    """Scores of the first rule by the sign of the question: one a completion."""
    found = defaultdict(list)
    for group in pickle.loads(path.read_bytes()).groups:
        sign = group.prompt.prompt.split()[-3]  # … 12 + 34 =
        found[sign] += [row[0].score for row in group.scores]
    return found


def main() -> None:
    """Prints a row a seed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path, help="of `grpo train … --seeds`")
    parser.add_argument("--seeds", default="0,1,2")
    asked = parser.parse_args()
    table = Table("seed", *(f"{name}, {end}" for name in ("sums", "differences") for end in ENDS))
    for seed in asked.seeds.split(","):
        ends = [scores(asked.folder / f"seed-{seed}" / "eval" / f"{end}.pickle") for end in ENDS]
        table.add_row(seed, *(f"{fmean(end[sign]):.3f}" for sign in "+-" for end in ends))
    Console().print(table)


if __name__ == "__main__":
    main()
