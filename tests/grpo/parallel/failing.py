"""`grpo` as a rank runs it, with what WHERE names going wrong on RANK: `failing.py WHERE RANK ARGUMENT …`."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any, NoReturn

from grpo.cli import main
from grpo.errors import EngineError
from grpo.rollout.hf import HfEngine


def engine(*_: Any) -> NoReturn:
    """The engine dies."""
    raise EngineError("the engine died (killed by SIGKILL)", "engine-1.log")


def bug(*_: Any) -> NoReturn:
    """A mistake of ours."""
    raise ZeroDivisionError("a mistake of ours")


def killed(*_: Any) -> NoReturn:
    """The process is killed, as for want of memory."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def nowhere(*_: Any) -> None:
    """Nothing goes wrong."""


if __name__ == "__main__":
    where, rank, *arguments = sys.argv[1:]
    if os.environ["RANK"] == rank and where != "nowhere":
        HfEngine.finished = globals()[where]
    main(arguments)
