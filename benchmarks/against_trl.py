"""This trainer against TRL's GRPOTrainer: tokens a second, time by phase, memory, on SmolLM2-135M.

    python benchmarks/against_trl.py [--forced] [--budget 1536,4096] [--micro 8,32] [--rounds 2] [--steps 3]

Every arm is a program of its own, started in turn, round after round: ours at each token budget of
`--budget`, TRL with transformers' `generate` and TRL with transformers' continuous batching, both at each
micro-batch of `--micro`, and vLLM alone. They get the same prompts (grade-school problems of
reasoning-gym, as chat), completions a prompt, longest completion, float32 weights and dense reward, by
which no group is without signal and none can be skipped. `--forced` gives every completion the same
length. A child's first step is not counted. Memory is that of the child and all its own children:
proportional set sizes, added up, read every two seconds; the highest.

TRL gets what is fastest for it here: no gradient checkpointing, and the micro-batch that comes out best. Its
vLLM modes are tried once, and what they say is printed.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import psutil
import torch
import yaml
from rich.console import Console
from rich.table import Table
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from grpo.metrics import read_metrics
from grpo.named_models import resolve
from grpo.quiet import quieten
from grpo.recipe import Data
from grpo.rows import read_items

HERE = Path(__file__).parent
OURS, VLLM = "ours", "vLLM alone"
NEVER = "<empty_output>"  # a token of SmolLM2's that no text has: as the end token, nothing ends early
RULE = (
    "def vowels(completions, **_):\n"
    "    return [sum(c in 'aeiou' for c in text) / max(1, len(text)) for text in completions]\n"
)
POLL = 2.0  # seconds between two readings of memory, each a walk over all pages that slows what it measures
BOUND = 1.4  # the step time we allow ourselves, of what engine and matrix product alone would take


@dataclass(frozen=True)
class Task:
    """What every arm is given, as the children read it."""

    model: str  # folder
    prompts: str  # JSONL with `prompt`, rendered
    rule: str  # Python file with `vowels`
    prompts_per_step: int
    group: int
    tokens: int  # longest completion
    context: int
    steps: int


def main() -> None:
    """Runs the rounds and prints the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--forced", action="store_true", help="all completions of one length")
    parser.add_argument("--budget", default="1536,4096", help="tokens of a forward pass of ours")
    parser.add_argument("--micro", default="8,32", help="completions of a forward pass of TRL's")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--steps", type=int, default=3, help="of a round, the first not counted")
    parser.add_argument("--prompts", type=int, default=8, help="a step")
    parser.add_argument("--group", type=int, default=8, help="completions a prompt")
    parser.add_argument("--tokens", type=int, default=128, help="of a completion, at most")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    asked = parser.parse_args()
    quieten()
    with tempfile.TemporaryDirectory() as name:
        task = prepare(asked, Path(name))
        arms = {f"{OURS}, {budget} tokens a pass": [OURS, budget] for budget in asked.budget.split(",")}
        arms[VLLM] = ["vllm"]
        for micro in asked.micro.split(","):
            arms[f"TRL, generate, {micro} a pass"] = ["trl", "generate", micro]
            arms[f"TRL, continuous batching, {micro} a pass"] = ["trl", "continuous", micro]
        found: dict[str, list[dict[str, Any]]] = {arm: [] for arm in arms}
        product = 0.0
        for turn in range(asked.rounds):
            for arm, words in arms.items():
                started = time.monotonic()
                found[arm].append(measure(words, task, Path(name) / f"{turn}-{'-'.join(words)}"))
                print(f"round {turn + 1}, {arm}: {time.monotonic() - started:.0f} s", file=sys.stderr)
            product = max(product, best_product())
        modes = {mode: why_not(mode, task, Path(name)) for mode in ("colocate", "server")}
        size = parameters(task.model)
    figures = {arm: summarise(runs) for arm, runs in found.items()}
    if asked.json:
        asked.json.write_text(json.dumps({"arms": figures, "product": product, "modes": modes}, indent=1))
    show(figures, product, size, vars(asked), modes)


