"""Evaluation: estimators with intervals, and the loop that draws, scores and summarises."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {
    "Estimate": "eval.estimators",
    "mean_estimate": "eval.estimators",
    "pass_at_1": "eval.estimators",
    "pass_at_k": "eval.estimators",
    "rate_estimate": "eval.estimators",
    "Evaluation": "eval.run",
    "evaluate": "eval.run",
}
__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'eval' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
