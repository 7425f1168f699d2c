"""Tables of interchangeable terms. Defining a function is registering it.

    @surrogate("clip")
    def clip(ratio, advantages, *, low: float = 0.2, high: float = 0.2): ...

The keyword-only parameters of a term are its recipe options, and their defaults are written nowhere else.
Term modules import torch for typing only, so a recipe is validated without loading it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])

KINDS = ("advantage", "ratio", "surrogate", "correction", "kl", "aggregate")
TABLES: dict[str, dict[str, Callable[..., Any]]] = {kind: {} for kind in KINDS}


@dataclass(frozen=True)
class Option:
    """A recipe option of a term: its type (bool, int, float or str) and default."""

    type: type
    default: Any


def _register(kind: str) -> Callable[[str], Callable[[F], F]]:
    def named(name: str) -> Callable[[F], F]:
        def add(function: F) -> F:
            if name in TABLES[kind]:
                raise ValueError(f"two {kind} terms are named {name!r}")
            TABLES[kind][name] = function
            return function

        return add

    return named


advantage = _register("advantage")
ratio = _register("ratio")
surrogate = _register("surrogate")
correction = _register("correction")
kl = _register("kl")
aggregate = _register("aggregate")


def options_of(function: Callable[..., Any]) -> dict[str, Option]:
    """The keyword-only parameters of `function`, by name."""
    types = {"bool": bool, "int": int, "float": float, "str": str}
    found = {}
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY:
            kind = parameter.annotation
            found[name] = Option(types[kind] if isinstance(kind, str) else kind, parameter.default)
    return found
