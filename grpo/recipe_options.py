"""Fills a recipe's tree: terms from the preset, options from the signatures of terms, rules and sets."""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from eval.sets import registry
from grpo.errors import UserError
from grpo.losses import PRESETS
from grpo.nearest import suggest
from grpo.recipe import Algorithm, Data, Rule
from grpo.recipe_tree import Key, Tree
from grpo.sources import FUNCTION, find_file, parse_source
from grpo.templates import get_template
from grpo.terms import KINDS, TABLES, Option, options_of
from rewards.combine import ENTRY
from rewards.errors import RuleError
from rewards.options import check_options
from rewards.options import options_of as rule_options
from rewards.registry import get as registered
from rewards.trl_rules import PREFIX as TRL

# statements that give a module no names but those they show
DEFINITIONS = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
_WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}


def fill_algorithm(tree: Tree) -> None:
    """Replaces `algorithm` by one that names every term with all its options.

    A term that the recipe leaves out comes from the preset; one it names by the preset's own name takes the
    preset's options under those given; one of another name takes its function's defaults.
    """
    raw = tree.value.get("algorithm") or {}
    if not isinstance(raw, dict):
        return
    preset = raw.get("preset", Algorithm.model_fields["preset"].default)
    if preset not in PRESETS:
        key: Key = ("algorithm", "preset")
        tree.problem(key, f"no preset {preset!r}", suggest(str(preset), PRESETS, "Presets"))
        preset = next(iter(PRESETS))
    terms = {kind: _term(tree, kind, raw.get(kind), PRESETS[preset][kind]) for kind in KINDS}
    tree.value["algorithm"] = {**raw, "preset": preset, **terms}


def _term(tree: Tree, kind: str, given: Any, row: Mapping[str, Any]) -> dict[str, Any]:
    key: Key = ("algorithm", kind)
    if given is None:
        given = {}
    elif isinstance(given, str):
        given = {"name": given}
    elif not isinstance(given, dict):
        tree.problem(key, f"should be a name or a mapping, is {given!r}", "Write {name: …, option: …}")
        given = {}
    name = given.get("name", row["name"])
    if name not in TABLES[kind]:
        tree.problem(key, f"no {kind} term {name!r}", suggest(str(name), TABLES[kind], "Terms"))
        return dict(row)
    options = options_of(TABLES[kind][name])
    base = row if name == row["name"] else {}
    sound = {
        option: value
        for option, value in given.items()
        if option != "name" and _check_option(tree, (*key, option), value, options)
    }
    chosen = {option: spec.default for option, spec in options.items()} | dict(base) | sound
    return {"name": name, **{option: chosen[option] for option in options if option in chosen}}


def _check_option(tree: Tree, key: Key, value: Any, options: Mapping[str, Option]) -> bool:
    name = str(key[-1])
    if name not in options:
        what = suggest(name, options, "Options") or "It has no options"
        tree.problem(key, "unknown option", what)
        return False
    kind = options[name].type
    right = isinstance(value, int | float) if kind is float else isinstance(value, kind)
    right = right and (kind is bool or not isinstance(value, bool))
    if not right:
        tree.problem(key, f"should be {_WORDS[kind]}, is {value!r}")
    return right


def fill_rewards(tree: Tree) -> None:
    """Checks that each rule's function or file exists, and adds the options of registered ones."""
    rules = tree.value.get("rewards")
    for index, given in enumerate(rules if isinstance(rules, list) else []):
        _fill_rule(tree, ("rewards", index), given, list(Rule.model_fields))


def _fill_rule(tree: Tree, key: Key, given: Any, keys: list[str]) -> None:
    """One entry; the entries of a combination within it likewise.

    Args:
        keys: what an entry may hold besides options of its rule.
    """
    if not isinstance(given, dict) or not isinstance(given.get("rule"), str):
        return
    if FUNCTION.match(given["rule"]):
        _check_own_rule(tree, key, given, keys)
        return
    if given["rule"].startswith(f"{TRL}:"):  # trl is not loaded for this: a mistake shows with the rules
        return
    try:
        function = registered(given["rule"])
    except RuleError as error:
        tree.problem((*key, "rule"), error.what, error.instead)
        return
    options = rule_options(function)
    for name in [name for name in given if name not in (*keys, *options)]:
        tree.problem((*key, name), "unknown key or option", suggest(name, [*keys, *sorted(options)], "Keys"))
    for name, index, entry in _entries(given):
        _fill_rule(tree, (*key, name, index), entry, list(ENTRY))
    try:
        check_options(function, {name: given[name] for name in options if name in given}, given["rule"])
    except RuleError as error:
        tree.problem(key, error.what, error.instead)
    given |= {name: parameter.default for name, parameter in options.items()} | given


def _entries(given: Mapping[str, Any]) -> Iterator[tuple[str, int, dict[str, Any]]]:
    """The entries within an entry, with the option and the place that hold each."""
    for name, value in given.items():
        for index, entry in enumerate(value if isinstance(value, list) else []):
            if isinstance(entry, dict) and "rule" in entry:
                yield name, index, entry


