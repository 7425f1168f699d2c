"""The rules of the house about what is registered, shipped and written."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
OURS = ("grpo", "rewards", "eval", "recipes")
TEXTS = ("*.md", "Makefile", "*.toml", ".ci/*", "*/**/*.py", "*/**/*.md", "*/**/*.yaml", "requirements/*.txt")
FIRST_READ = ("README.md", "recipes/demo.yaml", "grpo/types.py", "grpo/trainer.py", "grpo/advantages.py",
              "grpo/losses/objective.py", "rewards/accuracy.py")  # fmt: skip
FIRST_READ_LINES = 900
EQUATION = re.compile(r"[=Σ]|log\(|exp\(|weight 1\b")
SOURCE = re.compile(r"arXiv[: ]\d{4}\.\d{4,5}|\bR1\b|\b(19|20)\d\d\)")  # or a year that closes a citation
SHAPE = re.compile(r"\[(T|S|L|P, ?G|P, ?G, ?K)\]")

# Split in two, so that this file does not hold them itself: package registries are the reader's pip's affair,
# and a path of a developer's machine means nothing on another.
REGISTRIES = (("pypi", ".org"), ("python", "hosted"), ("npm", "js."), ("deb.", "debian"), ("/opt/", "pypi"))
PLACES = (("/wo", "rk/"), ("/ro", "ot/"), ("/ho", "me/"), ("/tm", "p/"))
FORBIDDEN = ["".join(parts) for parts in (*REGISTRIES, *PLACES, ("TO", "DO"), ("FIX", "ME"))]


def texts() -> Iterator[tuple[str, str]]:
    """Path and content of every text file of the project."""
    for pattern in TEXTS:
        for path in sorted(ROOT.glob(pattern)):
            name = path.relative_to(ROOT).as_posix()
            if path.is_file() and not re.match(r"(\.venv|build|dist|runs)/", name):
                yield name, path.read_text()


def forbidden(text: str) -> list[str]:
    return [word for word in FORBIDDEN if word in text]


def terms() -> dict[str, Callable[..., object]]:
    """Every registered objective term by `kind name`."""
    from grpo.terms import TABLES

    importlib.import_module("grpo.advantages")
    for path in (ROOT / "grpo" / "losses").glob("[a-z]*.py"):
        importlib.import_module(f"grpo.losses.{path.stem}")
    return {f"{kind} {name}": function for kind, table in TABLES.items() for name, function in table.items()}


def rules() -> dict[str, Callable[..., object]]:
    """Every registered reward rule by name."""
    import rewards.registry

    return {name: rewards.registry.get(name) for name in rewards.registry.names()}


def lacking_in_term(function: Callable[..., object]) -> list[str]:
    """What the docstring of a term does not have of equation, shape and source."""
    text = inspect.getdoc(function) or ""
    found = {"equation": EQUATION.search(text), "shape": SHAPE.search(text), "source": SOURCE.search(text)}
    return [what for what, there in found.items() if not there]


def is_tested(name: str, function: Callable[..., object], tests: str) -> bool:
    """Whether a test names the function, or its registered name in quotes."""
    word = getattr(function, "__name__", name)
    return bool(
        re.search(rf"\b{re.escape(word)}\(|[\"']{re.escape(name)}[\"']|import .*\b{re.escape(word)}\b", tests)
    )


def has_section(name: str, document: str) -> bool:
    """Whether a heading of the document names it in backticks."""
    return any(f"`{name}`" in line for line in document.splitlines() if line.startswith("#"))


def text_of_tests(folder: str) -> str:
    return "\n".join(path.read_text() for path in sorted((ROOT / "tests" / folder).rglob("test_*.py")))


def read(path: str) -> str:
    return (ROOT / path).read_text() if (ROOT / path).exists() else ""


def imported_packages() -> Iterator[tuple[str, str]]:
    """File and top-level name of every import of somebody else's package."""
    for path in (path for folder in OURS for path in sorted((ROOT / folder).rglob("*.py"))):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                modules = [node.module or ""]
            else:
                continue
            for top in {module.split(".")[0] for module in modules} - {*OURS, *sys.stdlib_module_names}:
                yield path.relative_to(ROOT).as_posix(), top


def test_checks_see_planted_violations():
    def bare(x: int) -> int:
        """Doubles."""
        return 2 * x

    assert lacking_in_term(bare) == ["equation", "shape", "source"]
    assert not is_tested("bare", bare, "def test_barely(): ...")
    assert is_tested("bare", bare, "assert bare(2) == 4")
    assert not has_section("bare", "bare and `bare`\n# Bare")
    assert has_section("bare", "### The `bare` term")
    assert forbidden("see " + "/wo" + "rk/main") == ["/wo" + "rk/"]


