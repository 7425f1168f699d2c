"""What a check of `grpo doctor` says. Standard library only, as doctor.py."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """What one check found: `state` is ok, warn or blocked, `remedy` what to do unless it is ok."""

    state: str
    what: str
    remedy: str = ""


def ok(what: str) -> Finding:
    """Nothing to do."""
    return Finding("ok", what)


def warn(what: str, remedy: str) -> Finding:
    """Works, but slower or with less."""
    return Finding("warn", what, remedy)


def blocked(what: str, remedy: str) -> Finding:
    """Does not work until the remedy is applied."""
    return Finding("blocked", what, remedy)
