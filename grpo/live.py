"""The live screen of a run: progress, held-out curves, metrics and one completion, redrawn in place."""

from __future__ import annotations

import math
import threading
from collections import defaultdict
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from grpo.screen import chart, clock, coloured, safe, short, sparkline
from grpo.view import PlainView, StageClock, View, fields_of, sets_of

if TYPE_CHECKING:
    from grpo.types import Group as Completions

LABEL, VALUE = 9, 6  # columns of a metric; its history takes the rest
MAIN, BESIDE = "bold green", "bright_black"


def view_for(console: Console, title: str, grader: str = "accuracy") -> View:
    """The live screen where the console is a terminal that can redraw, else plain lines.

    Args:
        title: of the run, such as its recipe's name.
        grader: rule that grades the answer; its reward is charted beside held-out pass@1.
    """
    if console.is_terminal and not console.is_dumb_terminal:
        return LiveView(console, title, grader)
    return PlainView(console)


class LiveView:
    """Progress, held-out curves, metrics with their history and one completion, redrawn in place."""

    def __init__(self, console: Console, title: str, grader: str = "accuracy") -> None:
        self._console, self._title, self._grader = console, title, grader
        self._lock = threading.RLock()  # the screen is redrawn from a thread of its own
        self._phase = ""
        self._sample: Completions | None = None
        self._begin("", None, 0)
        self._live = Live(console=console, get_renderable=self.render, refresh_per_second=2)

    def _begin(self, name: str, total: int | None, done: int, ago: float = 0.0) -> None:
        self._clock = StageClock(name, total, done, ago)
        self._history: dict[str, list[tuple[float, float]]] = defaultdict(list)
        self._fields: dict[str, list[float]] = defaultdict(list)
        self._set = ""

    def __enter__(self) -> LiveView:
        self._live.start(refresh=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._phase = ""
        self._live.stop()

    def stage(self, name: str, total: int | None = None, done: int = 0, ago: float = 0.0) -> None:
        """Starts a fresh screen for the stage."""
        with self._lock:
            self._begin(name, total, done, ago)
            self._phase, self._sample = "", None

    def phase(self, name: str) -> None:
        """Shows the phase beside the progress bar."""
        self._phase = name

    def step(self, step: int, metrics: Mapping[str, float], sample: Completions | None = None) -> None:
        """Moves the bar, adds to the histories and shows the group's first completion."""
        with self._lock:
            self._clock.done = step
            self._add(step, metrics)
            for label, value in fields_of(metrics).items():
                self._fields[label].append(value)
            self._sample = sample or self._sample

    def evaluation(self, step: int, metrics: Mapping[str, float]) -> None:
        """Adds a point to the held-out curves."""
        with self._lock:
            self._clock.evaluated()
            self._set = self._set or next(iter(sets_of(metrics)), "")
            self._add(step, metrics)

    def note(self, text: str) -> None:
        """Prints the line above the screen."""
        self._console.print(Text(safe(text)))

    def _add(self, step: int, metrics: Mapping[str, float]) -> None:
        for name, value in metrics.items():
            self._history[name].append((step, value))

    def render(self) -> RenderableType:
        """The screen as it is now, fitted to the console's size."""
        with self._lock:
            if not self._history:
                return self._header()
            fixed = 1 + 2 + math.ceil(len(self._fields) / 2) + 2 + 1  # header, frames, metrics, cursor
            spare = self._console.height - fixed
            chart_rows = max(4, min(12, (spare - 2) * 2 // 3))
            parts = [self._header(), self._charts(chart_rows)]
            if self._fields:
                parts.append(self._metrics())
            if self._sample is not None and (rows := spare - chart_rows - 2) >= 2:
                parts.append(self._completion(self._sample, rows))
            return Group(*parts)

    def _header(self) -> RenderableType:
        state = self._clock
        grid = Table.grid(padding=(0, 1), expand=True)
        grid.add_column(no_wrap=True)
        grid.add_column(ratio=1)
        for _ in range(3):
            grid.add_column(no_wrap=True)
        bar = ProgressBar(total=state.total, completed=state.done, pulse=state.total is None, width=None)
        steps = f"{state.done}/{state.total}" if state.total else ""
        times = clock(state.elapsed) + (f" · {clock(state.left)} left" if state.left is not None else "")
        name = Text.assemble((safe(self._title), "bold"), " ", safe(state.name))
        grid.add_row(name, bar, steps, Text(times, "cyan"), Text(f"{safe(self._phase):<8}", "yellow"))
        return grid

    def _charts(self, rows: int) -> RenderableType:
        history, chosen = self._history, f"eval/{self._set}/"
        if self._set:
            panels = [
                ("pass@1", f"{chosen}pass@1", f"reward/{self._grader}", 1.0),
                ("length, tokens", f"{chosen}mean_length", "completions/mean_length", None),
            ]
        else:
            names = ("loss",) if "reward/mean" not in history else ("reward/mean", "completions/mean_length")
            panels = [(name, name, name, None) for name in names]
        grid = Table.grid(expand=True)
        cells = []
        for title, main, beside, top in panels:
            grid.add_column(ratio=1)
            width = self._console.width // len(panels) - 4
            series = [(history.get(beside, []), BESIDE), (history.get(main, []), MAIN)]
            heading = Text(f"{safe(title)} ")
            if points := history.get(main):
                heading.append(short(points[-1][1]), MAIN)
                first = f" (from {short(points[0][1])})" if len(points) > 1 else ""
                heading.append(first, "dim")
            legend = (
                Text.assemble((safe(self._set), MAIN), " · ", ("training", BESIDE)) if self._set else None
            )
            cells.append(
                Panel(
                    chart(series, width, rows, top),
                    title=heading,
                    subtitle=legend,
                    border_style="dim",
                    height=rows + 2,
                )
            )
        grid.add_row(*cells)
        return grid

    def _metrics(self) -> RenderableType:
        grid = Table.grid(padding=(0, 2))
        spark = (self._console.width - 4) // 2 - LABEL - VALUE - 6
        for _ in range(2):
            grid.add_column(no_wrap=True, width=LABEL)
            grid.add_column(no_wrap=True, justify="right", style="bold", width=VALUE)
            grid.add_column(no_wrap=True, style="blue", width=spark)
        cells = [
            (Text(safe(label)), short(values[-1]), sparkline(values, spark))
            for label, values in self._fields.items()
        ]
        half = math.ceil(len(cells) / 2)
        for left, right in zip(cells[:half], [*cells[half:], (Text(), "", "")], strict=False):
            grid.add_row(*left, *right)
        return Panel(grid, title=Text(f"step {self._clock.done}"), border_style="dim")

    def _completion(self, group: Completions, rows: int) -> RenderableType:
        rollout = group.rollouts[0]
        text = Text.assemble((safe(group.prompt.text[-200:].strip()), "bold"), " ", coloured(rollout.text))
        lines = text.wrap(self._console, self._console.width - 4)
        shown = list(lines)
        if len(shown) > rows:  # the answer stands at the end
            shown = [*lines[: rows - 2], Text("…", "dim"), lines[-1]]
        about = [f"answer {safe(group.prompt.answer)}"] if group.prompt.answer is not None else []
        about += [f"reward {short(group.rewards[0])}"] if group.rewards else []
        about += [f"{len(rollout.token_ids)} tokens", f"ended by {rollout.finish_reason}"]
        body = Text("\n").join(shown)
        return Panel(
            body,
            title=Text("one completion"),
            subtitle=Text(" · ".join(about)),
            border_style="dim",
            height=rows + 2,
        )
