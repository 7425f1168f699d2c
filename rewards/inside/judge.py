"""The judge's side of a trial by assertions: runs the tests and asks the program for what they call.

    test: assert add(1, 2) == 3        judge                       program
                                         ── call add, [1, 2] ──►     add(1, 2)
          3 == 3                         ◄── gave 3 ───────────

A name that tests use and nothing here defines stands for the program's: see `Remote`. The names of the
standard library are the judge's own, whatever the program did to its copies.
"""

from __future__ import annotations

import ast
import builtins
import importlib
import json
import os
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from rewards.inside import limits, plain


class ProgramError(Exception):
    """What the program raised, where it is no builtin exception."""


class ProgramEnded(BaseException):
    """The program has ended. A base exception, so that no test takes it for one that it expects."""


class Program:
    """The channel to the program."""

    def __init__(self, channel: int) -> None:
        self._reader, self._writer = os.fdopen(os.dup(channel), "rb"), os.fdopen(channel, "wb")
        self.last: list[Any] = []  # the last answer, for the line about a failure

    def ask(self, operation: str, *values: Any) -> Any:
        """Has the program do something. Raises what the program raised."""
        try:
            plain.write(self._writer, plain.encode([operation, *values], _number))
            kind, *answer = plain.decode(plain.read(self._reader), lambda number: Remote(self, number))
        except (EOFError, BrokenPipeError, ConnectionResetError) as error:
            raise ProgramEnded("the program ended itself") from error
        self.last = [kind, *answer]
        if kind == "raised":
            raise as_exception(*answer)
        return answer[0]

    def last_words(self) -> str:
        """What the last call came to."""
        try:
            return "; the last call " + " ".join(
                [self.last[0], *(f"{word!r:.100}" for word in self.last[1:])]
            )
        except (ValueError, IndexError):  # an int too long to be written; no call
            return ""


class Remote:
    """Something of the program's that is not plain data: it can be called, asked and passed back.

    It equals nothing but itself, whatever its own class says.
    """

    def __init__(self, program: Program, number: int) -> None:
        self._program, self._number = program, number

    def __call__(self, *args: Any, **keywords: Any) -> Any:
        return self._program.ask("call", self, args, keywords)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self._program.ask("attribute", self, name)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._program.ask("items", self))

    def __getitem__(self, key: Any) -> Any:
        return self._program.ask("item", self, key)

    def __len__(self) -> int:
        return int(self._program.ask("length", self))

    def __bool__(self) -> bool:
        return bool(self._program.ask("truth", self))

    def __repr__(self) -> str:
        return "an object"

    @property
    def number(self) -> int:
        """What the program knows it by."""
        return self._number


def main(arguments: Sequence[str]) -> None:
    """Arguments: MiB of memory, seconds, descriptors of the case and of the channel to the program.

    Prints a JSON line a test: null where it passed, else what went wrong.
    """
    memory, seconds, case_file, channel = map(int, arguments)
    with open(case_file, encoding="utf-8") as file:
        case = json.load(file)
    verdicts = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what tests print is nobody's
    limits.apply(memory, seconds)
    program = Program(channel)
    try:
        space = names_for(program, case["setup"], case["tests"], case["entry_point"])
    except (Exception, ProgramEnded) as error:
        print(json.dumps(in_words(error)), file=verdicts, flush=True)
        return
    for test in case["tests"]:
        failure = run(test, space, program)
        print(json.dumps(failure), file=verdicts, flush=True)
        if failure is not None and not case["every"]:
            break


def names_for(program: Program, setup: str, tests: Sequence[str], entry_point: str) -> dict[str, Any]:
    """The names that tests see: the standard library's modules, the program's, and what `setup` defines.

    Raises what the program raised when it was loaded.
    """
    trees = [ast.parse(text) for text in (setup, *tests)]
    used = {node.id for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Name)}
    used -= set(dir(builtins))
    space: dict[str, Any] = {"__name__": "tests"}
    for name in used & sys.stdlib_module_names:
        space[name] = importlib.import_module(name)
    theirs = program.ask("names", sorted({*used, entry_point} - sys.stdlib_module_names))
    space.update(theirs)
    exec(compile(setup, "setup", "exec"), space)
    if entry_point in theirs:  # a setup may hold the function's head, as HumanEval's prompts do
        space[entry_point] = theirs[entry_point]
    return space


def run(test: str, space: dict[str, Any], program: Program) -> str | None:
    """Runs one test: None where it passes, else what went wrong in a line."""
    program.last = []
    try:
        exec(compile(test, "test", "exec"), space)
    except AssertionError as error:
        return f"{str(error) or test:.150}{program.last_words()}"
    except BaseException as error:
        return in_words(error)
    return None


def in_words(error: BaseException) -> str:
    """An exception in a line; one that only tells of the program as its message alone."""
    if isinstance(error, ProgramError | ProgramEnded):
        return str(error)
    return f"{type(error).__name__}: {error}"[:300]


def as_exception(name: str, text: str) -> Exception:
    """What the program raised, as tests may expect it: a builtin exception by its name."""
    kind = getattr(builtins, str(name), None)
    if isinstance(kind, type) and issubclass(kind, Exception):
        try:
            return kind(text)
        except TypeError:  # UnicodeDecodeError and its like want more than a text
            pass
    return ProgramError(f"{name}: {text}")


def _number(value: Any) -> int:
    if isinstance(value, Remote):
        return value.number
    raise TypeError(f"tests can hand plain data to the program, not {type(value).__name__}")
