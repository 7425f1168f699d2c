"""Where what is made once is kept, and how it gets there whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path


def cache_root() -> Path:
    """`$GRPO_CACHE`, else `grpo` in `$XDG_CACHE_HOME`, else `~/.cache/grpo`."""
    own = os.environ.get("GRPO_CACHE")
    return Path(own) if own else Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "grpo"


def fill(target: Path, write: Callable[[Path], None]) -> Path:
    """Makes the folder `target`, or makes it anew, by `write`, which is handed an empty one beside it.

    The finished folder takes the name in one step, so that what is cut off leaves no half of one.
    """
    unsealed = target.with_name(f"{target.name}.{os.getpid()}.partial")
    shutil.rmtree(unsealed, ignore_errors=True)
    unsealed.mkdir(parents=True)
    try:
        write(unsealed)
        shutil.rmtree(target, ignore_errors=True)
        unsealed.rename(target)
    finally:
        shutil.rmtree(unsealed, ignore_errors=True)
    return target
