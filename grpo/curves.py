"""curves.png: what a run did over its steps, in four panels."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from grpo.errors import UserError
from grpo.metrics import read_metrics
from grpo.view import rule_metrics, sets_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FILE = "curves.png"
COLOURS = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
)  # Okabe and Ito: colour-blind safe
TRAINING = "#999999"
STYLE: dict[Any, Any] = {
    "font.size": 11,
    "axes.titlesize": 12,
    "axes.titleweight": "bold",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#E6E6E6",
    "legend.framealpha": 0.8,
    "legend.edgecolor": "none",
    "legend.fontsize": 9,
}
Rows = Sequence[dict[str, Any]]


def draw_curves(folder: Path, grader: str = "accuracy") -> Path:
    """Draws a run folder's metrics.jsonl as curves.png and returns its path.

    Panels over rollout steps: accuracy (training, and held-out pass@1 with its 95 % interval), completion
    length, mean score by rule, entropy of the policy.

    Args:
        folder: the run folder.
        grader: rule that grades the answer; its training score is drawn beside held-out pass@1.

    Raises:
        UserError: the run has no metrics yet.
    """
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    rows = read_metrics(folder)
    if not rows:
        raise UserError("no metrics to draw", str(folder / "metrics.jsonl"), "Name the folder of a run.")
    names = list(dict.fromkeys(name for row in rows for name in row))
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(10, 6.6), dpi=120, layout="constrained")
        FigureCanvasAgg(figure)
        accuracy, length, reward, entropy = figure.subplots(2, 2, sharex=True).flat
        _accuracy(accuracy, rows, names, f"reward/{grader}")
        _length(length, rows, names)
        _reward(reward, rows, names)
        _line(entropy, rows, "policy/entropy", COLOURS[3], "policy")
        _finish(entropy, "Entropy of the policy", "nats per token")
        for panel in (reward, entropy):
            panel.set_xlabel("rollout step")
            panel.xaxis.set_major_locator(MaxNLocator(integer=True))
        path, partial = folder / FILE, folder / f".{FILE}.partial"
        figure.savefig(partial, format="png")
    os.replace(partial, path)
    return path


def _points(rows: Rows, name: str) -> tuple[list[int], list[float]]:
    known = [(row["step"], row[name]) for row in rows if row.get(name) is not None]
    return [step for step, _ in known], [value for _, value in known]


def _line(panel: Axes, rows: Rows, name: str, colour: str, label: str, width: float = 1.8) -> None:
    steps, values = _points(rows, name)
    if steps:
        panel.plot(
            steps, values, color=colour, label=label, linewidth=width, marker="o" if len(steps) == 1 else None
        )


def _held_out(panel: Axes, rows: Rows, names: Sequence[str], quantity: str) -> None:
    """A set evaluated along the way is a line with a band; one evaluated before and after is two points."""
    for colour, chosen in zip(COLOURS, sets_of(names), strict=False):
        name = f"eval/{chosen}/{quantity}"
        (steps, values), low, high = (
            _points(rows, name),
            _points(rows, f"{name}_low")[1],
            _points(rows, f"{name}_high")[1],
        )
        if not steps:
            continue
        known = len(low) == len(high) == len(steps)
        if len(steps) > 2:
            panel.plot(
                steps, values, color=colour, label=chosen, linewidth=2, marker="o", markersize=4, zorder=3
            )
            if known:
                panel.fill_between(steps, low, high, color=colour, alpha=0.18, linewidth=0)
            continue
        panel.plot(
            steps, values, color=colour, label=chosen, linestyle="none", marker="D", markersize=6, zorder=4
        )
        if known:
            panel.vlines(steps, low, high, color=colour, linewidth=1.5, zorder=4)


def _accuracy(panel: Axes, rows: Rows, names: Sequence[str], training: str) -> None:
    _line(panel, rows, training, TRAINING, "training", width=1.2)
    _held_out(panel, rows, names, "pass@1")
    panel.set_ylim(-0.02, 1.02)
    _finish(panel, "Accuracy", "pass@1, 95 % interval")


def _length(panel: Axes, rows: Rows, names: Sequence[str]) -> None:
    _line(panel, rows, "completions/mean_length", TRAINING, "training", width=1.2)
    _held_out(panel, rows, names, "mean_length")
    panel.set_ylim(bottom=0)
    _finish(panel, "Completion length", "tokens, mean")


def _reward(panel: Axes, rows: Rows, names: Sequence[str]) -> None:
    for colour, name in zip(COLOURS, rule_metrics(names), strict=False):
        _line(panel, rows, name, colour, name.removeprefix("reward/"))
    _finish(panel, "Reward by rule (training)", "mean score, before weights")


def _finish(panel: Axes, title: str, unit: str) -> None:
    panel.set_title(title, loc="left")
    panel.set_ylabel(unit)
    handles, labels = panel.get_legend_handles_labels()
    if len(labels) > 1:
        unique = dict(zip(labels, handles, strict=True))
        panel.legend(unique.values(), unique.keys(), loc="best")
    elif not labels:
        panel.text(0.5, 0.5, "no values", transform=panel.transAxes, ha="center", color=TRAINING)
