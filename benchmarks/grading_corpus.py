"""The hand-labelled pairs of tests/rewards/corpus, and which of them are held out."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).resolve().parent.parent / "tests" / "rewards" / "corpus"
PARTS = ("tuning", "held_out")


@dataclass(frozen=True)
class Pair:
    """A gold, a completion, and whether the completion answers it right."""

    kind: str  # the class, the name of its file
    gold: str
    completion: str
    right: bool
    why: str


def part_of(kind: str, gold: str, completion: str) -> str:
    """The part a pair belongs to: a third of all is held out, by hash."""
    digest = hashlib.sha256("\0".join((kind, gold, completion)).encode()).digest()
    return PARTS[int.from_bytes(digest[:8]) % 3 == 0]


def read(part: str) -> list[Pair]:
    """All pairs of a part, in the order of the files' names."""
    files = sorted((FOLDER / part).glob("*.jsonl"))
    return [Pair(file.stem, **json.loads(line)) for file in files for line in file.open(encoding="utf-8")]
