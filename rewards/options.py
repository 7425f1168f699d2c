"""Options of a rule: which it has, and whether values given for them fit."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping
from inspect import Parameter
from typing import Any

from rewards.errors import RuleError, nearest

# Keywords that every rule may name; data columns come on top.
GIVEN = ("prompts", "completions", "completion_ids", "trainer_state", "log_extra", "log_metric")


def options_of(function: Callable[..., Any]) -> dict[str, Parameter]:
    """Its options: keyword-only parameters with a default; all parameters where it makes a rule."""
    parameters = inspect.signature(function).parameters.items()
    if getattr(function, "makes_rule", False):
        return dict(parameters)
    return {name: parameter for name, parameter in parameters if is_option(parameter)}


def is_option(parameter: Parameter) -> bool:
    """Whether this parameter of a rule is an option, not a column or a keyword that it is given."""
    has_default = parameter.default is not Parameter.empty
    return parameter.kind is Parameter.KEYWORD_ONLY and has_default and parameter.name not in GIVEN


def check_options(function: Callable[..., Any], options: Mapping[str, Any], spec: str) -> None:
    """RuleError for an unknown or missing option, a value of another type, or what the rule refuses."""
    known, hints = options_of(function), _types(function)
    for name, value in options.items():
        if name not in known:
            raise RuleError(f"no option {name!r}", spec, _unknown(function, name, known))
        if name in hints:
            _check_type(name, value, hints[name], spec)
    values = {name: options.get(name, parameter.default) for name, parameter in known.items()}
    missing = [name for name, value in values.items() if value is Parameter.empty]
    if missing:
        raise RuleError(f"option {missing[0]!r} is not set", spec, f"Write {missing[0]}: …")
    check = getattr(function, "check", None)
    if check is not None:
        check(**values)


def _unknown(function: Callable[..., Any], name: str, known: Mapping[str, Parameter]) -> str:
    if name in inspect.signature(function).parameters and name not in GIVEN:
        return f"An option is a keyword-only parameter with a default: write `*, {name}=…`"
    return nearest(name, known) or "It has none"


def _types(function: Callable[..., Any]) -> dict[str, Any]:
    """Annotations as types; none where they cannot be evaluated, as behind TYPE_CHECKING."""
    try:
        parameters = inspect.signature(function, eval_str=True).parameters
    except Exception:
        return {}
    return {name: p.annotation for name, p in parameters.items() if p.annotation is not Parameter.empty}


def _check_type(name: str, value: Any, hint: Any, spec: str) -> None:
    """Values come from YAML, so they are read as JSON is: a list may stand for a tuple, "no" for no bool."""
    from pydantic import PydanticUserError, TypeAdapter, ValidationError

    try:
        TypeAdapter(hint).validate_json(json.dumps(value), strict=True)
    except ValidationError as error:
        what = error.errors()[0]["msg"]
        raise RuleError(f"option {name!r} is {value!r:.60}: {what[0].lower()}{what[1:]}", spec) from error
    except (TypeError, ValueError, PydanticUserError):
        return  # no type or value of JSON's: the rule's own affair
