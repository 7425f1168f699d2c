"""summary.json and the last words of a run: what training did to the base policy on held-out prompts."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from grpo.protocols import Measured, gain, several, told
from grpo.screen import clock, coloured, safe, short

if TYPE_CHECKING:
    from eval.run import Evaluation
    from grpo.types import Group

FILE = "summary.json"
WORSE = "The trained policy is worse than its base: the curves show when it fell. Try a lower train.lr first."
SHOWN_LINES = 16  # of each completion
PLACES = (
    ("curves", "curves.png"),
    ("summary", FILE),
    ("checkpoints", "checkpoints"),
    ("metrics", "metrics.jsonl"),
    ("samples", "samples"),
)


def write_summary(
    folder: Path,
    base: Evaluation,
    trained: Evaluation,
    *,
    protocols: Sequence[Measured] = (),
    steps: int,
    seconds: float,
    tokens: int,
) -> dict[str, Any]:
    """Writes summary.json, whole or not at all, and returns what it holds.

    `{"base": {"pass@1", "interval", "mean_length", "styles", …}, "trained": {…}, "steps", "seconds",
    "tokens", "protocols"}`, base and trained as `Evaluation.to_json` gives them.

    Args:
        folder: the run folder.
        base: the policy before training, on prompts that neither trained nor selected anything.
        trained: the policy after it, on the same prompts with the same seeds.
        protocols: both under every protocol, the recipe's own included.
        steps: rollout steps of the run.
        seconds: wall-clock seconds of the run.
        tokens: tokens sampled in training.
    """
    summary = {
        "base": base.to_json(),
        "trained": trained.to_json(),
        "steps": steps,
        "seconds": seconds,
        "tokens": tokens,
        "protocols": [row.to_json() for row in protocols],
    }
    path = folder / FILE
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    os.replace(partial, path)
    return summary


def print_summary(
    console: Console,
    folder: Path,
    base: Evaluation,
    trained: Evaluation,
    *,
    protocols: Sequence[Measured] = (),
    steps: int,
    seconds: float,
    tokens: int,
    next_command: str,
) -> None:
    """Prints base against trained, one completion before and after, where the files are, what to type next.

    The completion shown is of the first prompt whose first completion scores more after training, else of
    the first prompt.
    """
    console.print()
    console.print(_table(base, trained))
    if several(protocols):
        console.print(_protocols(protocols))
        console.print(told(protocols), markup=False, soft_wrap=True)
    if trained.pass_at_1.high < base.pass_at_1.low:
        console.print(WORSE, style="yellow")
    console.print(
        f"{steps} steps, {short(tokens)} tokens sampled, {clock(seconds)}",
        style="dim",
        markup=False,
    )
    for part in _before_and_after(base, trained):
        console.print(part)
    places = Table.grid(padding=(0, 2))
    for label, name in PLACES:
        if (folder / name).exists():
            places.add_row(Text(label, "dim"), Text(str(folder / name)))
    console.print(places)
    console.print(Text.assemble(("next  ", "dim"), (next_command, "bold cyan")), soft_wrap=True)


def _table(base: Evaluation, trained: Evaluation) -> Table:
    title = f"{trained.prompts} held-out prompts, {trained.samples} completions each"
    table = Table(
        title=title, title_style="bold", caption="mean [95 % interval over prompts]", caption_style="dim"
    )
    table.add_column("")
    table.add_column(f"base (step {base.version})", justify="right")
    table.add_column(f"trained (step {trained.version})", justify="right", style="bold")
    table.add_row("pass@1", str(base.pass_at_1), str(trained.pass_at_1))
    for rule, estimate in trained.rules.items():
        table.add_row(Text(f"reward {safe(rule)}"), str(base.rules[rule]), str(estimate))
    for name, style in trained.styles.items():
        before = base.styles.get(name)
        table.add_row(f"share {name}", str(before.share) if before else "–", str(style.share))
        table.add_row(f"pass@1 of {name}", str(before.pass_at_1) if before else "–", str(style.pass_at_1))
    table.add_row("length, tokens", _length(base), _length(trained))
    table.add_row("cut at max_tokens", f"{base.truncated:.1%}", f"{trained.truncated:.1%}")
    return table


def _protocols(rows: Sequence[Measured]) -> Table:
    """Every protocol at both ends; the two that a gain is counted between are bold."""
    best = dict(zip(("base", "trained"), gain(rows), strict=True))
    table = Table(title="Asked in other ways", title_style="bold")
    for column in ("protocol", "rule"):
        table.add_column(column)
    table.add_column("base", justify="right")
    table.add_column("trained", justify="right")
    for row in rows:
        cells = [
            Text(f"{value:.3f} [{low:.3f}, {high:.3f}]", "bold" if row is best[end] else "")
            for end, (value, low, high) in (("base", row.base), ("trained", row.trained))
        ]
        table.add_row(Text(row.protocol), Text(safe(row.rule)), *cells)
    return table


def _length(evaluation: Evaluation) -> str:
    length = evaluation.mean_length
    return f"{length.value:.1f} [{length.low:.1f}, {length.high:.1f}]"


def _before_and_after(base: Evaluation, trained: Evaluation) -> list[Panel | Text]:
    """The same prompt's first completion under base and trained policy; nothing without a common prompt."""
    before = {group.prompt.id: group for group in base.groups}
    pairs = [(before[group.prompt.id], group) for group in trained.groups if group.prompt.id in before]
    if not pairs:
        return []
    old, new = next((pair for pair in pairs if _score(pair[0]) < _score(pair[1])), pairs[0])
    answer = f" (answer {old.prompt.answer})" if old.prompt.answer is not None else ""
    parts: list[Panel | Text] = [
        Text.assemble(("One prompt, its first completion: ", "dim"), (safe(old.prompt.text + answer), "bold"))
    ]
    for label, group in (("base", old), ("trained", new)):
        lines = coloured(group.rollouts[0].text).split("\n", allow_blank=True)
        if len(lines) > SHOWN_LINES:
            lines = Text("\n").join([*lines[: SHOWN_LINES - 2], Text("…", "dim"), lines[-1]]).split("\n")
        parts.append(Panel(Text("\n").join(lines), title=label, title_align="left", border_style="dim"))
    return parts


def _score(group: Group) -> float:
    """Sum of the scores of a group's first completion, those missing as 0."""
    return sum(score.score or 0.0 for score in group.scores[0]) if group.scores else 0.0
