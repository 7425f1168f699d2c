"""MATH-500, the part of MATH's test problems that is reported (Lightman et al. 2023, arXiv 2305.20050)."""

from __future__ import annotations

from eval.sets.registry import Set

SET = Set(
    about="500 competition problems of MATH's test split",
    licence="MIT as published; the owners of some problems dispute it since January 2025",
    splits=("test",),
    hub="HuggingFaceH4/MATH-500",
    files={"test": "math500.jsonl"},
    rows={"test": 500},
    columns={"prompt": "problem", "answer": "answer"},
)