def _check_own_rule(tree: Tree, key: Key, given: Mapping[str, Any], keys: list[str]) -> None:
    """Checks what the source of a rule's file tells without running it; the rest shows when it is loaded."""
    named = FUNCTION.match(given["rule"])
    assert named
    try:
        module = ast.parse(find_file(named["file"]).read_bytes())
    except UserError as error:
        tree.problem((*key, "rule"), error.what, error.instead)
        return
    except (SyntaxError, ValueError):
        return
    functions = {
        node.name: node for node in module.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    plain = all(
        isinstance(node, ast.Expr | ast.Import | ast.ImportFrom | DEFINITIONS) for node in module.body
    )
    found = functions.get(named["name"])
    if found is None and plain and not _imports(module, named["name"]):
        near = suggest(named["name"], functions, "Functions")
        tree.problem((*key, "rule"), f"{named['file']} has no function {named['name']!r}", near)
    if found is None or found.decorator_list:  # a decorator may change the signature
        return
    options = [argument.arg for argument in found.args.kwonlyargs]
    for name in given:
        if name not in (*keys, *options):
            tree.problem((*key, name), "unknown key or option", suggest(name, [*keys, *options], "Keys"))


def _imports(module: ast.Module, name: str) -> bool:
    nodes = [node for node in module.body if isinstance(node, ast.Import | ast.ImportFrom)]
    return any((alias.asname or alias.name) in (name, "*") for node in nodes for alias in node.names)


def fill_data(tree: Tree) -> None:
    """Checks the sources of prompts, the template and how golds are taken; adds a generated set's options."""
    data, evaluation = tree.value.get("data"), tree.value.get("eval")
    if isinstance(data, dict):
        _check_template(tree, data)
        _check_gold(tree, data.get("gold"))
        source = (
            _source(tree, ("data", "train"), data["train"]) if isinstance(data.get("train"), str) else None
        )
        if source and source.kind == "set":
            _fill_set_options(tree, data, source.name)
        if source and source.kind == "file" and data.get("options"):
            tree.problem(("data", "options"), "a file takes no options", "Leave them out")
    sets = evaluation.get("sets") if isinstance(evaluation, dict) else None
    for index, text in enumerate(sets if isinstance(sets, list) else []):
        if isinstance(text, str):
            _source(tree, ("eval", "sets", index), text)


def _check_template(tree: Tree, data: Mapping[str, Any]) -> None:
    name = data.get("template", Data.model_fields["template"].default)
    if not isinstance(name, str):
        return
    try:
        template = get_template(name)
    except UserError as error:
        tree.problem(("data", "template"), error.what, error.instead)
        return
    if data.get("system") is not None and not template.has_system:
        tree.problem(("data", "system"), f"the template {name} has no system prompt", "Leave it out")


def _check_gold(tree: Tree, gold: Any) -> None:
    if not isinstance(gold, str):
        return
    key: Key = ("data", "gold")
    function = FUNCTION.match(gold)
    try:
        if function:
            find_file(function["file"])
        elif re.compile(gold).groups != 1:
            tree.problem(key, "the regular expression should have one group, the gold", "Write (…) once")
    except re.error as error:
        tree.problem(key, f"no regular expression: {error}")
    except UserError as error:
        tree.problem(key, error.what, error.instead)


def _source(tree: Tree, key: Key, text: str) -> Any:
    try:
        return parse_source(text)
    except UserError as error:
        tree.problem(key, error.what, error.instead)
        return None


def _fill_set_options(tree: Tree, data: dict[str, Any], name: str) -> None:
    generate, given = registry.get(name).generate, data.get("options") or {}
    if generate is None or not isinstance(given, dict):
        return
    options = options_of(generate)
    for option, value in given.items():
        _check_option(tree, ("data", "options", option), value, options)
    data["options"] = {option: spec.default for option, spec in options.items()} | given


_OWN_FILE = re.compile(r"^(?P<file>.+\.(?:py|jsonl|parquet|csv))(?P<rest>:\w+)?$")


def anchor_paths(raw: Mapping[str, Any], folder: Path) -> None:
    """Makes `~` the home folder, and finds files that lie beside the recipe, not in the working directory.

    Args:
        raw: the sections as written; their paths are replaced in place.
        folder: where the recipe's file lies.
    """

    def home(value: Any) -> Any:
        return os.path.expanduser(value) if isinstance(value, str) else value

    def anchored(value: Any) -> Any:
        value = home(value)
        found = _OWN_FILE.match(value) if isinstance(value, str) else None
        if not found or Path(found["file"]).is_file() or not (folder / found["file"]).is_file():
            return value
        return f"{folder / found['file']}{found['rest'] or ''}"

    places = [
        ("model", ("path",), home),
        ("output", ("folder",), home),
        ("data", ("train", "gold"), anchored),
    ]
    for section, keys, place in places:
        values = raw.get(section)
        if isinstance(values, dict):
            values |= {key: place(values[key]) for key in keys if key in values}
    rules, evaluation = raw.get("rewards"), raw.get("eval")
    entries = [rule for rule in rules if isinstance(rule, dict)] if isinstance(rules, list) else []
    while entries:
        rule = entries.pop()
        if "rule" in rule:
            rule["rule"] = anchored(rule["rule"])
        entries += [entry for _, _, entry in _entries(rule)]
    if isinstance(evaluation, dict) and isinstance(evaluation.get("sets"), list):
        evaluation["sets"] = [anchored(item) for item in evaluation["sets"]]
