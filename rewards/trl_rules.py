"""TRL's own reward functions as rules: `trl:think_format_reward`. trl loads when one is used."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Sequence
from inspect import Parameter, Signature
from typing import Any

from rewards.errors import RuleError, nearest
from rewards.options import GIVEN
from rewards.registry import RuleFunction

PREFIX = "trl"
# A gold answer scores 1 by these. The others also judge length or reasoning, which a bare gold has not.
GRADERS = ("accuracy_reward",)


def get(name: str) -> RuleFunction:
    """The function `trl.rewards.<name>` as a rule; a `get_…` function becomes one that makes a rule."""
    library = importlib.import_module("trl.rewards")
    function = getattr(library, name, None)
    if not inspect.isfunction(function):
        known = [one for one in library.__all__ if inspect.isfunction(getattr(library, one))]
        raise RuleError(f"trl.rewards has no function {name!r}", f"{PREFIX}:{name}", nearest(name, known))
    parameters = inspect.signature(function).parameters
    if any(p.kind is Parameter.VAR_KEYWORD for p in parameters.values()):
        return adapt(function, name)

    def make(**options: Any) -> RuleFunction:
        return adapt(function(**options), name)

    keyword = [p.replace(kind=Parameter.KEYWORD_ONLY) for p in parameters.values()]
    make.__signature__ = Signature(keyword)  # type: ignore[attr-defined]
    make.makes_rule = True  # type: ignore[attr-defined]
    return make


def adapt(function: Callable[..., Any], name: str) -> RuleFunction:
    """TRL's function as ours: strings become messages, and `answer` serves where it wants `solution`."""
    parameters = inspect.signature(function).parameters.values()
    options = [
        p.replace(kind=Parameter.KEYWORD_ONLY)
        for p in parameters
        if p.kind is Parameter.POSITIONAL_OR_KEYWORD and p.default is not Parameter.empty
    ]
    options = [p for p in options if p.name not in GIVEN]

    def rule(completions: Sequence[Any], **columns: Any) -> Any:
        messages = [
            [{"role": "assistant", "content": completion}] if isinstance(completion, str) else completion
            for completion in completions
        ]
        golds = columns.pop("solution", columns.get("answer"))
        if golds is not None:  # no gold is one that does not parse, which TRL leaves out
            columns["solution"] = ["" if gold is None else str(gold) for gold in golds]
        return function(completions=messages, **columns)

    own = [Parameter("completions", Parameter.POSITIONAL_OR_KEYWORD)]
    rest = [Parameter("columns", Parameter.VAR_KEYWORD)]
    rule.__signature__ = Signature([*own, *options, *rest])  # type: ignore[attr-defined]
    rule.__name__ = name
    rule.grades_answer = name in GRADERS  # type: ignore[attr-defined]
    return rule
