"""MATH, competition problems (Hendrycks et al. 2021, arXiv 2103.03874), those outside MATH-500."""

from __future__ import annotations

from eval.sets.registry import Set

SET = Set(
    about="competition problems of seven subjects and five levels, without those of MATH-500",
    licence="MIT as published; the owners of some problems dispute it since January 2025",
    splits=("train",),
    hub="hiyouga/math12k",
    files={"train": "math_train.jsonl"},  # no row count: copies hold the first 7,500 or these 12,000
    columns={"prompt": "problem", "answer": "answer"},
)
