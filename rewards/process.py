"""One worker process as the runner sees it."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import rewards
from rewards import wire
from rewards.worker import OUT_OF_MEMORY

SEND_SECONDS = 10.0  # an idle worker reads at once; one that does not is as good as dead


class WorkerProcess:
    """Starts `python -m rewards.worker` and talks to it over a socket pair.

    Args:
        start: what the worker is told first (rewards.worker).
        network: whether it keeps the network.

    It runs in a session of its own: Ctrl-C does not reach it, and killing it takes what its rules started
    along. What rules print goes to stderr.
    """

    def __init__(self, start: dict[str, Any], network: bool) -> None:
        self.socket, theirs = socket.socketpair()
        self.socket.settimeout(SEND_SECONDS)
        self._frames = wire.JsonFrames()
        # Our package first, and -P against the working directory: a user's `rewards` must not shadow it.
        root = str(Path(rewards.__file__).resolve().parent.parent)
        path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
        with theirs:
            words = [str(int(word)) for word in (theirs.fileno(), os.getpid(), network)]
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "rewards.worker", *words],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=2,
                start_new_session=True,
                env={"OMP_NUM_THREADS": "1", **os.environ, "PYTHONPATH": path},
            )
        self.send(wire.pack_pickle(start))

    def send(self, frame: bytes) -> bool:
        """Sends a frame; False if the worker is gone."""
        try:
            self.socket.sendall(frame)
        except OSError:
            return False
        return True

    def receive(self) -> list[dict[str, Any]] | None:
        """The messages that have come, once the socket is readable; None if the worker is gone."""
        try:
            data = self.socket.recv(1 << 20)
        except OSError:
            data = b""
        return self._frames.feed(data) if data else None

    def has_sent(self) -> bool:
        """Whether `receive` would have something to read."""
        poll = select.poll()
        poll.register(self.socket, select.POLLIN)
        return bool(poll.poll(0))

    def kill(self) -> str:
        """Ends the worker and its children. Returns how it had ended, in words."""
        self.socket.close()
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)  # changes nothing for one that is exiting
        code = self._process.wait()
        if code == OUT_OF_MEMORY:
            return "out of memory"
        return f"killed by signal {-code}" if code < 0 else f"exit code {code}"
