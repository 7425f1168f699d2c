"""Tries one program against its tests, each process in a sandbox of its own.

A program that reads and prints is run once a test; its output is compared here, where the expected one never
leaves. A program that defines functions is loaded once; a judge in a second sandbox runs the assertions and
asks it over a socket. What the program can forge is what it prints or answers, never the verdict.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import socket
import time
from dataclasses import dataclass

from rewards.code_cases import Assertions, Pairs
from rewards.sandbox import Limits, Sandboxed, memory_file


@dataclass(frozen=True)
class Outcome:
    """How a program fared: tests passed, tests there are, and the first failure in a line."""

    passed: int
    total: int
    failure: str | None


def try_program(source: str, case: Pairs | Assertions, limits: Limits, *, every: bool) -> Outcome:
    """Runs the program's tests, to the first failure or all of them; `limits.seconds` is for all together."""
    with contextlib.ExitStack() as files:
        program = memory_file(source.encode(errors="replace"))
        files.callback(os.close, program)
        if isinstance(case, Pairs):
            return _by_output(program, case, limits, every)
        return _by_assertions(program, case, limits, every)


def _by_output(program: int, case: Pairs, limits: Limits, every: bool) -> Outcome:
    deadline = time.monotonic() + limits.seconds
    passed, first = 0, None
    for number, (given, wanted) in enumerate(case.pairs, 1):
        left = dataclasses.replace(limits, seconds=max(0.0, deadline - time.monotonic()))
        failure = _output_fault(program, given, wanted, left)
        if failure is None:
            passed += 1
            continue
        first = first or f"test {number}: {failure}"
        if not every or time.monotonic() >= deadline:
            break
    return Outcome(passed, case.total, first)


def _output_fault(program: int, given: str, wanted: str, limits: Limits) -> str | None:
    """What is wrong with the program on one input; None where it prints the output and ends with 0."""
    os.lseek(program, 0, os.SEEK_SET)  # a program reads the file it shares with those before it
    with Sandboxed("script", [str(program)], limits, given.encode(errors="replace"), [program]) as process:
        code = process.wait()
        if code is None:
            return "out of time"
        if code != 0:
            return _ending(code, process.last_error())
        printed = process.output()
    if lines(printed) != lines(wanted):
        return f"printed {printed.strip()!r:.100}, wanted {wanted.strip()!r:.100}"
    return None


def lines(text: str) -> list[str]:
    """Lines without the white space at their ends, and without empty ones at the end."""
    return [line.rstrip() for line in text.rstrip().split("\n")]


def _by_assertions(program: int, case: Assertions, limits: Limits, every: bool) -> Outcome:
    content = json.dumps({**dataclasses.asdict(case), "every": every})
    with contextlib.ExitStack() as stack:
        questions = memory_file(content.encode())
        stack.callback(os.close, questions)
        here, there = socket.socketpair()
        with here, there:  # our copies are closed, so that either side sees the other end
            names = [str(program), str(there.fileno())]
            stack.enter_context(Sandboxed("program", names, limits, b"", [program, there.fileno()]))
            names = [str(questions), str(here.fileno())]
            judge = stack.enter_context(Sandboxed("judge", names, limits, b"", [questions, here.fileno()]))
        code = judge.wait()
        said = [json.loads(line) for line in judge.output().splitlines(keepends=True) if line.endswith("\n")]
    failures = [(number, line) for number, line in enumerate(said, 1) if line is not None]
    passed = len(said) - len(failures)
    if not failures and passed < case.total:
        failures = [(passed + 1, "out of time" if code is None else _ending(code, judge.last_error()))]
    return Outcome(passed, case.total, f"test {failures[0][0]}: {failures[0][1]}" if failures else None)


def _ending(code: int, error: str) -> str:
    """How a process ended, in words."""
    if code > 128 and code - 128 in set(signal.Signals):
        return f"killed by {signal.Signals(code - 128).name}"
    return error or f"exit code {code}"
