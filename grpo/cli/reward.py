"""`grpo reward`: a reward rule over a file of completions."""

from __future__ import annotations

import contextlib
import json
import math
import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any, TextIO

import typer

from grpo.errors import UserError
from grpo.scoring import user_errors
from rewards.runner import RuleSpec, Runner, Score

Row = dict[str, Any]
SHOWN = 10  # disagreements listed


@dataclass
class Summary:
    """What came of a file."""

    rule: str
    rows: int
    mean: float | None = None  # of the scores given
    statuses: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)  # p50, p99 and max a completion
    labelled: int = 0
    disagreements: list[Row] = field(default_factory=list)  # line, label, score
    error: str | None = None  # the first of a rule that raised, ran too long or crashed


def reward(
    rule: Annotated[str, typer.Argument(help="registered name, or path/to/file.py:function")],
    file: Annotated[
        Path, typer.Argument(help="JSONL with a completion a line; answer, prompt, label, … beside it")
    ],
    out: Annotated[Path | None, typer.Option(help="write one JSON line a row, in the same order")] = None,
    option: Annotated[
        list[str] | None, typer.Option(help="an option of the rule, key=value; may be repeated")
    ] = None,
    timeout: Annotated[float, typer.Option(min=0.01, help="seconds a group may take")] = 5.0,
    as_json: Annotated[bool, typer.Option("--json", help="print the summary as JSON")] = False,
) -> None:
    """Run a reward rule over a file of completions.

    Consecutive lines with the same prompt form a group. A `label` column is compared with the scores.

    Examples:

      grpo reward accuracy answers.jsonl --out scores.jsonl

      grpo reward my_rules.py:brevity answers.jsonl --option target=200
    """
    rows = read_rows(file)
    labels = [read_label(row, file, line) for line, row in enumerate(rows, 1)]
    if out is not None and not out.parent.is_dir():
        raise UserError(f"no folder {out.parent}", "--out", "Make it first")
    spec = RuleSpec(rule, read_options(option or []), timeout)
    with user_errors():
        scores = score_rows(spec, rows, out)
    summary = summarise(rule, scores, labels)
    if as_json:
        typer.echo(json.dumps(vars(summary)))
    else:
        show(summary, out)
    if summary.mean is None and summary.error:
        raise typer.Exit(1)


def read_rows(file: Path) -> list[Row]:
    """The rows of a JSONL file, each checked for a completion."""
    if not file.is_file():
        raise UserError("no such file", str(file), "Give a JSONL file with a completion a line")
    text = file.read_text(encoding="utf-8-sig", errors="surrogateescape").rstrip()
    if not text:
        raise UserError("the file is empty", str(file), "Give a JSONL file with a completion a line")
    return [read_row(line, f"{file}:{number}") for number, line in enumerate(text.split("\n"), 1)]