def prepare(asked: argparse.Namespace, folder: Path) -> Task:
    """Writes model, prompts and rule into the folder."""
    base = resolve("smollm2-135m")
    tokenizer = AutoTokenizer.from_pretrained(base)
    count = asked.prompts * asked.steps * asked.rounds
    options = {"train": "reasoning_gym:gsm_symbolic", "options": {"size": 4 * count + 40}}
    items = read_items(Data.model_validate(options), seed=0)
    rows = []
    for item in items:
        chat = [{"role": "user", "content": item.prompt}]
        text = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
        rows.append({"prompt": text, "answer": item.answer})
    (folder / "prompts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "rule.py").write_text(RULE)
    model = base
    if asked.forced:
        model = str(folder / "model")
        tokenizer.eos_token = NEVER
        loaded = AutoModelForCausalLM.from_pretrained(base)
        loaded.config.eos_token_id = loaded.generation_config.eos_token_id = tokenizer.eos_token_id
        loaded.save_pretrained(model)
        tokenizer.save_pretrained(model)
    longest = max(len(tokenizer(row["prompt"])["input_ids"]) for row in rows)
    return Task(
        model=str(model),
        prompts=str(folder / "prompts.jsonl"),
        rule=str(folder / "rule.py"),
        prompts_per_step=asked.prompts,
        group=asked.group,
        tokens=asked.tokens,
        context=longest + asked.tokens,
        steps=asked.steps,
    )


def measure(words: Sequence[str], task: Task, folder: Path) -> dict[str, Any]:
    """One child's steps but the first, and the highest memory of its process tree in bytes."""
    folder.mkdir()
    (folder / "task.json").write_text(json.dumps(asdict(task)))
    if words[0] == OURS:
        recipe = our_recipe(task, int(words[1]), folder / "run")
        (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
        command = [sys.executable, "-m", "grpo", "train", str(folder / "recipe.yaml")]
    else:
        command = [sys.executable, str(HERE / f"{words[0]}_arm.py"), str(folder / "task.json"), *words[1:]]
    with (folder / "log").open("w") as log, subprocess.Popen(command, stdout=log, stderr=log) as child:
        peak = 0
        while child.poll() is None:
            peak = max(peak, tree_bytes(child.pid))
            time.sleep(POLL)
    if child.returncode:
        sys.exit(f"{' '.join(words)} failed:\n" + (folder / "log").read_text()[-3000:])
    read = our_steps(folder / "run") if words[0] == OURS else json.loads((folder / "steps.json").read_text())
    return {"steps": read[1:], "peak": peak}


def our_recipe(task: Task, budget: int, folder: Path) -> dict[str, Any]:
    """The recipe of our arm."""
    return {
        "model": {"path": task.model, "dtype": "float32"},
        "data": {"train": task.prompts, "template": "raw", "holdout": 0.1},
        "rollout": {"group_size": task.group, "max_tokens": task.tokens, "context": task.context},
        "rewards": [{"rule": f"{task.rule}:vowels"}],
        "algorithm": {"preset": "grpo"},
        "train": {
            "steps": task.steps,
            "prompts_per_step": task.prompts_per_step,
            "lr": 1e-6,
            "token_budget": budget,
            "save_every": task.steps,
        },
        "eval": {"every": task.steps, "prompts": 1, "samples": 1},
        "output": {"folder": str(folder)},
    }


def our_steps(folder: Path) -> list[dict[str, float]]:
    """Seconds, completion tokens and phases of our steps."""
    names = ("rollout", "update", "sync")
    return [
        {"seconds": row["time/step"], "tokens": row["tokens"], "packed": row["packing/tokens"]}
        | {name: row[f"time/{name}"] for name in names}
        for row in read_metrics(folder)
        if row["step"] > 0
    ]


def tree_bytes(pid: int) -> int:
    """Proportional set sizes of a process and all its descendants, bytes: shared pages count once."""
    total = 0
    try:
        parent = psutil.Process(pid)
        for process in (parent, *parent.children(recursive=True)):
            total += process.memory_full_info().pss
    except psutil.Error:  # one ended meanwhile
        pass
    return total


def best_product() -> float:
    """Floating-point operations a second of the best float32 matrix product."""
    best = 0.0
    for size in (1024, 2048, 4096):
        left, right = torch.randn(size, size), torch.randn(size, size)
        for _ in range(4):
            start = time.monotonic()
            left @ right
            best = max(best, 2 * size**3 / (time.monotonic() - start))
    return best


def parameters(model: str) -> int:
    """Weights of the model; the tied output head is counted once."""
    with torch.device("meta"):
        built: Any = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(model))
    return sum(weight.numel() for weight in built.parameters())


def why_not(mode: str, task: Task, folder: Path) -> str:
    """What TRL says when it is asked to train here with vLLM; empty when it does train."""
    target = folder / mode
    target.mkdir()
    (target / "task.json").write_text(json.dumps({**asdict(task), "steps": 1}))
    command = [sys.executable, str(HERE / "trl_arm.py"), str(target / "task.json"), mode, "8"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    except subprocess.TimeoutExpired:
        return "no step within 5 minutes"
    return done.stderr.strip().splitlines()[-1] if done.returncode else ""


def summarise(runs: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Tokens a second over all counted steps, medians of a step's values, and the highest memory."""
    steps = [step for run in runs for step in run["steps"]]
    found = {name: median(step[name] for step in steps) for name in steps[0]}
    found["rate"] = sum(s["tokens"] for s in steps) / sum(s["seconds"] for s in steps)
    return found | {"peak": max(run["peak"] for run in runs)}


def show(
    figures: Mapping[str, Mapping[str, float]],
    product: float,
    size: int,
    asked: Mapping[str, Any],
    modes: Mapping[str, str],
) -> None:
    """Prints the table, the ratios and the bound."""
    console, alone = Console(), figures[VLLM]
    title = "{prompts} prompts x {group}, at most {tokens} tokens".format(**asked)
    title += ", all of one length" if asked["forced"] else ", natural lengths"
    names = ("rollout", "update", "sync")
    table = Table("", "tokens/s", "step, s", *(f"{name}, s" for name in names), "peak, GiB", title=title)
    for arm, row in figures.items():
        phases = [f"{row[name]:.1f}" if name in row else "" for name in names]
        table.add_row(
            arm, f"{row['rate']:.1f}", f"{row['seconds']:.1f}", *phases, f"{row['peak'] / 2**30:.2f}"
        )
    console.print(table)
    best = max((arm for arm in figures if arm.startswith("TRL")), key=lambda arm: figures[arm]["rate"])
    for arm, ours in figures.items():
        if not arm.startswith(OURS):
            continue
        console.print(
            f"{arm} / {best}: {ours['rate'] / figures[best]['rate']:.2f} x the tokens/s, "
            f"{ours['peak'] / figures[best]['peak']:.2f} x the peak memory"
        )
        floor = ours["tokens"] / alone["rate"] + 6 * size * ours["packed"] / product
        console.print(
            f"  floor of its step: {ours['tokens']:.0f} tokens / {alone['rate']:.0f} a second of vLLM alone "
            f"+ 6 x {size / 1e6:.1f} M x {ours['packed']:.0f} tokens / {product / 1e9:.0f} GFLOP/s "
            f"= {floor:.1f} s; it took {ours['seconds']:.1f} s, {ours['seconds'] / floor:.2f} x "
            f"(goal: {BOUND})"
        )
    for mode, said in modes.items():
        console.print(f"TRL with vLLM, {mode}: {said or 'trains'}")


if __name__ == "__main__":
    main()
