"""A recipe file and its overrides to a validated Recipe, and back to YAML.

    file + overrides ─► tree (recipe_tree) ─► preset, term, rule and set options filled in (recipe_options)
                     ─► sections (recipe) ─► combinations (recipe_checks) ─► Recipe

Every mistake is reported at once, a line each, before anything heavy loads.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import yaml
from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from grpo.errors import UserError
from grpo.nearest import suggest
from grpo.recipe import Recipe
from grpo.recipe_checks import Doubtful, check_combinations
from grpo.recipe_options import anchor_paths, fill_algorithm, fill_data, fill_rewards
from grpo.recipe_tree import Key, RecipeDumper, Tree, read_text

SHIPPED = Path(__file__).resolve().parent.parent / "recipes"

_TYPES = {
    "int_type": "should be a whole number",
    "int_from_float": "should be a whole number",
    "float_type": "should be a number",
    "finite_number": "should be a finite number",
    "bool_type": "should be true or false",
    "string_type": "should be text",
    "string_too_short": "should not be empty",
    "list_type": "should be a list",
    "tuple_type": "should be a list",
    "dict_type": "should be a mapping, lines of `key: value`",
    "model_type": "should be a mapping, lines of `key: value`",
    "model_attributes_type": "should be a mapping, lines of `key: value`",
}
_BOUNDS = {
    "greater_than": ("gt", "should be above"),
    "greater_than_equal": ("ge", "should be at least"),
    "less_than": ("lt", "should be below"),
    "less_than_equal": ("le", "should be at most"),
}
_REFUSED = dict.fromkeys(
    ("top_p", "top_k", "min_p"),
    "Truncated sampling draws from another distribution than the loss assumes and biases the importance "
    "ratio; shape sampling with rollout.temperature",
)
_WHY = {
    "group_size": "Advantages compare the completions of one prompt",
    "holdout": "The summary compares base and trained policy on held-out prompts",
}


class RecipeError(UserError):
    """Every mistake of one recipe, a line each."""

    def __init__(self, problems: Sequence[UserError]) -> None:
        self.problems = list(problems)
        super().__init__("\n".join(str(problem) for problem in problems))

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.problems,)


def load_recipe(name_or_path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Reads and validates a recipe.

    Args:
        name_or_path: a YAML file, or the name of a shipped recipe ("demo").
        overrides: `key.path=value` each, applied in order.

    Raises:
        RecipeError: every mistake found, each with file and line, or `command line`.
    """
    path = find_recipe(name_or_path)
    label = str(name_or_path) if path == Path(name_or_path) else path.name
    tree = Tree(label)
    try:
        tree.read(read_text(path))
    except UserError as error:
        raise RecipeError([error]) from None
    if not isinstance(tree.value, dict):
        tree.problem((), "should be a mapping of sections", f"Sections: {', '.join(Recipe.model_fields)}")
        raise RecipeError(tree.problems)
    for override in overrides:
        tree.override(override)
    anchor_paths(tree.value, path.parent)
    recipe = _validate(tree)
    if recipe is None:
        raise RecipeError(tree.in_order())
    return recipe


def find_recipe(name_or_path: str | Path) -> Path:
    """The file of a recipe: the path itself, else the shipped recipe of that name.

    Raises:
        RecipeError: there is neither.
    """
    path = Path(name_or_path)
    if path.is_file():
        return path
    shipped = SHIPPED / f"{path.name.removesuffix('.yaml')}.yaml"
    if len(path.parts) == 1 and shipped.is_file():
        return shipped
    what = "is a folder" if path.is_dir() else "no such recipe file, and no shipped recipe of that name"
    raise RecipeError([UserError(what, str(name_or_path), suggest(path.name, shipped_recipes(), "Shipped"))])


def shipped_recipes() -> list[str]:
    """Names of the recipes that come with the package."""
    return sorted(path.stem for path in SHIPPED.glob("*.yaml"))


def describe_recipe(path: Path) -> tuple[str, str]:
    """Purpose and device of a recipe, from its header: its first line, and the one with `Device:`."""
    header = [line.removeprefix("#").strip() for line in read_text(path).splitlines() if line.startswith("#")]
    device = [line.removeprefix("Device:").strip() for line in header if line.startswith("Device:")]
    return (header[0] if header else ""), (device[0] if device else "")


def dump_recipe(recipe: Recipe) -> str:
    """YAML of the whole recipe, defaults included; reading it back gives an equal Recipe."""
    lines = []
    for section, value in recipe.model_dump(mode="json").items():
        if isinstance(value, dict):
            lines.append(f"{section}:")
            lines += [f"  {key}: {_flow(item)}" for key, item in value.items()]
        elif isinstance(value, list):
            lines.append(f"{section}:")
            lines += [f"  - {_flow(item)}" for item in value]
        else:
            lines.append(f"{section}: {_flow(value)}")
    return "\n".join(lines) + "\n"


