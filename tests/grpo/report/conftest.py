"""Run folders as a run leaves them, with completions that try to act on whatever shows them."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

import pytest

from grpo.metrics import MetricsLog
from grpo.protocols import Measured
from grpo.samples import write_samples
from grpo.types import Group, Prompt, Rollout
from rewards.score import Score

HOSTILE = (
    "</script><script>document.title='owned'</script><img src=x onerror=document.title='owned'>\u202e\x1b[2J"
)
PROMPTS = tuple(f"prompt{index} {HOSTILE}" for index in range(3))
RECIPE = """\
rewards:
  - {rule: accuracy, weight: 1.0}
  - {rule: format, weight: 1.0}
train: {steps: 4}
output: {folder: "<b>run</b>"}
"""


def metrics(step: int) -> dict[str, float]:
    """One step's metrics; every second step is evaluated."""
    found = {
        "reward/mean": step / 4,
        "reward/accuracy": step / 8,
        "reward/format": step / 8,
        "completions/mean_length": 10.0 + step,
        "groups/zero_std_ratio": 0.5,
        "policy/entropy": math.nan if step == 2 else 0.5,
        "mismatch/kl": -1e-9 * step,
        "tokens": 100.0,
        "time/rollout": 1.0,
        "time/step": 2.0,
        "throughput/tokens_per_second": 50.0,
        "packing/share": 0.98,
    }
    held_out = {
        "pass@1": step / 5,
        "pass@1_low": step / 10,
        "pass@1_high": step / 5 + 0.2,
        "mean_length": 9.0,
    }
    held_out |= {"reward/accuracy": step / 5, "clipped_ratio": 0.1}
    evaluated = {f"eval/held-out/{name}": value for name, value in held_out.items()}
    return (found if step else {}) | ({} if step % 2 else evaluated | {"time/evaluate": 1.0})


def group(name: str, prompt: str, step: int, texts: tuple[tuple[str, ...], ...]) -> Group:
    """A prompt and a completion for each tuple of token texts; a token's log-prob falls along it."""
    rollouts, scores = [], []
    for sample, pieces in enumerate(texts):
        n = len(pieces)
        logprobs = tuple(-float(i) for i in range(n))
        rollouts.append(
            Rollout(
                name,
                sample,
                (1,),
                tuple(range(n)),
                (True,) * n,
                logprobs,
                (step,) * n,
                "".join(pieces),
                "stop",
            )
        )
        scores.append((Score(float(sample), "ok", 0.1, {"extracted": HOSTILE}), Score(None, "error", 0.1)))
    rewards = tuple(float(sample) for sample in range(len(texts)))
    return Group(
        Prompt(name, name, "42", prompt, (1,)), tuple(rollouts), tuple(scores), rewards,
        tuple(reward - 0.5 for reward in rewards),
    )  # fmt: skip


def texts_of(step: int) -> tuple[tuple[str, ...], ...]:
    """The completions of each prompt, as token texts; the third token of the first names the step."""
    return ("<think>", "é", f"step{step}", HOSTILE, "\n"), ("right", "</answer>")


def write_run(folder: Path, steps: int = 4, *, ended: bool = True, pieces: bool = True) -> Path:
    """A run folder with that many steps; `pieces` False leaves no texts of tokens, as older runs."""
    log = MetricsLog(folder)
    for step in range(steps + 1):
        log.write(step, metrics(step))
        if step:
            write_step(folder, step, pieces)
    log.close()
    (folder / "recipe.yaml").write_text(RECIPE)
    (folder / "environment.json").write_text(json.dumps({"seed": 7, "packages": {"torch": "2.13"}}))
    if ended:
        part = {
            "pass@1": 0.2,
            "interval": [0.1, 0.3],
            "mean_length": 9.0,
            "mean_length_interval": [8.0, None],
        }
        part |= {"set": "held-out-report", "prompts": 5, "samples": 2, "truncated": 0.25}
        part |= {"rules": {"accuracy": {"value": 0.2, "interval": [0.1, 0.3]}}}
        part |= {"styles": {"thinking": {"share": {"value": 0.4, "interval": [0.2, 0.6]}, "pass@1": {}}}}
        summary = {"base": part | {"version": 0}, "trained": part | {"version": steps, "pass@1": 0.9}}
        summary |= {"steps": steps, "seconds": 75.0, "tokens": 400}
        (folder / "summary.json").write_text(json.dumps(summary))
    return folder


def write_step(folder: Path, step: int, pieces: bool = True, prompts: tuple[str, ...] = PROMPTS) -> None:
    """The samples of one step."""
    groups = [group(f"prompt{index}", prompt, step, texts_of(step)) for index, prompt in enumerate(prompts)]
    split = (lambda rollout: list(texts_of(step)[rollout.sample])) if pieces else None
    write_samples(folder, step, groups, ["accuracy", "format"], split)


@pytest.fixture
def make_run(tmp_path):
    """make_run(steps, ended=True, pieces=True): a run folder."""
    return lambda steps=4, **options: write_run(tmp_path / "run", steps, **options)


@pytest.fixture
def run(make_run) -> Path:
    """A finished run of four steps."""
    return make_run()


@pytest.fixture
def add_step():
    """add_step(folder, step): one more step, as the run that goes on writes it."""

    def add(folder: Path, step: int) -> None:
        write_step(folder, step)
        log = MetricsLog(folder, resume_at=step - 1)
        log.write(step, metrics(step))
        log.close()

    return add


@pytest.fixture
def ask():
    """ask(folder, step, prompts): other prompts for a step that is written already."""
    return lambda folder, step, prompts: write_step(folder, step, prompts=prompts)


@pytest.fixture
def measure():
    """measure(folder, protocols): a finished run's figures under protocols, put into its summary."""

    def add(folder: Path, protocols: Sequence[Measured]) -> None:
        path = folder / "summary.json"
        summary = json.loads(path.read_text()) | {"protocols": [row.to_json() for row in protocols]}
        path.write_text(json.dumps(summary))

    return add


@pytest.fixture
def hostile() -> str:
    """What stands in prompts, completions and what rules logged of them."""
    return HOSTILE
