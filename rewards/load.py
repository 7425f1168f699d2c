"""Loads a rule by name or from a file, checks that it can be called and binds its options."""

from __future__ import annotations

import importlib.util
import inspect
import sys
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from inspect import Parameter
from pathlib import Path
from types import ModuleType
from typing import Any

from rewards import registry, trl_rules
from rewards.errors import RuleError, nearest
from rewards.options import check_options, is_option
from rewards.registry import RuleFunction
from rewards.score import RuleInfo


@dataclass(frozen=True)
class Loaded:
    """A rule ready to be called by `rewards.call.call`."""

    spec: str
    function: RuleFunction
    options: Mapping[str, Any]  # values the recipe gives
    option_names: frozenset[str]  # all it has; data columns never reach them
    info: RuleInfo
    named: frozenset[str]  # parameters it is given by name; options are not among them
    required: frozenset[str]  # those of `named` without a default
    takes_all: bool  # has **columns
    file: Path | None = None  # of a rule given by its file


def load(spec: str, options: Mapping[str, Any], folder: Path | None = None) -> Loaded:
    """The rule that `spec` names, with its options checked.

    Args:
        spec: registered name; `path/to/file.py:function`, relative to the working directory or `folder`; or
            `trl:function` for one of trl.rewards.
        options: values of the rule's keyword-only parameters.
        folder: the recipe's folder.
    """
    name = spec.rpartition(":")[2]
    function = _find(spec, folder)
    if getattr(function, "makes_rule", False):
        check_options(function, options, spec)
        function, options = function(**options), {}
    parameters = _parameters(function, spec)
    takes_all = any(p.kind is Parameter.VAR_KEYWORD for p in parameters.values())
    if not takes_all and "completions" not in parameters:
        raise RuleError(
            f"takes ({', '.join(parameters)}), no `completions`",
            _place(function, spec),
            f"Write def {name}(prompts, completions, **columns)",
        )
    check_options(function, options, spec)
    known = {n for n, p in parameters.items() if is_option(p)}
    named = {n: p for n, p in parameters.items() if n not in known and p.kind is not Parameter.VAR_KEYWORD}
    return Loaded(
        spec=spec,
        function=function,
        options=dict(options),
        option_names=frozenset(known),
        info=RuleInfo(
            name=name,
            grades_answer=bool(getattr(function, "grades_answer", False)),
            whole_group=bool(getattr(function, "whole_group", False)),
            gold_extra=str(getattr(function, "gold_extra", "")),
            ours=bool(getattr(function, "ours", ":" not in spec)),
        ),
        named=frozenset(named),
        required=frozenset(n for n, p in named.items() if p.default is Parameter.empty),
        takes_all=takes_all,
        file=_file_of(function, spec),
    )


def _file_of(function: RuleFunction, spec: str) -> Path | None:
    """The file of a rule that is given by it; None for a registered one or TRL's."""
    code = getattr(function, "__code__", None)
    path = spec.rpartition(":")[0]
    return Path(code.co_filename) if code and path not in ("", trl_rules.PREFIX) else None


def _find(spec: str, folder: Path | None) -> RuleFunction:
    path, colon, name = spec.rpartition(":")
    if not colon:
        return registry.get(spec)
    return trl_rules.get(name) if path == trl_rules.PREFIX else _from_file(spec, path, name, folder)


def _parameters(function: RuleFunction, spec: str) -> dict[str, Parameter]:
    try:
        parameters = dict(inspect.signature(function).parameters)
    except (TypeError, ValueError) as error:
        raise RuleError("is not a function", spec, "Name a function of the file") from error
    for name, parameter in parameters.items():
        if parameter.kind in (Parameter.POSITIONAL_ONLY, Parameter.VAR_POSITIONAL):
            hint = "Rules are called by keyword: write def rule(prompts, completions, **columns)"
            raise RuleError(f"parameter {name!r} is positional only", _place(function, spec), hint)
    return parameters


def _from_file(spec: str, path: str, name: str, folder: Path | None) -> RuleFunction:
    places = [Path(path)] + ([folder / path] if folder else [])
    file = next((place.resolve() for place in places if place.is_file()), None)
    if file is None:
        hint = f"Give it relative to {Path.cwd()}" + (f" or {folder}" if folder else "")
        raise RuleError(f"no file {path!r}", spec, hint)
    if file.suffix != ".py":
        raise RuleError(f"{path} is no Python file", spec, "Write path/to/file.py:function")
    module = _import(file, spec)
    function = getattr(module, name, None)
    if function is None:
        own = [
            n for n, v in vars(module).items() if inspect.isfunction(v) and v.__module__ == module.__name__
        ]
        raise RuleError(f"{path} has no function {name!r}", spec, nearest(name, own) or "It defines none")
    return function  # type: ignore[no-any-return]  # anything callable; its signature is checked next


def _import(file: Path, spec: str) -> ModuleType:
    """Runs the file as a module of its own. Its folder is searched last, so that it shadows nothing."""
    if str(file.parent) not in sys.path:
        sys.path.append(str(file.parent))
    name = f"_rule_file_{file.stem}_{abs(hash(str(file)))}"
    description = importlib.util.spec_from_file_location(name, file)
    assert description is not None  # it ends in .py
    assert description.loader is not None
    module = importlib.util.module_from_spec(description)
    sys.modules[name] = module  # dataclasses and pickle look their module up
    try:
        description.loader.exec_module(module)
    except RuleError:
        raise
    except (Exception, SystemExit) as error:
        raise RuleError(f"does not import: {describe(error, file)}", spec, "Correct the file") from error
    return module


def describe(error: BaseException, file: Path | None = None) -> str:
    """One line for an exception: type, message, and the last line of `file` (or of any) it passed through."""
    if isinstance(error, SyntaxError):
        return f"{type(error).__name__}: {error.msg}, line {error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    inside = [frame for frame in frames if file is None or frame.filename == str(file)]
    inside = inside or frames
    words = " ".join(str(error).split())[:300]
    place = f", {Path(inside[-1].filename).name} line {inside[-1].lineno}" if inside else ""
    return f"{type(error).__name__}: {words}{place}"


def _place(function: RuleFunction, spec: str) -> str:
    code = getattr(function, "__code__", None)
    return f"{spec} (line {code.co_firstlineno})" if code else spec
