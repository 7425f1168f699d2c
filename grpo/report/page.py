"""The page: HTML, style and script of this folder around what a run holds, as JSON.

Nothing in it is fetched from elsewhere, and its policy (Content-Security-Policy) lets the browser run no
script but the page's own, whatever a model wrote.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import time
from dataclasses import asdict
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from grpo.errors import UserError
from grpo.report.figures import comparison
from grpo.report.panels import panels, thinned
from grpo.report.read import Snapshot, read_run
from grpo.report.samples import select, step_files

FILE = "report.html"
ROOM = 16_000_000  # bytes of samples in a page
STEPS, GROUPS = 12, 16  # of samples in a page, at most
SCRIPTS = ("charts.js", "samples.js", "page.js")


def write_report(folder: Path, out: Path | None = None, *, steps: int = STEPS, groups: int = GROUPS) -> Path:
    """Writes a run as one HTML file and returns its path.

    Args:
        folder: of a run: finished, running or stopped.
        out: the file; report.html in the run's folder when left out.
        steps: steps whose completions are in it, evenly spaced.
        groups: prompts of each, at most; fewer where the page would grow too large.

    Raises:
        UserError: it is no run's folder, or the file cannot be written.
    """
    snapshot = read_run(folder)
    target = folder / FILE if out is None else out
    if target.is_dir():
        raise UserError("is a folder", str(target), "Name a file, such as report.html")
    if not target.parent.is_dir():
        raise UserError("no such folder", str(target.parent), "Make it first, or name a file in another")
    files = step_files(folder)
    chosen = [step.to_json() for step in select(files, steps=steps, groups=groups, room=ROOM)]
    data = run_data(snapshot) | {"live": False, "sampled": len(files), "samples": chosen}
    partial = target.with_name(f".{target.name}.partial")
    try:
        partial.write_text(page(snapshot.name, data), encoding="utf-8", errors="backslashreplace")
        os.replace(partial, target)
    except OSError as error:
        raise UserError(f"cannot be written: {error.strerror}", str(target)) from error
    return target


def run_data(snapshot: Snapshot) -> dict[str, Any]:
    """Everything of a run but its samples, ready for JSON."""
    main, others = panels(snapshot.rows, graders_of(snapshot.recipe))
    drawn, written = len(thinned(snapshot.rows)), len(snapshot.rows)
    return {
        "name": snapshot.name,
        "folder": str(snapshot.folder),
        "done": snapshot.done,
        "steps": snapshot.steps,
        "ended": snapshot.ended,
        "seconds": snapshot.seconds if snapshot.summary is None else snapshot.summary.get("seconds"),
        "tokens": snapshot.tokens,
        "written": snapshot.written,
        "made": time.time(),
        "thinned": [drawn, written] if drawn < written else None,
        "comparison": comparison(snapshot),
        "panels": [asdict(panel) for panel in main],
        "others": [asdict(panel) for panel in others],
        "recipe": snapshot.recipe_text,
        "environment": snapshot.environment,
    }


def graders_of(recipe: dict[str, Any]) -> list[str]:
    """Names, as in metrics, of a recipe's registered rules whose score is the verdict on the answer."""
    from rewards.registry import get, names
    from rewards.score import unique

    rules = recipe.get("rewards")
    given = [str(r.get("rule")) for r in rules if isinstance(r, dict)] if isinstance(rules, list) else []
    grade = {name for name in given if name in names() and _is_verdict(get(name))}
    called = unique([rule.rpartition(":")[2] for rule in given])
    return [name for name, rule in zip(called, given, strict=True) if rule in grade]


def _is_verdict(rule: Any) -> bool:
    return getattr(rule, "grades_answer", False) and not getattr(rule, "gold_extra", "")


def page(title: str, data: dict[str, Any]) -> str:
    """The HTML of a page that shows `data`."""
    style, script = part("page.css"), "\n".join(map(part, SCRIPTS))
    policy = {
        "default-src": "'none'",
        "style-src": _digest(style),
        "script-src": _digest(script),
        "connect-src": "'self'" if data["live"] else "'none'",  # a live page asks its own server for more
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    filled = {
        "policy": "; ".join(f"{name} {source}" for name, source in policy.items()),
        "title": _escaped(title),
        "style": style,
        "data": embedded(data),
        "script": script,
    }
    # One pass: what is filled in may itself hold braces.
    return re.sub(r"\{\{(\w+)\}\}", lambda mark: filled[mark[1]], part("page.html"))


def embedded(data: Any) -> str:
    """JSON that may stand in a script element: no character in it can end the element or begin a tag."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


@cache
def part(name: str) -> str:
    """A file of this folder."""
    return (resources.files("grpo.report") / name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")
