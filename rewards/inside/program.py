"""The program's side of a trial by assertions: loads the program, then does what the judge asks of it.

Whatever the program does to this process, it can only answer: the verdict is the judge's, who runs in
another sandbox and holds the assertions. They are never sent here.
"""

from __future__ import annotations

import operator
import os
import site
import sys
import types
from collections.abc import Callable, Sequence
from typing import Any

from rewards.inside import limits, plain


def main(arguments: Sequence[str]) -> None:
    """Arguments: MiB of memory, seconds, descriptors of the program and of the channel to the judge."""
    memory, seconds, program, channel = map(int, arguments)
    with open(program, encoding="utf-8") as file:
        source = file.read()
    reader, writer = os.fdopen(os.dup(channel), "rb"), os.fdopen(channel, "wb")
    limits.apply(memory, seconds)
    site.setquit()
    module = sys.modules["program"] = types.ModuleType("program")
    objects: list[Any] = []
    operations = operations_on(module)

    def number_of(value: Any) -> int:
        objects.append(value)
        return len(objects) - 1

    fault: BaseException | None = None
    try:
        exec(compile(source, "program.py", "exec"), vars(module))
    except BaseException as error:
        fault = error
    while True:
        operation, *values = plain.decode(plain.read(reader), objects.__getitem__)
        try:
            if fault is not None:
                raise fault
            answer = ["gave", plain.encode(operations[operation](*values), number_of)]
        except BaseException as error:
            answer = ["raised", type(error).__name__, str(error)[:300]]
        plain.write(writer, answer)


def operations_on(module: types.ModuleType) -> dict[str, Callable[..., Any]]:
    """What the judge may ask for."""
    return {
        "names": lambda names: {name: vars(module)[name] for name in names if name in vars(module)},
        "call": lambda function, args, keywords: function(*args, **keywords),
        "attribute": getattr,
        "items": list,
        "item": operator.getitem,
        "length": len,
        "truth": bool,
    }