def read_row(line: str, where: str) -> Row:
    """One line of the file; `where` names it in errors."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UserError(f"not JSON: {error}", where, 'Write {"completion": …, "answer": …}') from error
    if not isinstance(row, dict):
        raise UserError("a line must hold an object", where, 'Write {"completion": …, "answer": …}')
    if not isinstance(row.get("completion"), str | list):
        columns = ", ".join(row) or "none"
        raise UserError(f"no text or messages in column 'completion'; columns: {columns}", where)
    return row


def read_label(row: Row, file: Path, line: int) -> float | None:
    """The score a row should get by its `label` column; None where it has none."""
    label = row.get("label")
    if label is None or isinstance(label, bool | int | float):
        return None if label is None else float(label)
    raise UserError(f"label {label!r} is no number", f"{file}:{line}", "Write true, false or the right score")


def read_options(pairs: Sequence[str]) -> dict[str, Any]:
    """Options given as `key=value`, the value read as in a recipe."""
    import yaml

    options = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise UserError(f"{pair!r} is no option", "--option", "Write key=value")
        try:
            options[key] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise UserError(f"{value!r} is no YAML value", f"--option {key}", "Quote it") from error
    return options


def score_rows(spec: RuleSpec, rows: Sequence[Row], out: Path | None) -> list[Score]:
    """A score a row. Lines are written in order as soon as all before them are known.

    When this is cut short, what is known behind a gap is written too, with status `not run` in the gap.
    An older file is replaced only once there is a first score.
    """
    groups = [list(group) for _, group in groupby(range(len(rows)), key=lambda i: _group_key(i, rows[i]))]
    own = ("prompt", "completion", "completion_ids")
    names = dict.fromkeys(name for row in rows for name in row if name not in own)
    scores: list[Score | None] = [None] * len(rows)
    written, target = 0, None
    with contextlib.ExitStack() as stack:
        runner = stack.enter_context(Runner([spec]))
        runner.infos()
        for key, group in enumerate(groups):
            _submit(runner, key, [rows[i] for i in group], names)
        try:
            for finished, result, _ in runner.wait():
                assert isinstance(finished, int)
                for i, (score,) in zip(groups[finished], result, strict=True):
                    scores[i] = score
                if out is not None and target is None:
                    target = stack.enter_context(out.open("w", encoding="utf-8"))
                while written < len(rows) and scores[written] is not None:
                    _write(scores[written], target)
                    written += 1
        finally:
            known = max((i for i, score in enumerate(scores) if score is not None), default=-1)
            for left in scores[written : known + 1]:
                _write(left, target)
    return [score for score in scores if score is not None]


def _group_key(index: int, row: Row) -> str | int:
    """The same for consecutive rows of one group; rows without a prompt stand alone."""
    return json.dumps(row["prompt"]) if "prompt" in row else index


def _submit(runner: Runner, key: int, rows: Sequence[Row], names: Iterable[str]) -> None:
    runner.submit(
        key,
        [row.get("prompt", "") for row in rows],
        [row["completion"] for row in rows],
        {name: [row.get(name) for row in rows] for name in names},
        [row["completion_ids"] for row in rows] if all("completion_ids" in row for row in rows) else None,
    )


def _write(score: Score | None, target: TextIO | None) -> None:
    if target is None:
        return
    line: Row = {"score": None, "status": "not run", "seconds": 0.0}
    if score is not None:
        line = {"score": score.score, "status": score.status, "seconds": round(score.seconds, 6)}
        line |= {name: value for name, value in score.extras.items() if name not in line}
    target.write(json.dumps(line) + "\n")
    target.flush()


def summarise(rule: str, scores: Sequence[Score], labels: Sequence[float | None]) -> Summary:
    """Counts, timings and disagreements. A completion without a score disagrees with any label."""
    given = [score.score for score in scores if score.score is not None]
    times = sorted(score.seconds for score in scores)
    summary = Summary(
        rule=rule,
        rows=len(scores),
        mean=statistics.fmean(given) if given else None,
        statuses=dict(Counter(score.status for score in scores)),
        seconds={"p50": quantile(times, 0.5), "p99": quantile(times, 0.99), "max": times[-1]},
        labelled=sum(label is not None for label in labels),
        error=next((score.extras["error"] for score in scores if "error" in score.extras), None),
    )
    for line, (score, label) in enumerate(zip(scores, labels, strict=True), 1):
        if label is not None and (score.score is None or abs(score.score - label) > 1e-6):
            summary.disagreements.append({"line": line, "label": label, "score": score.score, **score.extras})
    return summary


def quantile(ordered: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of the sorted values do not exceed."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def show(summary: Summary, out: Path | None) -> None:
    """Prints a summary for people."""
    from rich.console import Console
    from rich.table import Table

    console, table = Console(), Table(title=f"{summary.rule}: {summary.rows} completions", show_header=False)
    table.add_row("mean score", "none given" if summary.mean is None else f"{summary.mean:.4f}")
    for status, count in sorted(summary.statuses.items()):
        table.add_row(f"status {status}", str(count))
    for name, seconds in summary.seconds.items():
        table.add_row(f"time {name}", f"{seconds * 1e3:.2f} ms")
    if summary.labelled:
        table.add_row("disagree with label", f"{len(summary.disagreements)} of {summary.labelled}")
    console.print(table)
    if summary.error:
        console.print(f"first error: {summary.error}", markup=False)
    for row in summary.disagreements[:SHOWN]:
        score = "none" if row["score"] is None else f"{row['score']:g}"
        shown = f", extracted {row['extracted']!r}" if "extracted" in row else ""
        console.print(f"line {row['line']}: label {row['label']:g}, score {score}{shown}", markup=False)
    if out is not None:
        console.print(f"scores in {out}", markup=False)
