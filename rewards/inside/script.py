"""Runs a program as a script: what it is given on stdin, and what it prints, decide."""

from __future__ import annotations

import site
import sys
from collections.abc import Sequence

from rewards.inside import limits


def main(arguments: Sequence[str]) -> None:
    """Arguments: MiB of memory, seconds, descriptor of the program."""
    memory, seconds, program = map(int, arguments)
    with open(program, encoding="utf-8") as file:
        source = file.read()
    limits.apply(memory, seconds)
    site.setquit()  # programs call exit(), which -S leaves out
    sys.argv[:] = ["program.py"]
    space = vars(sys.modules["__main__"])
    for name in [name for name in space if not name.startswith("__")]:
        del space[name]  # of ours: it must import what it uses
    exec(compile(source, "program.py", "exec"), space)
