"""Says hello: whether anything can be run in a sandbox here."""

from __future__ import annotations

from collections.abc import Sequence

from rewards.inside import limits


def main(arguments: Sequence[str]) -> None:
    """Arguments: MiB of memory, seconds."""
    limits.apply(int(arguments[0]), int(arguments[1]))
    print("hello", end="")
