"""Code: whether a completion's program passes the tests of its row, run in a sandbox."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from rewards import sandbox
from rewards.code_cases import Assertions, Pairs, read_case
from rewards.code_trial import Outcome, try_program
from rewards.completions import text_of
from rewards.errors import RuleError
from rewards.registry import rule
from rewards.sandbox import Limits

LANGUAGES = ("python", "py")


def require_sandbox() -> None:
    """Refuses with one line where this machine cannot isolate a program."""
    refused = sandbox.refusal()
    if refused is not None:
        raise RuleError(refused.what, "code", refused.instead)


@rule("code", warm=require_sandbox)
def code(
    prompts: Sequence[Any],
    completions: Sequence[Any],
    tests: Sequence[Any],
    entry_point: Sequence[Any] | None = None,
    test_setup: Sequence[Any] | None = None,
    log_extra: Callable[[str, list[Any]], None] | None = None,
    *,
    share: bool = False,
    seconds: float = 4.0,
    program_mib: int = 512,
    **columns: Any,
) -> list[float | None]:
    """1 where the completion's program passes all tests of its row, else 0; None where the row has none.

        r_i = 1[passed_i = total_i],  or  r_i = passed_i / total_i  with `share`

    The program is the last fenced block of Python after `</think>`. It runs in a sandbox without network,
    without files but its own, as one process; the verdict comes from another (rewards/code_trial.py). Logs
    for each completion `verdict` (passed, failed, no_code), `passed`, `total` and `first_failure`.

    Source: DeepSeek-R1, arXiv:2501.12948, section 2.2.2 (accuracy rewards by a compiler and test cases);
    tests as in APPS, arXiv:2105.09938, MBPP, arXiv:2108.07732, and HumanEval, arXiv:2107.03374.

    Args:
        prompts: [G], not read.
        completions: [G] strings or lists of messages.
        tests: [G] tests, in one of the forms of `rewards.code_cases.read_case`.
        entry_point: [G] names of the function that `check(candidate)` is handed.
        test_setup: [G] code to run before assertions.
        share: the score is the share of tests passed; without it, trying stops at the first failure.
        seconds: wall time that all tests of one completion may take together.
        program_mib: MiB of address space that the program may map.

    Returns:
        [G] scores.

    Raises:
        RuleError: this machine cannot isolate a program.
        ValueError: tests that cannot be read, a fault of the row.
    """
    require_sandbox()
    nothing = [None] * len(completions)
    rows = zip(tests, test_setup or nothing, entry_point or nothing, strict=True)
    cases = [read_case(*row) for row in rows]
    limits = Limits(seconds, program_mib)
    scores: list[float | None] = []
    logged: dict[str, list[Any]] = {name: [] for name in ("verdict", "passed", "total", "first_failure")}
    for completion, case in zip(completions, cases, strict=True):
        outcome, verdict = _try(text_of(completion), case, limits, share)
        scores.append(None if outcome is None else _score(outcome, share))
        logged["verdict"].append(verdict)
        for name, field in (("passed", "passed"), ("total", "total"), ("first_failure", "failure")):
            logged[name].append(getattr(outcome, field, None))
    if log_extra is not None:
        for name, values in logged.items():
            log_extra(name, values)
    return scores


def last_program(text: str) -> str | None:
    """The last fenced block of Python after `</think>`; None where there is none, or it was not closed.

    A fence is a line that begins with three backticks, and `python` or `py` after them where it opens.
    """
    found: str | None = None
    opened: str | None = None  # what stands behind the opening fence
    inside: list[str] = []
    for line in text.rpartition("</think>")[2].splitlines(keepends=True):
        mark = line.strip()
        if opened is None and mark.startswith("```"):
            opened, inside = mark[3:].strip().lower(), []
            if opened in LANGUAGES:
                found = None  # whatever stood before: a program that was cut off is none
        elif opened is not None and mark == "```":
            if opened in LANGUAGES:
                found = "".join(inside)
            opened = None
        else:
            inside.append(line)
    return found


def _try(
    text: str, case: Pairs | Assertions | None, limits: Limits, every: bool
) -> tuple[Outcome | None, str | None]:
    """The outcome and its verdict; None where there are no tests."""
    if case is None:
        return None, None
    program = last_program(text)
    if program is None:
        return Outcome(0, case.total, None), "no_code"
    outcome = try_program(program, case, limits, every=every)
    return outcome, "passed" if outcome.passed == outcome.total else "failed"


def _score(outcome: Outcome, share: bool) -> float:
    return outcome.passed / outcome.total if share else float(outcome.passed == outcome.total)
