"""`python -m grpo`: the command line, safe from folders named rewards/ or eval/ in the working directory."""

from __future__ import annotations

import sys
from pathlib import Path


def drop_working_directory() -> None:
    """Takes the working directory, which `-m` puts first, off the import path, unless we live in it."""
    ours, first = Path(__file__).resolve().parent.parent, Path(sys.path[0]).resolve()
    if not sys.flags.safe_path and first == Path.cwd() and first != ours:
        del sys.path[0]


if __name__ == "__main__":
    drop_working_directory()
    from grpo.cli import main

    main()
