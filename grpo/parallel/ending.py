"""One line for a run of several processes, whichever of them fails first.

The first process to fail says so in the store that the launcher keeps, tells what happened and ends. The
others, waiting for it in some exchange, are ended by the launcher or find the connection closed; they end
in silence, with the exit code of the first.
"""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from grpo.errors import GrpoError, RunError
from grpo.parallel.launch import process_count, process_rank

if TYPE_CHECKING:
    from torch.distributed.distributed_c10d import Store

CODE, FAILED, TOLD, LEFT = "grpo/code", "grpo/failed", "grpo/told", "grpo/left"
GRACE = 10.0  # seconds for another process to say that it failed, and for it to tell why
KEEP = 30.0  # seconds that the store outlives the failure of the process that keeps it, for slow starters
TERMINATED = 128 + signal.SIGTERM
LOST = ("gloo", "NCCL")  # in what an exchange that failed raises, where it raises no DistError


@functools.cache
def store() -> Store:
    """The key-value store through which the processes of this run find each other."""
    from torch.distributed.rendezvous import rendezvous

    found: Store = next(rendezvous("env://", rank=process_rank(), world_size=process_count()))[0]
    return found


_claimed: list[tuple[bool, int]] = []  # the answer of `claim`, once it has been asked


def claim(code: int) -> tuple[bool, int]:
    """Says, once a process, that it ends with `code`: whether it is the first, and the first's exit code."""
    if not _claimed:
        try:
            if first := store().add(FAILED, 1) == 1:
                store().set(CODE, str(code))
            _claimed.append((first, code if first else _code_of_first() or 1))
        except RuntimeError:  # the store is gone, and with it the process that kept it
            _claimed.append((False, code))
    return _claimed[0]


@contextlib.contextmanager
def turn(code: int) -> Iterator[tuple[bool, int]]:
    """Whether this process is to tell how the run ended, and the exit code; a process alone always is."""
    if process_count() == 1:
        yield True, code
        return
    first, code = claim(code)
    yield first, code
    with contextlib.suppress(RuntimeError):
        if first:
            store().set(TOLD, "1")
        else:
            _wait([TOLD], GRACE)
            store().set(f"{LEFT}/{process_rank()}", "1")
        if _keeps_store():
            others = [rank for rank in range(process_count()) if rank != process_rank()]
            _wait([f"{LEFT}/{rank}" for rank in others], KEEP)


def ended(error: BaseException) -> BaseException:
    """Called as soon as a process fails, before it lets go of the others. Returns what is to be raised.

    A lost connection is the consequence of another's end. Only where no process says that it failed (it was
    killed, say) does this one tell what it saw.
    """
    lost = is_lost(error)
    first = _code_of_first() if lost or _code(error) == TERMINATED else None
    if first is not None:
        _claimed.append((False, first))
    elif lost:
        words = str(error).strip().splitlines()[0]
        error = RunError("a process of the run ended or no longer answers", "", f"It said nothing; {words}")
    claim(_code(error))
    return error


def is_lost(error: BaseException) -> bool:
    """Whether an exception says that an exchange with other processes failed."""
    from torch.distributed import DistError

    words = str(error)
    return isinstance(error, DistError) or (
        isinstance(error, RuntimeError) and any(word in words for word in LOST)
    )


def _keeps_store() -> bool:
    """Whether the store ends with this process: torchrun keeps one itself, other launchers do not."""
    return process_rank() == 0 and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True"


def end_on_sigterm() -> None:
    """Makes SIGTERM, by which a launcher ends the others, an exit that tidies up."""

    def leave(*_: Any) -> None:
        raise SystemExit(TERMINATED)

    signal.signal(signal.SIGTERM, leave)


def _code_of_first() -> int | None:
    try:
        return int(store().get(CODE)) if _wait([CODE], GRACE) else None
    except RuntimeError:
        return None


def _wait(keys: list[str], seconds: float) -> bool:
    """Whether the store comes to hold the keys in that time. Its own waiting prints warnings."""
    deadline = time.monotonic() + seconds
    while not store().check(keys):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def _code(error: BaseException) -> int:
    if isinstance(error, GrpoError):
        return error.exit_code
    if isinstance(error, SystemExit) and isinstance(error.code, int):
        return error.code
    return 130 if isinstance(error, KeyboardInterrupt) else 1
