"""Text for a terminal: numbers, small charts, and completions in colour that cannot act on the terminal."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from rich.text import Text

Points = Sequence[tuple[float, float]]  # (step, value)

BLOCKS = "▁▂▃▄▅▆▇█"
BRAILLE = 0x2800
DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))  # [row][column] of one braille cell
LABEL = 6  # columns left of a chart's axis
UNSAFE_FORMATS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
TOKENS = re.compile(r"</?(?:think|answer)>|<\|[^<>|]*\|>|</?s>|<(?:bos|eos|pad|unk)>")
SECTIONS = {"": "default", "think": "italic cyan", "answer": "bold green"}


def safe(text: str) -> str:
    """`text` with every control character but the line end written out, so that a terminal only shows it.

    Escapes, carriage returns, other control and direction-changing characters and lone surrogates become
    `\\x1b`-like words; a tab becomes four spaces.
    """

    def shown(char: str) -> str:
        if char == "\n":
            return char
        if char == "\t":
            return "    "
        if unicodedata.category(char) in ("Cc", "Cs") or char in UNSAFE_FORMATS:
            return char.encode("unicode_escape").decode()
        return char

    return "".join(map(shown, text))


def coloured(completion: str) -> Text:
    """A completion with its thought, its answer, their tags and special tokens each in a style.

    Where the prompt has opened `<think>` already, the text before `</think>` is the thought.
    """
    out, position = Text(), 0
    close = completion.find("</think>")
    section = "think" if close >= 0 and "<think>" not in completion[:close] else ""
    for token in TOKENS.finditer(completion):
        out.append(safe(completion[position : token.start()]), SECTIONS[section])
        tag = token.group().strip("</>")
        if tag in SECTIONS:
            section = "" if token.group().startswith("</") else tag
        out.append(safe(token.group()), "magenta" if tag in SECTIONS else "yellow")
        position = token.end()
    return out.append(safe(completion[position:]), SECTIONS[section])


def short(value: float) -> str:
    """A number in at most six columns: 0.0312, 1.25, 31.4, 2.1k; – for NaN."""
    size = abs(value)
    if value != value:
        return "–"
    if size >= 999_500:
        return f"{value / 1e6:.3g}M"
    if size >= 1e5:
        return f"{value / 1e3:.0f}k"
    if size >= 1e3:
        return f"{value / 1e3:.3g}k"
    if size >= 100:
        return f"{value:.0f}"
    return f"{value:.3g}" if size >= 1e-3 or not size else f"{value:.0e}"


def clock(seconds: float) -> str:
    """A duration as 0:07, 12:30 or 3:05:00."""
    minutes, second = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{second:02d}" if hours else f"{minutes}:{second:02d}"


def sparkline(values: Sequence[float], width: int) -> str:
    """The last values as one row of blocks, from their lowest to their highest; NaN is blank."""
    values = values[-width:]
    known = [value for value in values if value == value]
    if not known:
        return ""
    low, span = min(known), max(known) - min(known)
    top = len(BLOCKS) - 1
    return "".join(
        " " if value != value else BLOCKS[round((value - low) / span * top) if span else top // 2]
        for value in values
    )


def chart(series: Sequence[tuple[Points, str]], width: int, height: int, top: float | None = None) -> Text:
    """Lines over steps in braille dots, from 0 up, with labelled axes; a later series covers an earlier one.

    Args:
        series: points and style of each line; a point whose value is NaN is left out.
        width: columns, label and axis included.
        height: rows, the axis' two included.
        top: value at the upper edge; what the data needs when left out.
    """
    lines = [([(x, y) for x, y in points if y == y], style) for points, style in series]
    every = [point for points, _ in lines for point in points]
    if not every:
        return Text("no values yet", "dim")
    columns, rows = width - LABEL - 1, height - 2
    upper = top or max(y for _, y in every) or 1.0
    first, last = min(x for x, _ in every), max(x for x, _ in every)
    cells: dict[tuple[int, int], tuple[int, str]] = {}

    def place(x: float, y: float) -> tuple[float, float]:
        across = (x - first) / (last - first) if last > first else 0.0
        return across * (2 * columns - 1), (1 - min(1.0, max(0.0, y / upper))) * (4 * rows - 1)

    for points, style in lines:
        stride = max(1, len(points) // (2 * columns))  # no more points than dots; the last one is kept
        dots = [place(x, y) for x, y in points[::-stride]][::-1]
        for (x0, y0), (x1, y1) in zip(dots, dots[1:] or dots, strict=False):
            pieces = max(1, round(max(abs(x1 - x0), abs(y1 - y0))))
            for piece in range(pieces + 1):
                x = round(x0 + (x1 - x0) * piece / pieces)
                y = round(y0 + (y1 - y0) * piece / pieces)
                bits, before = cells.get((y // 4, x // 2), (0, style))
                bits = bits if before == style else 0
                cells[y // 4, x // 2] = bits | DOTS[y % 4][x % 2], style
    out = Text(no_wrap=True)
    for row in range(rows):
        label = {0: short(upper), rows - 1: "0"}.get(row, "")
        out.append(f"{label:>{LABEL}}┤" if label else f"{'':>{LABEL}}│", "dim")
        for column in range(columns):
            bits, style = cells.get((row, column), (0, ""))
            out.append(chr(BRAILLE + bits) if bits else " ", style)
        out.append("\n")
    ends = f"{short(first)}{short(last):>{max(1, columns - len(short(first)))}}"
    return out.append(f"{'':>{LABEL}}└{'─' * columns}\n{'':>{LABEL + 1}}{ends}", "dim")
