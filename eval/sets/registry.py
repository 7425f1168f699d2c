"""What a data set is, and finding one by name: a set is a file of this folder that defines SET."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Row = dict[str, Any]


@dataclass(frozen=True)
class Set:
    """Where the rows of a set come from and what its columns mean. Either `hub` or `generate` is given."""

    about: str  # one line
    licence: str
    splits: tuple[str, ...]
    hub: str | None = None  # hub id
    config: str | None = None  # the hub data set's configuration
    files: Mapping[str, str] = field(default_factory=dict)  # split to file name in the folder GRPO_DATA
    rows: Mapping[str, int] = field(default_factory=dict)  # split to published number of rows
    columns: Mapping[str, str] = field(default_factory=dict)  # our column name to the set's
    gold: str | None = None  # regular expression whose one group is the gold within the answer column
    split_key: str | None = None  # column whose hash splits the rows; None: the prompt
    generate: Callable[..., Iterator[Row]] | None = None  # makes the rows: split, then options by keyword


def names() -> list[str]:
    """Names of all sets."""
    folder = str(Path(__file__).parent)
    return sorted(module.name for module in pkgutil.iter_modules([folder]) if module.name != "registry")


def get(name: str) -> Set:
    """The set of that name.

    Raises:
        KeyError: there is none.
    """
    if name not in names():
        raise KeyError(name)
    found = importlib.import_module(f"eval.sets.{name}").SET
    if not isinstance(found, Set):
        raise TypeError(f"eval/sets/{name}.py: SET is no Set")
    return found
