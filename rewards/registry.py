"""Names of reward rules. Defining a function is registering it.

    @rule("accuracy", grades_answer=True)
    def accuracy(prompts, completions, answer, log_extra=None, **columns): ...

A rule follows TRL's convention: it takes `prompts` and `completions` (strings, or lists of messages) of one
group, and by keyword whatever it names of the data's columns (lists, `answer` included), `completion_ids`,
`trainer_state`, `log_extra(name, values)` and `log_metric(name, value)`; with `**columns` it takes them all.
It returns one number a completion, or None where it does not apply. It may be `async def`.
Keyword-only parameters with a default are its options in a recipe.

With `makes_rule` the function takes the options alone and returns the rule, as TRL's `get_…_reward` do.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from typing import Any, TypeVar

from rewards.errors import RuleError, nearest

RuleFunction = Callable[..., Any]
F = TypeVar("F", bound=RuleFunction)

_RULES: dict[str, RuleFunction] = {}


def rule(
    name: str,
    *,
    grades_answer: bool = False,
    whole_group: bool = False,
    warm: Callable[[], object] | None = None,
    check: Callable[..., object] | None = None,
    gold_extra: str = "",
    makes_rule: bool = False,
) -> Callable[[F], F]:
    """Registers a function as the rule `name`. The marks become attributes of the function.

    Args:
        grades_answer: a gold answer must score 1; this is checked before a run.
        whole_group: scores depend on the whole group, so its completions are never retried one by one.
        warm: called once in each worker before it takes work, to load slow imports.
        check: called with all options by keyword when a recipe is read; raises RuleError.
        gold_extra: what a gold answer must score 1 in instead of the score: a name that the rule logs.
        makes_rule: the function takes options only and returns the rule.
    """
    marks = {
        "grades_answer": grades_answer,
        "whole_group": whole_group,
        "warm": warm,
        "check": check,
        "gold_extra": gold_extra,
        "makes_rule": makes_rule,
    }

    def add(function: F) -> F:
        known = _RULES.get(name)
        if known is not None and _file(known) != _file(function):
            raise RuleError(
                f"two rules are named {name!r}", _file(function), f"The other is in {_file(known)}"
            )
        for mark, value in marks.items():
            setattr(function, mark, value)
        _RULES[name] = function
        return function

    return add


def get(name: str) -> RuleFunction:
    """The rule registered as `name`. Raises RuleError with the nearest name."""
    _discover()
    if name not in _RULES:
        hint = nearest(name, _RULES)
        end = "" if hint.endswith("?") else "."
        raise RuleError(f"no rule is named {name!r}", "", f"{hint}{end} Your own: path/to/file.py:function")
    return _RULES[name]


def names() -> list[str]:
    """The names of all registered rules, sorted."""
    _discover()
    return sorted(_RULES)


def _discover() -> None:
    """Imports every module of this package, so that a rule's file is all it takes to add one."""
    import rewards

    for module in pkgutil.iter_modules(rewards.__path__):
        importlib.import_module(f"rewards.{module.name}")


def _file(function: RuleFunction) -> str:
    code = getattr(function, "__code__", None)
    return str(code.co_filename) if code else repr(function)
