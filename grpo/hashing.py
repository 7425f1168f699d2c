"""Hashes that decide: what is held out, in which half, in which order."""

from __future__ import annotations

import hashlib
from typing import Literal


def in_holdout(key: str, fraction: float) -> bool:
    """Whether rows with this split key are held out, for a share `fraction` of all keys.

    A hash, because a rule on the key itself (a residue, a length) holds out one kind of problem.
    """
    return unit("holdout", key) < fraction


def half(key: str) -> Literal["select", "report"]:
    """Which half of the held-out rows a key belongs to, independent of `in_holdout`."""
    return "select" if unit("half", key) < 0.5 else "report"


def digest(*parts: str) -> bytes:
    """Eight bytes that depend on the parts alone."""
    return hashlib.blake2b("\0".join(parts).encode(), digest_size=8).digest()


def unit(salt: str, key: str) -> float:
    """A number in [0, 1) that looks random and depends on salt and key alone."""
    return int.from_bytes(digest(salt, key), "big") / 2**64
