r"""Finds the final answer in a completion: the last `<answer>…</answer>` or the last `\boxed{…}`."""

from __future__ import annotations

import re

OPEN, CLOSE = "<answer>", "</answer>"
_TOKENS = re.compile(r"\\(?:boxed|fbox)\s*\{|\\.|[{}]", re.DOTALL)


def final_answer(text: str) -> str | None:
    r"""The answer a completion ends on, or None where it gives none.

    Only what follows the last `</think>` counts, if there is one. Of an answer tag and a box the later one
    counts; a box inside the tag is unwrapped. An answer that was opened last and never closed is none,
    whatever stood before it: a truncated completion has not answered.
    """
    text = text.rpartition("</think>")[2]
    tag = text.rfind(OPEN)
    if tag < 0:
        return last_box(text)
    inside, closed, after = text[tag + len(OPEN) :].partition(CLOSE)
    if has_box(after):
        return last_box(after)
    if not closed:
        return None
    return last_box(inside) if has_box(inside) else (inside.strip() or None)


def has_box(text: str) -> bool:
    r"""Whether a `\boxed{` opens anywhere in the text, closed or not."""
    return any(token.group().startswith(("\\boxed", "\\fbox")) for token in _TOKENS.finditer(text))


def last_box(text: str) -> str | None:
    r"""Contents of the last outermost `\boxed{…}`; None if there is none, it is empty or a later one is open.

    One pass with a stack, so that 100,000 nested braces take no more than their length.
    """
    stack: list[tuple[int, bool]] = []  # where the contents start, and whether a box opened them
    found: tuple[int, int] | None = None
    for token in _TOKENS.finditer(text):
        mark = token.group()
        if mark.endswith("{") and mark != "\\{":
            stack.append((token.end(), len(mark) > 1))
        elif mark == "}" and stack:
            start, is_box = stack.pop()
            if is_box:
                found = (start, token.start())  # an outer box closes later and replaces the inner one
    if found is None or any(is_box and start > found[0] for start, is_box in stack):
        return None
    inside = re.sub(r"\\(?:boxed|fbox)\s*(?=\{)", "", text[found[0] : found[1]]).strip()
    if inside.startswith("{") and _closes_at_end(inside):  # of a box in a box, the braces are left
        inside = inside[1:-1].strip()
    return inside or None


def _closes_at_end(text: str) -> bool:
    """Whether the brace that opens `text` is closed by its last character."""
    depth = 0
    for token in _TOKENS.finditer(text):
        depth += {"{": 1, "}": -1}.get(token.group(), 0)
        if depth == 0:
            return token.end() == len(text)
    return False
