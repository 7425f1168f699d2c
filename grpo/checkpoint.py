"""Checkpoints: a folder transformers and vLLM load as it is, the trainer's state beside the weights."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from grpo.policy import Policy

STATE, SEAL = "trainer.pt", "complete.json"


def save_checkpoint(root: Path, policy: Policy, state: dict[str, Any]) -> Path:
    """Writes `root/step-N` whole or not at all: into a temporary folder that is renamed when sealed.

    The first rank writes; of a sharded policy every rank must take part.

    Args:
        root: the run's checkpoints/ folder.
        policy: its master weights, optimiser state and version (N) are saved.
        state: what else the run needs to go on, by name.
    """
    target, partial = root / f"step-{policy.version}", root / f"step-{policy.version}.partial"
    if policy.ranks.first:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
    policy.save(partial)
    optimizer = policy.optimizer_state()
    if not policy.ranks.first:
        return target
    torch.save({"version": policy.version, "optimizer": optimizer, **state}, partial / STATE)
    sizes = {path.name: path.stat().st_size for path in partial.iterdir()}
    (partial / SEAL).write_text(json.dumps(sizes))
    shutil.rmtree(target, ignore_errors=True)
    partial.rename(target)
    return target


def is_good(folder: Path) -> bool:
    """Whether every file of a checkpoint is there with the size it was sealed with."""
    try:
        sizes = json.loads((folder / SEAL).read_text())
        return all((folder / name).stat().st_size == size for name, size in sizes.items())
    except (OSError, ValueError):
        return False


def good_checkpoints(root: Path) -> list[Path]:
    """The good checkpoints of a run, oldest first."""
    found = [path for path in root.glob("step-*") if path.suffix != ".partial" and is_good(path)]
    return sorted(found, key=lambda path: int(path.name.removeprefix("step-")))


def load_state(folder: Path) -> dict[str, Any]:
    """The trainer's state saved beside the weights."""
    state: dict[str, Any] = torch.load(folder / STATE, map_location="cpu", weights_only=True)
    return state


def prune(root: Path, keep: int) -> None:
    """Removes all but the newest `keep` good checkpoints."""
    for path in good_checkpoints(root)[:-keep]:
        shutil.rmtree(path)