def test_every_term_states_equation_shape_and_source():
    found = terms()
    assert len(found) >= 6
    assert {name: lack for name, function in found.items() if (lack := lacking_in_term(function))} == {}


def test_every_term_and_preset_has_a_test_and_a_section():
    from grpo.losses.presets import PRESETS

    tests, document = text_of_tests("grpo"), read("docs/algorithms.md")
    untested = [name for name, function in terms().items() if not is_tested(name.split()[1], function, tests)]
    assert untested == []
    names = [*(name.split()[1] for name in terms()), *PRESETS]
    assert [name for name in names if not has_section(name, document)] == []


def test_every_rule_has_a_docstring_a_test_and_a_section():
    tests, document = text_of_tests("rewards"), read("docs/rewards.md")
    found = rules()
    assert {"accuracy", "format"} <= set(found)
    assert [name for name, rule in found.items() if not inspect.getdoc(rule)] == []
    assert [name for name, rule in found.items() if not is_tested(name, rule, tests)] == []
    assert [name for name in found if not has_section(name, document)] == []


@pytest.mark.parametrize("path", sorted((ROOT / "recipes").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_shipped_recipe_validates_and_says_where_it_comes_from(path):
    from grpo.recipe_file import load_recipe

    load_recipe(str(path))
    header = re.match(r"(#.*\n)*", path.read_text()).group()
    assert re.search("Source|Paper", header)
    assert "Expected" in header
    assert "Device: " in header
    assert f"grpo train {path.stem}" in header


def test_recipes_are_shipped_and_told():
    """The table has a row for each, which says whether it has been run, and none for what is not there."""
    shipped = {path.stem for path in (ROOT / "recipes").glob("*.yaml")}
    assert {"demo", "r1_zero_gsm8k", "r1_zero_math", "countdown_tinyzero", "lora_math_7b"} <= shipped
    rows = re.findall(r"^\| \[(\w+)\]\(\.\./recipes/\1\.yaml\) \|.*$", read("docs/recipes.md"), re.M)
    assert sorted(rows) == sorted(shipped)
    for name in shipped:
        row = next(line for line in read("docs/recipes.md").splitlines() if line.startswith(f"| [{name}]"))
        assert f"`grpo train {name}`" in row
        assert re.search(r"\| (not run|run, \[results\]\(results\.md\)) \|", row)


@pytest.mark.parametrize("path", sorted((ROOT / "recipes").glob("*.yaml")), ids=lambda path: path.stem)
def test_a_recipe_for_a_gpu_asks_for_one_and_says_how_to_fit_a_smaller(path):
    from grpo.recipe_file import describe_recipe, load_recipe

    wants_gpu = describe_recipe(path)[1].startswith("cuda")
    assert (load_recipe(str(path)).model.device == "cuda") == wants_gpu
    given = re.findall(r"(?<= )((?:model|rollout|train)\.[\w.]+=\S+?)[;.]?(?=\s)", path.read_text())
    assert bool(given) == wants_gpu
    load_recipe(str(path), given)  # what the header says to write is valid


def test_no_forbidden_word():
    assert {name: words for name, text in texts() if (words := forbidden(text))} == {}


def test_lists_hold_exact_versions_only():
    for path in (ROOT / "requirements").glob("*.txt"):
        lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
        assert lines == sorted(lines)
        assert [line for line in lines if not re.fullmatch(r"[a-z0-9-]+==[\w.]+", line)] == []


def test_every_package_that_is_imported_is_declared():
    table = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = ("tasks", "tensorboard", "wandb", "trackio", "bitsandbytes")
    lines = [
        *table["dependencies"],
        *(line for extra in extras for line in table["optional-dependencies"][extra]),
    ]
    lines.append("vllm")
    declared = {re.match(r"[\w-]+", line).group().lower() for line in lines}
    providers = {"yaml": "pyyaml", "pydantic_core": "pydantic"}
    assert {
        f"{path}: {top}"
        for path, top in imported_packages()
        if providers.get(top, top).replace("_", "-") not in declared
    } == set()


def test_the_first_reading_is_short():
    lines = {path: len((ROOT / path).read_text().splitlines()) for path in FIRST_READ}
    assert sum(lines.values()) <= FIRST_READ_LINES, lines


def test_readme_opens_with_the_two_commands():
    head = "\n".join((ROOT / "README.md").read_text().splitlines()[:15])
    assert "make demo" in head
    assert "make test" in head
