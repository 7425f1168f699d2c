"""Two processes that find each other as torchrun's do, without torchrun's own start."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

SECONDS = 900  # a start of torch and transformers takes minutes on a machine that is busy with other work


def rank_environment(rank: int, count: int, port: int) -> dict[str, str]:
    """What torchrun would set, the agent's store left out."""
    return {
        **os.environ,
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(count),
        "LOCAL_WORLD_SIZE": str(count),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "OMP_NUM_THREADS": "1",
    }


def free_port() -> int:
    """A port that nothing listens on now."""
    with socket.socket() as line:
        line.bind(("127.0.0.1", 0))
        port: int = line.getsockname()[1]
        return port


@pytest.fixture(scope="session")
def two_ranks() -> Callable[..., list[tuple[int, str, str]]]:
    """two_ranks(program, *arguments): exit code, stdout and stderr of each of two ranks that run it."""

    def run(*command: str, count: int = 2, cwd: Path | None = None) -> list[tuple[int, str, str]]:
        port = free_port()
        started = [
            subprocess.Popen(
                [sys.executable, *command],
                env=rank_environment(rank, count, port),
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                cwd=cwd,
            )
            for rank in range(count)
        ]
        try:
            texts = [process.communicate(timeout=SECONDS) for process in started]
        finally:
            for process in started:
                process.kill()
        return [(process.returncode, *text) for process, text in zip(started, texts, strict=True)]

    return run
