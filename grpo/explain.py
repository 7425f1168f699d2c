"""Every key of a recipe with type, default and meaning; every term, rule, template and set by name."""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from eval.sets import registry as sets
from grpo.errors import UserError
from grpo.losses import PRESETS
from grpo.nearest import suggest
from grpo.recipe import Recipe, Section, Term
from grpo.templates import TEMPLATES
from grpo.terms import KINDS, TABLES, options_of
from rewards import registry as rules


@dataclass(frozen=True)
class Entry:
    """One line of `grpo recipe explain`."""

    key: str  # `rollout.group_size`, or `algorithm.kl.k3` for a name that can stand there
    type: str
    default: str  # empty where a value is required
    meaning: str


def explain(key: str = "") -> list[Entry]:
    """The entry of `key` and all below it; everything for an empty key.

    Raises:
        UserError: no such key; the line names the nearest.
    """
    entries = _entries()
    found = [entry for entry in entries if not key or f"{entry.key}.".startswith(f"{key}.")]
    if not found:
        keys = [entry.key for entry in entries]
        ends = [name for name in keys if name.rpartition(".")[2] == key]
        hint = f"Did you mean {ends[0]}?" if ends else suggest(key, keys, "")
        raise UserError(f"no key {key!r}", "", hint or "`grpo recipe explain` lists all")
    return found


def _entries() -> list[Entry]:
    found = []
    for section, field in Recipe.model_fields.items():
        model = _model(field.annotation)
        assert model is not None
        kind = "list of mappings" if section == "rewards" else "section"
        default = "none" if field.default is None else ""
        found.append(Entry(section, kind, default, _first_line(model)))
        found += _fields(section, model)
    return found


def _fields(section: str, model: type[BaseModel]) -> list[Entry]:
    """The keys of a section, and of the sections inside it."""
    found = []
    for name, inner in model.model_fields.items():
        key = f"{section}.{name}"
        found.append(Entry(key, type_name(inner.annotation), _default(inner), inner.description or ""))
        found += _names(key)
        if (below := _model(inner.annotation)) and issubclass(below, Section):
            found += _fields(key, below)
    return found


def _names(key: str) -> list[Entry]:
    section, _, name = key.partition(".")
    if section == "algorithm" and name in KINDS:
        return [_function(f"{key}.{term}", function) for term, function in TABLES[name].items()]
    if key == "algorithm.preset":
        return [Entry(f"{key}.{row}", "preset", "", _preset(row)) for row in PRESETS]
    if key == "rewards.rule":
        return [_function(f"{key}.{rule}", rules.get(rule)) for rule in rules.names()]
    if key == "data.template":
        return [Entry(f"{key}.{each.name}", "template", "", each.about) for each in TEMPLATES.values()]
    if key == "data.train":
        return [Entry(f"{key}.{each}", "set", "", _set(each)) for each in sets.names()]
    return []


def _function(key: str, function: Callable[..., Any]) -> Entry:
    options = []
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and parameter.default is not parameter.empty:
            options.append(f"{parameter.name}={parameter.default!r}")
    return Entry(key, "function", ", ".join(options), _first_line(function))


def _preset(name: str) -> str:
    return ", ".join(" ".join(str(value) for value in term.values()) for term in PRESETS[name].values())


def _set(name: str) -> str:
    found = sets.get(name)
    options = ", ".join(options_of(found.generate)) if found.generate else ""
    tail = f"; options {options}" if options else ""
    return f"{found.about} ({found.licence}; splits {', '.join(found.splits)}{tail})"


def _first_line(thing: Any) -> str:
    return (inspect.getdoc(thing) or "").partition("\n")[0]


def _model(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    inner = [_model(part) for part in get_args(annotation)]
    return next((model for model in inner if model), None)


def type_name(annotation: Any) -> str:
    """A type in the words of a recipe: `number`, `text or none`, `float32 | bfloat16`."""
    plain = {int: "whole number", float: "number", bool: "true | false", str: "text", Any: "anything"}
    origin, parts = get_origin(annotation), get_args(annotation)
    if annotation is type(None):
        return "none"
    if origin is Literal:
        return " | ".join(str(part).lower() if isinstance(part, bool) else str(part) for part in parts)
    if origin in (Union, types.UnionType):
        return " or ".join(type_name(part) for part in parts)
    if origin in (list, tuple):
        return f"list of {type_name(parts[0])}"
    if origin is dict:
        return "mapping"
    if isinstance(annotation, type) and issubclass(annotation, Term):
        return "name or mapping"
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return "section"
    return plain.get(annotation, str(annotation))


def _default(field: FieldInfo) -> str:
    if field.annotation is Term:
        return "the preset's"
    if field.is_required():
        return ""
    value = field.get_default(call_default_factory=True)
    if value is None or value is PydanticUndefined:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    return str(list(value)) if isinstance(value, tuple) else str(value)
