"""Lets code that others evaluate compute, and do nothing else.

Nine of reasoning-gym's scorers hand an answer to `eval` or to sympy's parser, which evaluates it too: an
answer could open files or start programs. Inside `plain_eval` the interpreter's own audit events (PEP 578)
show every text before it is evaluated, however it came there, and what is more than arithmetic is refused.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

WATCHED = ("reasoning_gym", "sympy.parsing")  # who evaluates answers; imports evaluate code as well
NODES = (
    ast.Expression, ast.Constant, ast.UnaryOp, ast.unaryop, ast.BinOp, ast.operator,
    ast.List, ast.Tuple, ast.Set, ast.Dict, ast.Load,
)  # fmt: skip
# What sympy's parser may call: constructors that it writes itself, and functions that take numbers only. A
# text as their argument is parsed once more, and shown here once more. No Integral: it would answer itself.
FUNCTIONS = frozenset(
    "Integer Float Rational Symbol Function Abs exp log ln sqrt cbrt root factorial binomial pi oo "
    "sin cos tan cot sec csc asin acos atan acot sinh cosh tanh asinh acosh atanh".split()
)
OWN = "from sympy import *"  # how the parser itself fills its table of names

_refusals: ContextVar[list[str] | None] = ContextVar("refusals", default=None)
_hooked = False


class Refused(Exception):
    """A text that is more than arithmetic was about to be evaluated."""


@contextmanager
def plain_eval() -> Iterator[list[str]]:
    """Inside, `eval` in watched packages raises Refused for a text that is more than arithmetic.

    Gives the list of what was refused; many callers swallow the exception. Holds for this thread. The hook
    stays in the process for good, as such hooks do, and is idle outside.
    """
    global _hooked
    if not _hooked:
        sys.addaudithook(_watch)
        _hooked = True
    refused: list[str] = []
    token = _refusals.set(refused)
    try:
        yield refused
    finally:
        _refusals.reset(token)


def excess(source: str, names: frozenset[str] = frozenset()) -> str | None:
    """What of an expression is neither a literal, nor an operator, nor one of `names`; None where nothing is.

    Names of one letter are variables and pass where `names` do. Only a name can be called. A text that is no
    expression raises what `eval` would.
    """
    for node in ast.walk(ast.parse(source, mode="eval")):
        if names and isinstance(node, ast.Name):
            if node.id not in names and len(node.id) > 1:
                return f"the name {node.id!r:.60}"
        elif names and isinstance(node, ast.Call):
            if not isinstance(node.func, ast.Name) or node.keywords:
                return "a call"
        elif not isinstance(node, NODES):
            return f"a part that is no arithmetic ({type(node).__name__})"
    return None


def _watch(event: str, arguments: tuple[object, ...]) -> None:
    if event != "compile":
        return
    refused = _refusals.get()
    if refused is None:
        return
    caller = str(sys._getframe(1).f_globals.get("__name__"))
    if not caller.startswith(WATCHED):
        return
    source = arguments[0]
    text = source.decode(errors="replace") if isinstance(source, bytes) else str(source)
    if text == OWN:
        return
    found = excess(text, FUNCTIONS if caller.startswith("sympy") else frozenset())
    if found is not None:
        refused.append(found)
        raise Refused(f"not evaluated: {found}")
