"""Reads the tests of a row into one of two forms: inputs with their outputs, or assertions."""

from __future__ import annotations

import ast
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

TESTING = ast.Assert | ast.Call | ast.For | ast.While | ast.With | ast.Try  # at the top level of a test
FORMS = "Write [{input, output}, …], {inputs, outputs}, a list of assertions, or code that defines check()"
CALLS = "Write them as assertions: assert f(1) == 2"


@dataclass(frozen=True)
class Pairs:
    """What the program reads on stdin, and what it must print."""

    pairs: tuple[tuple[str, str], ...]

    @property
    def total(self) -> int:
        """How many tests there are."""
        return len(self.pairs)


@dataclass(frozen=True)
class Assertions:
    """Python statements that raise where the program is wrong."""

    tests: tuple[str, ...]
    setup: str
    entry_point: str  # the function that is tested, "" where the tests name it

    @property
    def total(self) -> int:
        """How many tests there are."""
        return len(self.tests)


def read_case(tests: Any, setup: Any = None, entry_point: Any = None) -> Pairs | Assertions | None:
    """The tests of a row, or None where it has none.

    Args:
        tests: `[{"input": …, "output": …}, …]`, `{"inputs": […], "outputs": […]}` (APPS), a list of
            statements (MBPP's `test_list`), or code that defines `check(candidate)` (HumanEval's `test`).
            The first three may be given as JSON text.
        setup: code that runs before the assertions, or lines of it.
        entry_point: the name of the function that is tested.

    Raises:
        ValueError: none of these forms, or code that does not compile.
    """
    tests = _parsed(tests)
    if tests is None or len(tests) == 0:
        return None
    if isinstance(tests, Mapping):
        tests = _transposed(tests)
    if isinstance(tests, str):
        return _check_function(tests, _joined(setup), str(entry_point or ""))
    if all(isinstance(test, Mapping) for test in tests):
        if any(test.get("testtype") == "functional" for test in tests):
            raise ValueError(f"column tests holds calls with their results. {CALLS}")
        return Pairs(tuple((_text(test, "input"), _text(test, "output")) for test in tests))
    if not all(isinstance(test, str) for test in tests):
        raise ValueError(f"column tests holds {type(tests[0]).__name__}. {FORMS}")
    return _assertions(tests, _joined(setup), str(entry_point or ""))


def _parsed(tests: Any) -> Any:
    """Without the JSON text around it; an array of another library becomes a list."""
    if isinstance(tests, str):
        text = tests.strip()
        if text[:1] in ("[", "{"):
            try:
                return json.loads(text)
            except ValueError:
                return text
        return text
    if tests is None or isinstance(tests, Mapping | Sequence):
        return tests
    if not hasattr(tests, "tolist"):
        raise ValueError(f"column tests is {type(tests).__name__}. {FORMS}")
    return tests.tolist()


def _transposed(tests: Mapping[str, Any]) -> list[dict[str, Any]]:
    if tests.get("fn_name"):
        raise ValueError(f"column tests holds calls of {tests['fn_name']!r} with their results. {CALLS}")
    inputs, outputs = tests.get("inputs"), tests.get("outputs")
    if inputs is None or outputs is None or len(inputs) != len(outputs):
        raise ValueError(f"column tests holds {', '.join(map(str, tests))}. {FORMS}")
    return [{"input": one, "output": other} for one, other in zip(inputs, outputs, strict=True)]


def _text(test: Mapping[str, Any], name: str) -> str:
    value = test.get(name)
    if isinstance(value, list) and all(isinstance(line, str) for line in value):
        return "\n".join(value)
    if not isinstance(value, str):
        raise ValueError(f"{name} of a test is {type(value).__name__}, not text. {FORMS}")
    return value


def _check_function(code: str, setup: str, entry_point: str) -> Assertions:
    defined = [node.name for node in _compiled(code).body if isinstance(node, ast.FunctionDef)]
    if "check" not in defined:
        return _assertions([code], setup, entry_point)
    if not entry_point.isidentifier():
        raise ValueError("tests define check(candidate), and column entry_point names no function")
    return _assertions([f"{code}\n\ncheck({entry_point})"], setup, entry_point)


def _assertions(tests: Sequence[str], setup: str, entry_point: str) -> Assertions:
    """Refuses what would fail every program, or none."""
    for test in tests:
        steps = [node.value if isinstance(node, ast.Expr) else node for node in _compiled(test).body]
        if not any(isinstance(step, TESTING) for step in steps):
            raise ValueError(f"a test asserts nothing and calls nothing: {test!r:.80}")
    for tree in map(_compiled, (setup, *tests)):
        for name in _imported(tree) - sys.stdlib_module_names:
            raise ValueError(f"a test imports {name!r}; the sandbox has the standard library alone")
    return Assertions(tuple(tests), setup, entry_point)


def _imported(tree: ast.Module) -> set[str]:
    nodes = list(ast.walk(tree))
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module or "." for node in nodes if isinstance(node, ast.ImportFrom)]
    return {name.split(".")[0] for name in names}


def _joined(setup: Any) -> str:
    return setup if isinstance(setup, str) else "\n".join(setup if setup is not None else ())


def _compiled(code: str) -> ast.Module:
    try:
        return ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ValueError(f"a test does not compile: {type(error).__name__}: {error}: {code!r:.80}") from None
