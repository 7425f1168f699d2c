"""Rules written to files, as users have them, and a look at the worker processes."""

from __future__ import annotations

import os
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def rule_file(tmp_path) -> Callable[[str], str]:
    """Writes a file of rules and gives its path."""

    def write(source: str, name: str = "my_rules.py") -> str:
        (tmp_path / name).write_text(textwrap.dedent(source))
        return str(tmp_path / name)

    return write


@pytest.fixture
def workers() -> Callable[[int], set[int]]:
    """Finds the reward workers that a process has started."""

    def find(parent: int = os.getpid()) -> set[int]:
        found = set()
        for folder in Path("/proc").iterdir():
            try:
                if folder.name.isdigit() and b"rewards.worker" in (folder / "cmdline").read_bytes():
                    stat = (folder / "stat").read_text().rpartition(")")[2].split()
                    if int(stat[1]) == parent and stat[0] != "Z":
                        found.add(int(folder.name))
            except OSError:
                continue  # it ended while we looked
        return found

    return find


@pytest.fixture
def eventually() -> Callable[[Callable[[], bool]], bool]:
    """Waits until something holds; False if it never does."""

    def wait(condition: Callable[[], bool], seconds: float = 30.0) -> bool:
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                return False
            time.sleep(0.05)
        return True

    return wait


@pytest.fixture
def sandbox_here() -> None:
    """Skips where no program can be isolated."""
    from rewards.sandbox import refusal

    refused = refusal()
    if refused is not None and "not installed" in refused.what:
        pytest.skip(f"needs bubblewrap: {refused}")
    if refused is not None:
        pytest.skip(f"hardware: {refused}")
