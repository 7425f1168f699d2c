"""Tokens a second of a small Llama's rollouts, by how many run at once.

    python benchmarks/rollout.py [--tokens 48]

Random weights of the demo's size, float32, every request with a seed of its own; the best of three rounds.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from grpo.corpus import CORPORA
from grpo.recipe import Pretrain
from grpo.rollout.engine import sample_seed
from grpo.rollout.vllm import VllmEngine
from grpo.rollout.wire import Load
from grpo.stages.pretrain import build_decoder, build_tokenizer
from grpo.types import Request, Sampling

AT_ONCE = (8, 32, 128, 256, 512)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--tokens", type=int, default=48, help="tokens a completion, at most")
    sampling = Sampling(max_tokens=parser.parse_args().tokens)
    table = Table("completions at once", "tokens/s", title="vLLM, the demo's model")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tokenizer = build_tokenizer(CORPORA["addition"])
        build_decoder(Pretrain(), tokenizer).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        prompt = tuple(tokenizer("123+456=")["input_ids"])
        with VllmEngine(
            str(folder),
            dtype="float32",
            context=128,
            version=0,
            seed=0,
            log_file=folder / "log",
            scratch=folder,
            load=Load(max(AT_ONCE), max(AT_ONCE), sampling.max_tokens),
        ) as engine:
            for count in AT_ONCE:
                best = 0.0
                for turn in range(3):
                    requests = [
                        Request("p", k, prompt, sampling, sample_seed(0, turn, "p", k)) for k in range(count)
                    ]
                    start = time.monotonic()
                    tokens = sum(len(rollout.token_ids) for rollout in engine.generate(requests))
                    best = max(best, tokens / (time.monotonic() - start))
                table.add_row(f"{count}", f"{best:,.0f}")
    Console().print(table)


if __name__ == "__main__":
    main()