def _flow(value: Any) -> str:
    text: str = yaml.dump(
        value,
        Dumper=RecipeDumper,
        default_flow_style=True,
        sort_keys=False,
        width=10**6,
        allow_unicode=True,
    )
    return text.removesuffix("\n").removesuffix("\n...").strip()


def _validate(tree: Tree) -> Recipe | None:
    raw = tree.value
    for name in raw:
        if name not in Recipe.model_fields:
            tree.problem((name,), "unknown section", _meant(name, Recipe.model_fields, "Sections"))
    fill_algorithm(tree)
    fill_rewards(tree)
    fill_data(tree)
    sections: dict[str, Any] = {}
    for name, field in Recipe.model_fields.items():
        value = raw.get(name)
        if value is None and name in raw and field.is_required():
            value = [] if name == "rewards" else {}  # `data:` with nothing below it
        if value is None and not field.is_required():
            sections[name] = field.get_default()
        elif value is None:
            inside = _required(field.annotation)
            tree.problem(
                (name,), "missing", f"Give at least {inside}" if inside else "Give at least one rule"
            )
        else:
            _section(tree, name, field.rebuild_annotation(), value, sections)
    check_combinations(sections, tree)
    return None if tree.problems else Recipe(**sections)


def _section(tree: Tree, name: str, annotation: Any, value: Any, sections: dict[str, Any]) -> None:
    try:
        # As JSON, because pydantic's strict mode takes lists for tuples and mappings for models only there.
        sections[name] = TypeAdapter(annotation).validate_json(json.dumps(value), strict=True)
    except ValidationError as error:
        details = error.errors(include_url=False)
        for detail in details:
            key: Key = (name, *detail["loc"])
            tree.problem(key, *_explain(detail, _keys_at(annotation, detail["loc"][:-1])))
        wrong = {str(detail["loc"][0]) for detail in details if detail["loc"]}
        if isinstance(value, dict):  # its other values can still be checked against one another
            rest = {key: item for key, item in value.items() if key not in wrong}
            with contextlib.suppress(ValidationError):  # a key is missing that has no default
                sound = TypeAdapter(annotation).validate_json(json.dumps(rest), strict=True)
                sections[name] = Doubtful(sound, wrong)


def _explain(detail: ErrorDetails, keys: Sequence[str]) -> tuple[str, str]:
    kind, got, context = detail["type"], detail["input"], detail.get("ctx", {})
    if kind == "extra_forbidden":
        name = str(detail["loc"][-1])
        if name in _REFUSED:
            return "not available in training", _REFUSED[name]
        return "unknown key", _meant(name, keys, "Keys")
    if kind == "missing":
        return "missing", ""
    if kind == "literal_error":
        names = str(context["expected"]).replace("'", "").replace(" or ", ", ").split(", ")
        names = [{"True": "true", "False": "false"}.get(name, name) for name in names]  # as YAML has them
        return f"{got!r} is none of {', '.join(names)}", suggest(str(got), names, "")
    if kind in _BOUNDS:
        bound, words = _BOUNDS[kind]
        return f"{words} {context[bound]:.12g}, is {got!r}", _WHY.get(str(detail["loc"][-1]), "")
    if kind in ("too_short", "too_long"):
        count = context.get("min_length", context.get("max_length"))
        return f"should have {'at least' if kind == 'too_short' else 'at most'} {count} item(s)", ""
    if kind in _TYPES:
        return f"{_TYPES[kind]}, is {_shown(got)}", ""
    return detail["msg"], ""


def _meant(name: str, known: Iterable[str], noun: str) -> str:
    """What was probably meant: a known name like it, else a key of that very name in another section."""
    sections = {
        key: field for key, field in Recipe.model_fields.items() if key != "rewards"
    }  # that is a list
    homes = [key for key, field in sections.items() if name in _keys(field.rebuild_annotation())]
    if homes and not suggest(name, known, ""):
        return f"Did you mean {' or '.join(f'{key}.{name}' for key in homes)}?"
    return suggest(name, known, noun)


def _shown(value: Any) -> str:
    names = {dict: "a mapping", list: "a list", type(None): "empty"}
    return names.get(type(value)) or repr(value)


def _keys(annotation: Any) -> list[str]:
    """Keys of the model in `annotation`, `Model` or `Model | None` or a list of them."""
    return [key for model in _models(annotation) for key in cast(Mapping[str, Any], model.model_fields)]


def _keys_at(annotation: Any, path: Sequence[str | int]) -> list[str]:
    """Keys of the model that a path of keys leads to, from the model in `annotation`."""
    for part in path:
        fields = [model.model_fields for model in _models(annotation) if part in model.model_fields]
        annotation = fields[0][str(part)].annotation if fields else annotation
    return _keys(annotation)


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in getattr(annotation, "__args__", ()) for model in _models(part)]


def _required(annotation: Any) -> str:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return ", ".join(name for name, field in annotation.model_fields.items() if field.is_required())
    return ""
