"""Sets of reals as unions of intervals: joined, met, turned inside out."""

from __future__ import annotations

import itertools
from typing import Any

from rewards.math.evaluate import Unknown, numeric
from rewards.math.forms import INFINITY, MINUS_INFINITY, Form, Several, Span, Spans, Value
from rewards.math.tree import Node


def as_spans(form: Form, listed: bool = False) -> Spans | None:
    """The form as a set of reals where it may be one: a pair in round brackets is an open interval.

    Args:
        listed: a list of intervals is their union; one with a bracket or an infinite end in it is so anyway.
    """
    if isinstance(form, Spans):
        return form
    if isinstance(form, Several) and form.kind == "list":
        parts = [as_spans(item) for item in form.items]
        sure = listed or any(isinstance(item, Spans) for item in form.items)
        if not sure or any(part is None for part in parts):
            return None
        return Spans(tuple(span for part in parts if part is not None for span in part.parts))
    if isinstance(form, Several) and form.kind == "tuple" and len(form.items) == 2:
        low, high = form.items
        if isinstance(low, Value) and isinstance(high, Value):
            left, right = form.brackets[0] == "[", form.brackets[1] == "]"
            return Spans((Span(low.node, high.node, left, right),))
    if isinstance(form, Several) and form.kind == "set" and all(isinstance(i, Value) for i in form.items):
        points = [i.node for i in form.items if isinstance(i, Value)]
        return Spans(tuple(Span(p, p, True, True) for p in points))
    return None


def without(holes: list[Node], name: str | None = None) -> Spans | None:
    """The real line without some points; None where their order is unknown."""
    ordered = in_order(holes)
    if ordered is None:
        return None
    ends = [MINUS_INFINITY, *ordered, INFINITY]
    return Spans(tuple(Span(a, b, False, False) for a, b in itertools.pairwise(ends)), name)


def in_order(nodes: list[Node]) -> list[Node] | None:
    """The nodes by value; None where one has no value of its own."""
    try:
        return sorted(nodes, key=_place)
    except (Unknown, TypeError):
        return None


def _place(end: Node) -> Any:
    if end == INFINITY:
        return float("inf")
    return float("-inf") if end == MINUS_INFINITY else numeric(end, {})


def merged(spans: tuple[Span, ...]) -> tuple[Span, ...]:
    """The intervals in order, those that touch made one; as they are where the order is unknown."""
    try:
        some = [span for span in spans if (span.low_closed and span.high_closed) or span.low != span.high]
        ordered = sorted(some, key=lambda span: (_place(span.low), not span.low_closed))
        result: list[Span] = []
        for span in ordered:
            last = result[-1] if result else None
            if last is None or not _touch(last, span):
                result.append(span)
                continue
            further = _place(span.high), span.high_closed
            if further > (_place(last.high), last.high_closed):
                result[-1] = Span(last.low, span.high, last.low_closed, span.high_closed)
    except (Unknown, TypeError):
        return spans
    return tuple(result)


def _touch(first: Span, second: Span) -> bool:
    """Whether nothing lies between an interval and one that begins no earlier."""
    end, start = _place(first.high), _place(second.low)
    return bool(start < end or (start == end and (first.high_closed or second.low_closed)))


def met(a: Spans, b: Spans) -> Spans | None:
    """What lies in both; None where the order of their ends is unknown."""
    try:
        parts = [common for x in a.parts for y in b.parts if (common := _common(x, y)) is not None]
    except (Unknown, TypeError):
        return None
    return Spans(tuple(parts), a.name or b.name)


def _common(a: Span, b: Span) -> Span | None:
    low, high = max(_place(a.low), _place(b.low)), min(_place(a.high), _place(b.high))
    low_closed = all(s.low_closed for s in (a, b) if _place(s.low) == low)
    high_closed = all(s.high_closed for s in (a, b) if _place(s.high) == high)
    if low > high or (low == high and not (low_closed and high_closed)):
        return None
    first = a if _place(a.low) == low else b
    last = a if _place(a.high) == high else b
    return Span(first.low, last.high, low_closed, high_closed)


def outside(spans: Spans) -> Spans:
    """The real line without a set whose parts are in order and apart."""
    starts = [(MINUS_INFINITY, False), *((span.high, not span.high_closed) for span in spans.parts)]
    ends = [*((span.low, not span.low_closed) for span in spans.parts), (INFINITY, False)]
    parts = [
        Span(low, high, low_closed, high_closed)
        for (low, low_closed), (high, high_closed) in zip(starts, ends, strict=True)
        if low != high or (low_closed and high_closed)
    ]
    return Spans(tuple(part for part in parts if part.low != INFINITY and part.high != MINUS_INFINITY))
