"""Errors a user can act on.

Exception
└── GrpoError          anything this package raises on purpose; one line each, no traceback in the CLI
    ├── UserError      the user's input is wrong (exit code 2)
    └── RunError       the work failed although the input was right (exit code 1)
        ├── EngineError    the rollout engine died, hung or refused
        └── SyncError      engine and trainer hold different weights
"""

from __future__ import annotations


class GrpoError(Exception):
    """One line that says what is wrong, where, and what to do instead.

    Args:
        what: what is wrong, in words ("group_size is 1").
        where: the file and line, key path or argument that holds it ("recipes/x.yaml:12 rollout.group_size").
        instead: what to write or do ("Use 2 or more: advantages compare completions of one prompt").
    """

    exit_code = 1

    def __init__(self, what: str, where: str = "", instead: str = "") -> None:
        self.what, self.where, self.instead = what, where, instead
        super().__init__(str(self))

    def __str__(self) -> str:
        head = f"{self.where}: {self.what}" if self.where else self.what
        return f"{head}. {self.instead}" if self.instead else head

    def __reduce__(self) -> tuple[type[GrpoError], tuple[str, str, str]]:
        return type(self), (self.what, self.where, self.instead)


class UserError(GrpoError):
    """The user's input is wrong."""

    exit_code = 2


class RunError(GrpoError):
    """The work failed although the input was right."""


class EngineError(RunError):
    """The rollout engine died, hung or refused a request."""


class SyncError(RunError):
    """Engine and trainer do not hold the same weights."""
