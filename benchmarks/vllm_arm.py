"""vLLM alone on the prompts of `against_trl.py`, with the engine arguments and environment of our rollouts.

    python vllm_arm.py TASK.json

Writes steps.json beside the task.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

from grpo.rollout.vllm import ALWAYS
from grpo.rollout.vllm_args import engine_arguments
from grpo.rollout.wire import Load


def main(path: str) -> None:
    """Draws the completions of the task's steps."""
    os.environ.update(ALWAYS)  # by its own settings, with the engine in another process, vLLM is slower here
    from vllm import LLM, SamplingParams

    task = json.loads(Path(path).read_text())
    rows = [json.loads(line)["prompt"] for line in Path(task["prompts"]).read_text().splitlines()]
    arguments = engine_arguments(
        task["model"],
        dtype="float32",
        context=task["context"],
        seed=0,
        on_cpu=True,
        load=Load(task["prompts_per_step"] * task["group"], task["group"], task["tokens"]),
        overrides={},
    )
    engine = LLM(**arguments)
    params = SamplingParams(n=task["group"], temperature=1.0, max_tokens=task["tokens"], detokenize=False)
    steps = []
    for step in range(task["steps"]):
        prompts = rows[step * task["prompts_per_step"] : (step + 1) * task["prompts_per_step"]]
        start = time.monotonic()
        outputs = engine.generate(prompts, params, use_tqdm=False)
        seconds = time.monotonic() - start
        tokens = sum(len(one.token_ids) for output in outputs for one in output.outputs)
        steps.append({"seconds": seconds, "tokens": tokens, "rollout": seconds})
    (Path(path).parent / "steps.json").write_text(json.dumps(steps))


if __name__ == "__main__":
    main(sys.argv[1])
