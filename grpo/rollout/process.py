"""A child process that never outlives its parent, and the line to it.

The child leads a session of its own, so Ctrl-C in the terminal reaches the parent alone. It kills its own
process group, itself included, when the line closes and when the kernel tells it that the thread that
started it has ended (a copy of the line, forked off the parent, can keep it open). What it prints goes to a
log file, whose end explains a death.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import os
import queue
import re
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NoReturn

from grpo.errors import EngineError, GrpoError

PR_SET_PDEATHSIG = 1
PARENT_ENDED = signal.SIGHUP
CLOSE_SECONDS = 5.0  # for the child to end by itself before it is killed
ERROR_LINE = re.compile(r"\b\w*(Error|Exception|Interrupt)\b(: .*)?$")
LOG_PREFIX = re.compile(r"^(\(.*?\) )?([A-Z]+ [\d-]+ [\d:.]+ )?(\[[\w.]+:\d+\] )?")


class Child:
    """Runs `python -m module` and talks to it in pickled messages.

    Args:
        module: the child's main module; its own `python -P` start keeps the working directory's folders
            from shadowing installed packages.
        log_file: receives all that the child prints.
        environment: all its environment variables.
    """

    def __init__(self, module: str, log_file: Path, environment: Mapping[str, str]) -> None:
        self.log_file = log_file
        log_file.parent.mkdir(parents=True, exist_ok=True)
        ours, theirs = socket.socketpair()
        # The kernel's signal follows the starting thread, not the process: only the main thread lasts.
        parent = os.getpid() if threading.current_thread() is threading.main_thread() else 0
        with log_file.open("ab") as log, theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", module, str(theirs.fileno()), str(parent)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
                env=environment,
            )
        self._line = Connection(ours.detach())
        self._closed = False

    @property
    def pid(self) -> int:
        """Process id, and id of the process group of everything the child starts."""
        return self._process.pid

    def send(self, message: Any) -> None:
        """Sends a message; EngineError with the child's last words where it is gone."""
        try:
            self._line.send(message)
        except OSError:
            self._died()

    def send_file(self, descriptor: int) -> None:
        """Hands over an open file; the child takes it with `receive_file`."""
        with socket.socket(fileno=os.dup(self._line.fileno())) as line:
            socket.send_fds(line, [b"f"], [descriptor])

    def receive(self, seconds: float | None = None) -> Any:
        """The next message. A message that is an error of ours is raised.

        Args:
            seconds: how long to wait; without end when left out. A dead child is noticed at once.
        """
        try:
            if not self._line.poll(seconds):
                self._kill()
                raise EngineError(f"no answer in {seconds:.0f} s; the engine was ended", str(self.log_file))
            message = self._line.recv()
        except (EOFError, ConnectionError):
            self._died()
        if isinstance(message, GrpoError):
            self.close()
            raise message
        return message

    def close(self) -> None:
        """Asks the child to end, then kills what is left of its process group."""
        if self._closed:
            return
        try:
            self._line.send(None)
            while self._line.poll(CLOSE_SECONDS):
                self._line.recv()
        except (OSError, EOFError):
            pass  # gone already, which is what is wanted
        finally:
            self._kill()

    def _kill(self) -> None:
        self._closed = True
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()
        self._line.close()

    def _died(self) -> NoReturn:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(CLOSE_SECONDS)
        self._kill()
        code = self._process.returncode
        how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        if code == -signal.SIGKILL:
            how += ", out of memory perhaps"
        raise EngineError(f"the engine died ({how}): {last_words(self.log_file)}", str(self.log_file))


def last_words(log_file: Path) -> str:
    """The last line of a log that names an error, or the last line there is."""
    with log_file.open("rb") as file:
        file.seek(max(0, log_file.stat().st_size - 65536))
        lines = [line.strip() for line in file.read().decode(errors="replace").splitlines()]
    lines = [LOG_PREFIX.sub("", line) for line in lines if line]
    errors = [line for line in lines if ERROR_LINE.search(line)]
    return (errors or lines or ["it left no words"])[-1][:500]


def follow_parent(line: Connection, parent: int) -> None:
    """Ties the calling process to its parent; called first thing in the child.

    Args:
        line: the line to the parent; when it closes, the process group is killed.
        parent: process id of the parent, or 0 where its starting thread may end before it.
    """
    if parent:
        # Blocked in every thread started from here, so that it waits for the thread that kills the group: the
        # kernel's own SIGKILL would end this process alone, and leave its children behind.
        signal.pthread_sigmask(signal.SIG_BLOCK, {PARENT_ENDED})
        threading.Thread(target=_end_on_signal, daemon=True).start()
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, PARENT_ENDED)
        if os.getppid() != parent:  # it died before the call
            os._exit(1)
    threading.Thread(target=_end_with, args=(line.fileno(),), daemon=True).start()
    # The main thread may be the first to see the line close, and no thread goes on once it ends.
    atexit.register(_end_with, line.fileno(), 0)


def receive_file(line: Connection) -> int:
    """Takes the open file that the parent sent with `Child.send_file`."""
    with socket.socket(fileno=os.dup(line.fileno())) as raw:
        _, descriptors, _, _ = socket.recv_fds(raw, 1, 1)
    return descriptors[0]


def _end_on_signal() -> None:
    signal.sigwait({PARENT_ENDED})
    os.killpg(0, signal.SIGKILL)


def _end_with(descriptor: int, milliseconds: int | None = None) -> None:
    poll = select.poll()
    poll.register(descriptor, select.POLLRDHUP)
    if any(event & select.POLLRDHUP for _, event in poll.poll(milliseconds)):
        os.killpg(0, signal.SIGKILL)


class Outbox:
    """Sends a child's messages from a thread, so that child and parent never wait for each other to read."""

    def __init__(self, line: Connection) -> None:
        self._line = line
        self._messages: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def send(self, message: Any) -> None:
        """Queues a message and returns at once."""
        self._messages.put(message)

    def flush(self) -> None:
        """Waits until all is sent; nothing can be sent afterwards."""
        self._messages.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (message := self._messages.get()) is not None:
            self._line.send(message)
