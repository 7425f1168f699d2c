"""One run of TRL's GRPOTrainer for `against_trl.py`: python trl_arm.py TASK.json ENGINE MICRO-BATCH.

ENGINE is generate, continuous, colocate or server. Writes steps.json beside the task.
"""

from __future__ import annotations

import json
import runpy
import sys
import time
from pathlib import Path
from typing import Any

from datasets import Dataset
from transformers import TrainerCallback
from trl import GRPOConfig, GRPOTrainer


class Timed(GRPOTrainer):
    """GRPOTrainer that notes how long each generation took and how many tokens it drew."""

    steps: list[dict[str, float]]

    def _generate_single_turn(self, *args: Any, **options: Any) -> Any:
        start = time.monotonic()
        ids, logprobs = super()._generate_single_turn(*args, **options)
        self.steps[-1] |= {"rollout": time.monotonic() - start, "tokens": sum(map(len, ids))}
        return ids, logprobs


class Clock(TrainerCallback):
    """Notes how long each optimiser step takes, generation and rewards included."""

    def __init__(self, steps: list[dict[str, float]]) -> None:
        self.steps, self.start = steps, 0.0

    def on_step_begin(self, *args: Any, **options: Any) -> None:
        self.steps.append({})
        self.start = time.monotonic()

    def on_step_end(self, *args: Any, **options: Any) -> None:
        step = self.steps[-1]
        step["seconds"] = time.monotonic() - self.start
        step["update"] = step["seconds"] - step["rollout"]


def main(path: str, engine: str, micro: str) -> None:
    """Trains for the task's steps."""
    task = json.loads(Path(path).read_text())
    rows = [json.loads(line) for line in Path(task["prompts"]).read_text().splitlines()]
    completions = task["prompts_per_step"] * task["group"]
    engines: dict[str, dict[str, Any]] = {
        "generate": {},
        "continuous": {"use_transformers_continuous_batching": True},
        "colocate": {"use_vllm": True, "vllm_mode": "colocate"},
        "server": {"use_vllm": True, "vllm_mode": "server", "vllm_server_timeout": 60.0},
    }
    settings = GRPOConfig(
        output_dir=str(Path(path).parent / "trl"),
        per_device_train_batch_size=int(micro),
        gradient_accumulation_steps=completions // int(micro),
        num_generations=task["group"],
        max_completion_length=task["tokens"],
        max_steps=task["steps"],
        learning_rate=1e-6,
        lr_scheduler_type="constant",
        loss_type="grpo",
        beta=0.0,
        temperature=1.0,
        bf16=False,
        use_cpu=True,
        gradient_checkpointing=False,
        report_to="none",
        save_strategy="no",
        disable_tqdm=True,
        seed=0,
        model_init_kwargs={"dtype": "float32"},
        **engines[engine],
    )
    Timed.steps = []
    trainer = Timed(
        model=task["model"],
        reward_funcs=runpy.run_path(task["rule"])["vowels"],
        args=settings,
        train_dataset=Dataset.from_list([{"prompt": row["prompt"]} for row in rows]),
        callbacks=[Clock(Timed.steps)],
    )
    trainer.train()
    (Path(path).parent / "steps.json").write_text(json.dumps(Timed.steps))


if __name__ == "__main__":
    main(*sys.argv[1:])
