"""GSM8K, grade-school word problems (Cobbe et al. 2021, arXiv 2110.14168)."""

from __future__ import annotations

from eval.sets.registry import Set

SET = Set(
    about="grade-school word problems with whole-number answers",
    licence="MIT",
    splits=("train", "test"),
    hub="openai/gsm8k",
    config="main",
    files={"train": "gsm8k_train.jsonl", "test": "gsm8k_test.jsonl"},
    rows={"train": 7473, "test": 1319},
    columns={"prompt": "question", "answer": "answer"},
    gold=r"####\s*(.+?)\s*$",  # the answer column holds the whole solution
)
