r"""Finds the final answer in a completion: by default the last `<answer>…</answer>` or `\boxed{…}`."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Literal

OPEN, CLOSE = "<answer>", "</answer>"
_TOKENS = re.compile(r"\\(?:boxed|fbox)\s*\{|\\.|[{}]", re.DOTALL)
_JOINT = re.compile(r"[\s$]*(?:\\\))?\s*(?:(,)|(?:,\s*)?\b(and|or)\b)[\s$]*(?:\\\()?\s*")
_BASE = re.compile(r"\s*_\s*(?:\d+|\{[^{}]*\})")  # \boxed{101}_2
_NUMBER = re.compile(r"-?\d{1,3}(?:,\d{3})+(?:\.\d+)?|-?\d+(?:\.\d+)?")
MAX_JOINT = 20  # characters between two boxes that are one answer


def final_answer(text: str) -> str | None:
    r"""The answer a completion ends on, or None where it gives none.

    Only what follows the last `</think>` counts; a thought that is not closed has no answer after it.
    Of an answer tag and a box the later one counts; a box inside the tag is unwrapped. An answer that was
    opened last and never closed is none, whatever stood before it: a truncated completion has not answered.
    """
    text = text.rpartition("</think>")[2]
    if "<think>" in text:
        return None
    tag = text.rfind(OPEN)
    if tag < 0:
        return last_box(text)
    inside, closed, after = text[tag + len(OPEN) :].partition(CLOSE)
    if has_box(after):
        return last_box(after)
    if not closed:
        return None
    return last_box(inside) if has_box(inside) else (inside.strip() or None)


def whole_text(text: str) -> str | None:
    """All that follows the last `</think>`, less the full stop at its end; None where that is nothing.

    For prompts that ask for the bare answer, or open its line ("Answer:").
    """
    after = text.rpartition("</think>")[2].strip().removesuffix(".").strip()
    return after or None


def last_number(text: str) -> str | None:
    """The last number anywhere in the text, thousands without commas: the lenient reading, for measuring.

    Training on it rewards what ends in a number, whatever it says.
    """
    numbers = _NUMBER.findall(text)
    return numbers[-1].replace(",", "") if numbers else None


EXTRACTORS: dict[str, Callable[[str], str | None]] = {
    "final": final_answer,
    "text": whole_text,
    "last_number": last_number,
}
Extract = Literal["final", "text", "last_number"]


def has_box(text: str) -> bool:
    r"""Whether a `\boxed{` opens anywhere in the text, closed or not."""
    return any(token.group().startswith(("\\boxed", "\\fbox")) for token in _TOKENS.finditer(text))


def last_box(text: str) -> str | None:
    r"""Contents of the last outermost `\boxed{…}`; None if there is none, it is empty or a later one is open.

    Boxes joined by nothing but a comma, "and" or "or" are one answer, a list. The base of a number may stand
    behind its box.
    One pass with a stack, so that 100,000 nested braces take no more than their length.
    """
    stack: list[tuple[int, int]] = []  # where the contents start, and where the box's command does, or -1
    found: list[tuple[int, int, int]] = []  # command, contents, closing brace
    for token in _TOKENS.finditer(text):
        mark = token.group()
        if mark.endswith("{") and mark != "\\{":
            stack.append((token.end(), token.start() if len(mark) > 1 else -1))
        elif mark == "}" and stack:
            start, command = stack.pop()
            if command >= 0:
                while found and found[-1][0] > command:
                    found.pop()  # an outer box closes later and replaces the inner ones
                found.append((command, start, token.start()))
    if not found or any(command > found[-1][0] for _, command in stack):
        return None
    parts = [_inside(text, *found[-1][1:])]
    base = _BASE.match(text, found[-1][2] + 1)
    if base and parts[0].isalnum():
        parts[0] += base[0].strip()
    for (_, start, end), (command, _, _) in zip(found[-2::-1], found[:0:-1], strict=False):
        joint = _JOINT.fullmatch(text, end + 1, command) if command - end < MAX_JOINT else None
        if joint is None or not parts[0]:
            break
        parts += [f" {joint[2] or ','} ", _inside(text, start, end)]
    return "".join(reversed(parts)) or None


def _inside(text: str, start: int, end: int) -> str:
    inside = re.sub(r"\\(?:boxed|fbox)\s*(?=\{)", "", text[start:end]).strip()
    if inside.startswith("{") and _closes_at_end(inside):  # of a box in a box, the braces are left
        inside = inside[1:-1].strip()
    return inside


def _closes_at_end(text: str) -> bool:
    """Whether the brace that opens `text` is closed by its last character."""
    depth = 0
    for token in _TOKENS.finditer(text):
        depth += {"{": 1, "}": -1}.get(token.group(), 0)
        if depth == 0:
            return token.end() == len(text)
    return False
