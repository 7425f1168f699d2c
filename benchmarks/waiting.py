"""What OMP_WAIT_POLICY costs and saves: seconds of a pre-training step, alone and beside a busy process.

    python benchmarks/waiting.py

Each cell is a process of its own, with as many threads as there are cores; the busy one keeps one at work.
"""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import time

STEPS, WARM = 10, 3
BUSY = [sys.executable, "-c", "while True: pass"]


def measure() -> float:
    """Seconds a step of the demo's pre-training takes here."""
    import torch

    from grpo.corpus import CORPORA
    from grpo.model import TokenLogprobs
    from grpo.recipe import Pretrain
    from grpo.stages.pretrain import build_decoder, build_tokenizer, example_loss

    spec, corpus = Pretrain(), CORPORA["addition"]
    tokenizer = build_tokenizer(corpus)
    module = TokenLogprobs(build_decoder(spec, tokenizer))
    optimizer = torch.optim.AdamW(module.parameters(), fused=True)
    stream = corpus.examples(spec, {"digits": 5}, lambda key: False)
    start = 0.0
    for step in range(WARM + STEPS):
        if step == WARM:
            start = time.monotonic()
        optimizer.zero_grad()
        example_loss(module, tokenizer, list(itertools.islice(stream, spec.batch_size))).backward()
        optimizer.step()
    return (time.monotonic() - start) / STEPS


def main() -> None:
    """Prints the table, rows interleaved in time."""
    if "--measure" in sys.argv:
        print(measure())
        return
    print("| threads wait by | alone, s a step | beside a busy process, s a step |\n| --- | --- | --- |")
    for policy in ("ACTIVE", "PASSIVE"):
        cells = []
        for busy in (False, True):
            other = subprocess.Popen(BUSY) if busy else None
            command = [sys.executable, __file__, "--measure"]
            found = subprocess.run(
                command,
                env={**os.environ, "OMP_WAIT_POLICY": policy},
                capture_output=True,
                text=True,
                check=True,
            )
            cells.append(f"{float(found.stdout):.2f}")
            if other:
                other.kill()
        print(f"| {policy} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
