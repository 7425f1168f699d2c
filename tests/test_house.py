"""The rules of the house that a source file can break, each with a planted violation that its check sees."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("grpo", "rewards", "eval")
OURS = (*PACKAGES, "recipes")
CODE = (*OURS, "tests", "benchmarks", "requirements")
LONGEST_FILE, LONG_FILE, LONG_SHARE = 400, 300, 0.1
LONGEST_FUNCTION = 60
LOOP = 40  # of the trainer
HEAVY = ("torch", "vllm", "transformers", "trl", "datasets", "sympy", "matplotlib", "pandas")
LIGHT = (
    "grpo", "grpo.recipe", "grpo.recipe_file", "grpo.terms", "grpo.types", "grpo.doctor", "grpo.advantages",
    "rewards", "rewards.registry", "eval", "eval.sets", "recipes",
)  # fmt: skip
ERRORS = ("GrpoError", "UserError", "RunError", "EngineError", "SyncError", "RuleError")
SKIP_REASONS = ("needs ", "data: ", "hardware: ")

# What each part may import of ours, the first prefix that fits deciding. Itself is always allowed.
ARROWS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("rewards", ()),
    ("eval.sets", ()),
    (
        "eval",
        (
            "rewards",
            "grpo.types",
            "grpo.data",
            "grpo.templates",
            "grpo.rollout",
            "grpo.gather",
            "grpo.errors",
        ),
    ),
    ("grpo.cli", OURS),
    ("grpo.stages", OURS),
    ("grpo.report", OURS),
    ("grpo", ("rewards", "eval.sets", "recipes")),
)

Function = ast.FunctionDef | ast.AsyncFunctionDef


def sources(*folders: str) -> Iterator[tuple[str, str]]:
    """Path below the root, and text, of every Python file of the folders."""
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield path.relative_to(ROOT).as_posix(), path.read_text()


def under(module: str, prefix: str) -> bool:
    return module == prefix or module.startswith(prefix + ".")


def dotted(path: str) -> str:
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def arrows(path: str, source: str) -> list[str]:
    """Imports that go against the arrows, and every `import eval`, which hides the builtin.

    What is imported for its types alone may come from anywhere, except where nothing of ours may be used.
    """
    part, allowed = next((row for row in ARROWS if under(dotted(path), row[0])), ("", OURS))
    tree, wrong = ast.parse(source), []
    for_types = set(type_imports(tree)) if allowed else set()
    for node in ast.walk(tree):
        if node in for_types:
            continue
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
            wrong += [f"{path}:{node.lineno}: import {name}" for name in names if under(name, "eval")]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            if name.split(".")[0] in OURS and not any(under(name, a) for a in (part, *allowed)):
                wrong.append(f"{path}:{node.lineno}: {part} imports {name}")
    return wrong


def type_imports(tree: ast.Module) -> Iterator[ast.AST]:
    """The imports under `if TYPE_CHECKING:`."""
    for node in tree.body:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            yield from node.body


def long_functions(path: str, source: str, most: int = LONGEST_FUNCTION) -> list[str]:
    """Functions of more than `most` lines, docstring included."""
    found = [node for node in ast.walk(ast.parse(source)) if isinstance(node, Function)]
    lengths = {
        f"{path}:{node.lineno} {node.name}": (node.end_lineno or 0) - node.lineno + 1 for node in found
    }
    return [f"{where} has {lines} lines" for where, lines in lengths.items() if lines > most]


def undocumented(path: str, source: str) -> list[str]:
    """Public classes, functions and methods without a docstring, or not fully typed.

    A method of a rollout engine that the protocol documents need not say it again.
    """
    wrong = [] if ast.get_docstring(tree := ast.parse(source)) or not tree.body else [f"{path}: no docstring"]
    said_already = set(overriding(tree))
    for node, is_method in public(tree):
        where = f"{path}:{node.lineno} {node.name}"
        if not ast.get_docstring(node) and node not in said_already:
            wrong.append(f"{where}: no docstring")
        if isinstance(node, Function):
            parameters = [*node.args.posonlyargs, *node.args.args][is_method and not is_static(node) :]
            parameters += [*node.args.kwonlyargs, *filter(None, [node.args.vararg, node.args.kwarg])]
            if node.returns is None or any(parameter.annotation is None for parameter in parameters):
                wrong.append(f"{where}: not fully typed")
    return wrong


def overriding(tree: ast.Module) -> Iterator[ast.AST]:
    """Methods of the rollout engines that the protocol documents."""
    protocol = ast.parse((ROOT / "grpo" / "rollout" / "engine.py").read_text())
    documented = {node.name for node, is_method in public(protocol) if is_method and ast.get_docstring(node)}
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and "RolloutEngine" in map(ast.unparse, node.bases):
            yield from (inner for inner in node.body if getattr(inner, "name", "") in documented)


def public(tree: ast.Module) -> Iterator[tuple[Function | ast.ClassDef, bool]]:
    """Public functions and classes of a module and methods of those classes, and whether each is a method."""
    for node in tree.body:
        if isinstance(node, Function | ast.ClassDef) and not node.name.startswith("_"):
            yield node, False
            if isinstance(node, ast.ClassDef):
                for inner in node.body:
                    if isinstance(inner, Function) and not inner.name.startswith("_"):
                        yield inner, True


def is_static(node: Function) -> bool:
    return any(isinstance(mark, ast.Name) and mark.id == "staticmethod" for mark in node.decorator_list)


def shapeless(path: str, source: str) -> list[str]:
    """Public functions of tensors whose docstring states no shape such as [T] or [P, G]."""
    wrong = []
    for node, _ in public(ast.parse(source)):
        if not isinstance(node, Function):
            continue
        signature = f"{ast.unparse(node.args)} -> {ast.unparse(node.returns or ast.Constant(''))}"
        signature = re.sub(r"\[str, Tensor\]", "", signature)  # named weights have the model's shapes
        stated = re.search(r"\[[A-Z][^\]]*\]|scalar", ast.get_docstring(node) or "")
        if re.search(r"\bTensor\b", signature) and not stated:
            wrong.append(f"{path}:{node.lineno} {node.name}: no shape in its docstring")
    return wrong


def branches_on(names: set[str], path: str, source: str) -> list[str]:
    """Comparisons with the name of a term, preset or rule: a table should decide instead."""
    wrong = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
        elif isinstance(node, ast.MatchValue):
            sides = [node.value]
        else:
            continue
        literals = {
            inner.value for side in sides for inner in ast.walk(side) if isinstance(inner, ast.Constant)
        }
        wrong += [f"{path}:{node.lineno}: branches on {word!r}" for word in literals if word in names]
    return wrong


def lower_hints(path: str, source: str) -> list[str]:
    """What an error says to do instead, where it is a sentence that begins with a small letter."""
    wrong = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call) or ast.unparse(node.func).split(".")[-1] not in (
            *ERRORS,
            "problem",
        ):
            continue
        hints = node.args[2:3] + [word.value for word in node.keywords if word.arg == "instead"]
        starts = [text for hint in hints for text in beginnings(hint) if text]
        wrong += [f"{path}:{node.lineno}: {text!r}" for text in starts if not re.match(r"[A-Z`0-9]", text)]
    return wrong


def beginnings(node: ast.expr) -> Iterator[str]:
    """How the texts that an expression may be begin, as far as they are literal."""
    if isinstance(node, ast.IfExp):
        yield from (*beginnings(node.body), *beginnings(node.orelse))
    elif isinstance(node, ast.BoolOp):
        yield from (text for value in node.values for text in beginnings(value))
    elif isinstance(node, ast.BinOp):
        yield from beginnings(node.left)
    elif isinstance(node, ast.JoinedStr):
        yield from beginnings(node.values[0])
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value


def unexplained_skips(path: str, source: str) -> list[str]:
    """Skips whose reason does not say which of the three kinds they are (tests/conftest.py)."""
    wrong = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        if called.endswith("mark.skipif") or called.endswith("mark.skip"):
            reasons = [word.value for word in node.keywords if word.arg == "reason"] or [ast.Constant("")]
        elif called in ("pytest.skip", "skip"):
            reasons = node.args[:1] + [word.value for word in node.keywords if word.arg == "reason"]
        else:
            continue
        start = ast.unparse(reasons[0]).lstrip("f'\"") if reasons else ""
        if not isinstance(reasons[0], ast.Name) and not start.startswith(SKIP_REASONS):
            wrong.append(f"{path}:{node.lineno}: skip reason begins with none of {SKIP_REASONS}")
    return wrong


def registered_names() -> set[str]:
    """Every name that a recipe can give for a term, a preset or a rule."""
    import rewards.registry
    from grpo.losses import presets
    from grpo.terms import TABLES

    import_terms()
    return {
        *presets.PRESETS,
        *rewards.registry.names(),
        *(name for table in TABLES.values() for name in table),
    }


def import_terms() -> None:
    """Fills the tables of terms."""
    import importlib

    importlib.import_module("grpo.advantages")
    for path in (ROOT / "grpo" / "losses").glob("[a-z]*.py"):
        importlib.import_module(f"grpo.losses.{path.stem}")


Check = Callable[[str, str], list[str]]
PLANTED: dict[str, tuple[Check, str, str]] = {
    "rewards imports grpo": (arrows, "rewards/x.py", "from grpo.types import Prompt"),
    "rewards imports eval": (arrows, "rewards/x.py", "from eval.sets import gsm8k"),
    "rewards imports types": (arrows, "rewards/x.py", "if TYPE_CHECKING:\n    from grpo.types import Group"),
    "a set imports rewards": (arrows, "eval/sets/x.py", "import rewards.accuracy"),
    "eval imports the trainer": (arrows, "eval/x.py", "def f():\n    from grpo.trainer import train"),
    "the trainer imports eval": (arrows, "grpo/trainer.py", "from eval.run import evaluate"),
    "the trainer imports a part of eval": (arrows, "grpo/trainer.py", "from eval import run"),
    "bare import eval": (arrows, "grpo/cli/x.py", "import eval"),
    "bare import of a part of eval": (arrows, "grpo/cli/x.py", "import eval.run"),
    "a long function": (long_functions, "x.py", "def f():\n" + "    pass\n" * 60),
    "no module docstring": (undocumented, "x.py", "x = 1"),
    "no docstring": (undocumented, "x.py", '"""x"""\ndef f() -> None: ...'),
    "a method without one": (undocumented, "x.py", '"""x"""\nclass A:\n "a"\n def f(self) -> None: ...'),
    "an engine's own method": (
        undocumented,
        "x.py",
        '"""x"""\nclass A(RolloutEngine):\n "a"\n def extra(self) -> None: ...',
    ),
    "no return type": (undocumented, "x.py", '"""x"""\ndef f():\n  "a"'),
    "no argument type": (undocumented, "x.py", '"""x"""\ndef f(*, a) -> None:\n  "a"'),
    "no type in a method": (undocumented, "x.py", '"""x"""\nclass A:\n "a"\n def f(self, a) -> None:\n  "a"'),
    "no shape": (shapeless, "x.py", 'def f(x: Tensor) -> float:\n  "Sums."'),
    "equals a name": (lambda p, s: branches_on({"k3"}, p, s), "x.py", "if kl.name == 'k3': pass"),
    "among names": (lambda p, s: branches_on({"k3"}, p, s), "x.py", "if name in ('k1', 'k3'): pass"),
    "matches a name": (lambda p, s: branches_on({"k3"}, p, s), "x.py", "match name:\n case 'k3': pass"),
    "a small hint": (lower_hints, "x.py", "UserError('bad', 'here', 'use 2')"),
    "a small hint by name": (lower_hints, "x.py", "errors.RunError('bad', instead=f'use {x}')"),
    "a small hint of two": (lower_hints, "x.py", "tree.problem(key, 'bad', x or ('a' if y else 'B'))"),
    "a vague skip": (unexplained_skips, "x.py", "pytest.skip('no luck')"),
    "a skipif without reason": (unexplained_skips, "x.py", "@pytest.mark.skipif(True)\ndef test(): ..."),
}


@pytest.mark.parametrize("fault", PLANTED)
def test_each_check_sees_its_planted_violation(fault):
    check, path, source = PLANTED[fault]
    assert len(check(path, source)) == 1


ALLOWED: dict[str, tuple[Check, str, str]] = {
    "cli imports eval": (arrows, "grpo/cli/eval.py", "from eval.run import evaluate"),
    "data reads the sets": (arrows, "grpo/data.py", "from eval.sets.registry import get"),
    "the trainer names a type": (arrows, "grpo/x.py", "if TYPE_CHECKING:\n    from eval.run import A"),
    "eval reads types": (arrows, "eval/run.py", "from grpo.types import Prompt"),
    "a set imports the sets' registry": (arrows, "eval/sets/gsm8k.py", "from eval.sets.registry import Set"),
    "named weights": (shapeless, "x.py", 'def f(x: dict[str, Tensor]) -> None:\n  "Sums."'),
    "a function of 60 lines": (long_functions, "x.py", "def f():\n" + "    pass\n" * 59),
    "an engine's method": (
        undocumented,
        "x.py",
        '"""x"""\nclass A(RolloutEngine):\n "a"\n def close(self) -> None: ...',
    ),
    "private names": (undocumented, "x.py", '"""x"""\ndef _f(a): ...\nclass _A: ...'),
    "another string": (lambda p, s: branches_on({"k3"}, p, s), "x.py", "if name == 'k4': pass"),
    "hints": (
        lower_hints,
        "x.py",
        "UserError('bad', 'x', f'{a} b' if a else '`a` b'), UserError('a', 'b', '')",
    ),
    "a skip for want of a tool": (unexplained_skips, "x.py", "pytest.skip(f'needs {tool}')"),
}


@pytest.mark.parametrize("case", ALLOWED)
def test_no_check_sees_what_is_allowed(case):
    check, path, source = ALLOWED[case]
    assert check(path, source) == []


def violations(check: Check, *folders: str) -> list[str]:
    return [line for path, source in sources(*folders) for line in check(path, source)]


def test_imports_follow_the_arrows():
    assert violations(arrows, *OURS) == []


def test_no_function_is_longer_than_60_lines():
    assert violations(long_functions, *CODE) == []


def test_no_file_is_longer_than_400_lines_and_few_than_300():
    lines = {path: len(source.splitlines()) for path, source in sources(*CODE)}
    assert {path: count for path, count in lines.items() if count > LONGEST_FILE} == {}
    long = [path for path, count in lines.items() if count > LONG_FILE]
    assert len(long) <= LONG_SHARE * len(lines), long


def test_the_training_loop_is_one_page():
    source = (ROOT / "grpo" / "trainer.py").read_text()
    names = {node.name for node in ast.parse(source).body if isinstance(node, Function)}
    assert {"train", "update"} <= names
    assert long_functions("grpo/trainer.py", source, most=LOOP) == []


def test_public_names_are_documented_and_typed():
    assert violations(undocumented, *OURS) == []


def test_functions_of_tensors_state_shapes():
    assert violations(shapeless, *PACKAGES) == []


def test_no_branch_on_the_name_of_a_term_preset_or_rule():
    names = registered_names()
    assert {"grpo", "clip", "k3", "accuracy"} <= names
    assert violations(lambda path, source: branches_on(names, path, source), "grpo") == []


def test_hints_begin_with_a_capital():
    assert violations(lower_hints, *PACKAGES) == []


def test_skips_say_why():
    assert violations(unexplained_skips, "tests") == []


def test_tests_are_no_package():
    assert list((ROOT / "tests").rglob("__init__.py")) == []


def test_light_modules_load_nothing_heavy():
    light = [
        "grpo",
        "grpo.recipe",
        "grpo.recipe_file",
        "grpo.terms",
        "grpo.types",
        "grpo.doctor",
        "grpo.advantages",
    ]
    light += [dotted(path) for path, _ in sources("grpo/losses")]
    light += ["rewards", "rewards.registry", "eval.sets", "recipes"]
    script = f"import sys, importlib\nfor name in {light}: importlib.import_module(name)\n"
    script += f"print([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert done.stdout.strip() == "[]"
