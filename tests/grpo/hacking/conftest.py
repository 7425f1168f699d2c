"""Runs written as a trainer writes them, with a fault planted or none."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from grpo.samples import write_samples
from grpo.types import Group, Prompt, Rollout
from rewards.score import Score

STEPS, PROMPTS, SAMPLES = 16, 24, 4


def honest(draw: random.Random, gold: str, progress: float) -> tuple[str, dict[str, object]]:
    """A worked completion, right more and more often, and what the grader logs of it."""
    right = draw.random() < 0.3 + 0.5 * progress
    answer = gold if right else str(draw.randrange(100))
    words = " ".join(draw.choice(WORDS) + str(draw.randrange(1000)) for _ in range(30))
    logged = {"verdict": "right" if right else "wrong", "rung": "string", "extracted": answer}
    return f"<think>{words}</think><answer>{answer}</answer>", logged


WORDS = ("add ", "carry ", "then take ", "which makes ", "plus ", "so ", "next ", "we write ")
Plant = Callable[[random.Random, str, float], tuple[str, dict[str, object]]]


@pytest.fixture
def run_of(tmp_path):
    """run_of(plant, late=True, flat=False): the folder of a run.

    In its second half (from the start on where late is False) half of the completions are the plant's; with
    flat, held-out accuracy stays where it is and the reward rises by a rule that nobody should pay for.
    """

    def make(plant: Plant = honest, late: bool = True, flat: bool = False) -> Path:
        folder, draw = tmp_path / "run", random.Random(5)
        for step in range(1, STEPS + 1):
            progress = 0.0 if flat else step / STEPS
            at_work = step > STEPS // 2 or not late
            groups = [
                _group(draw, i, plant if at_work else honest, progress, flat * step / 8)
                for i in range(PROMPTS)
            ]
            write_samples(folder, step, groups, ["accuracy", "extra"])
        _write_metrics(folder, flat)
        return folder

    return make


def _group(draw, index, plant, progress, extra):
    gold = str(draw.randrange(100, 1000))
    made = [(plant if sample % 2 else honest)(draw, gold, progress) for sample in range(SAMPLES)]
    scores = [
        (Score(float(logged["verdict"] == "right"), "ok", 0.0, logged), Score(extra, "ok", 0.0))
        for _, logged in made
    ]
    rollouts = tuple(
        Rollout(f"p{index}", i, (1,), (2,), (True,), (-1.0,), (0,), text, "stop")
        for i, (text, _) in enumerate(made)
    )
    rewards = tuple(row[0].score + row[1].score for row in scores)
    return Group(
        Prompt(f"p{index}", "q", gold, "q", (1,)), rollouts, tuple(scores), rewards, (0.0,) * SAMPLES
    )


def _write_metrics(folder: Path, flat: bool) -> None:
    lines = []
    for step in range(0, STEPS + 1, 4):
        value = 0.3 if flat else 0.3 + 0.5 * step / STEPS
        name = "eval/held-out/pass@1"
        lines.append({"step": step, name: value, f"{name}_low": value - 0.06, f"{name}_high": value + 0.06})
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
