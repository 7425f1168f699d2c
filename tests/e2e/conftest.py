"""Runs of the `grpo` command in processes of their own, on a base pre-trained for a few steps."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

RECIPE = """
model: {dtype: float32, device: cpu}
pretrain: {corpus: addition, hidden_size: 64, layers: 2, heads: 1, context: 64, steps: 20, batch_size: 32}
data: {train: addition, holdout: 0.2, options: {digits: 2, count: 200}}
rollout: {group_size: 4, max_tokens: 24, context: 64, engine_args: {max_num_seqs: 32}}
rewards: [{rule: accuracy}, {rule: "rules.py:brief", timeout: 120}]
algorithm: {preset: grpo}
train: {steps: 5, prompts_per_step: 4, lr: 1.0e-3, save_every: 2}
eval: {every: 2, prompts: 6, samples: 2, protocols: [{template: qa, shots: 1, max_tokens: 8, temperature: 0}]}
output: {folder: run}
"""
# A signal at every step; and a test can hold a run within its fourth step, by a file named hold.
RULES = """
import os, time

def brief(completions, trainer_state):
    while trainer_state.global_step == 3 and os.path.exists("hold"):
        time.sleep(0.02)
    return [-len(completion) / 24 for completion in completions]

def two(completions):
    return [1.0, 0.0]

def no_completions(prompts):
    return [1.0 for _ in prompts]
"""


class Started:
    """A `grpo` process that leads a process group, as one started from a terminal does."""

    def __init__(self, folder: Path, cache: Path, arguments: tuple[str, ...]) -> None:
        self.mark = f"GRPO_TEST={uuid.uuid4()}"
        name, value = self.mark.split("=")
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "grpo", *arguments],
            cwd=folder,
            env={**os.environ, name: value, "GRPO_CACHE": str(cache)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def family(self) -> dict[int, str]:
        """Command lines of all living processes that descend from it, itself included, by process id."""
        found = {}
        for folder in Path("/proc").iterdir():
            try:
                if self.mark in (folder / "environ").read_text(errors="replace").split("\0"):
                    found[int(folder.name)] = (folder / "cmdline").read_text().replace("\0", " ")
            except (OSError, ValueError):
                continue
        return found

    def wait_for(self, condition: Callable[[], bool], seconds: float = 120) -> None:
        """Waits until the condition holds; fails if the process ends before."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert self.process.poll() is None, self.process.communicate()
            assert time.monotonic() < deadline, "it never came so far"
            time.sleep(0.02)

    def wait_until_gone(self, seconds: float = 30) -> dict[int, str]:
        """What is still alive of its family after that time; as soon as it is nothing, nothing."""
        deadline = time.monotonic() + seconds
        while (left := self.family()) and time.monotonic() < deadline:
            time.sleep(0.05)
        return left

    def end(self) -> tuple[int, str, str]:
        """Exit code, stdout and stderr, once it has ended."""
        out, err = self.process.communicate(timeout=180)
        return self.process.returncode, out, err


@pytest.fixture(scope="session")
def cache(tmp_path_factory) -> Path:
    """One cache of base checkpoints for all runs."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def workplace(tmp_path_factory) -> Path:
    """A folder with the recipe and its rules, shared by the runs of a module."""
    folder = tmp_path_factory.mktemp("work")
    (folder / "tiny.yaml").write_text(RECIPE)
    (folder / "rules.py").write_text(RULES)
    return folder


@pytest.fixture(scope="module")
def start(workplace, cache):
    """start("train", "tiny.yaml", …): the command, under way."""
    begun = []

    def make(*arguments: str) -> Started:
        begun.append(Started(workplace, cache, arguments))
        return begun[-1]

    yield make
    for one in begun:
        if one.process.poll() is None:
            one.process.kill()
            one.process.communicate()
