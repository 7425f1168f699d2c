"""What an answer is: a value, several values, an interval, a relation, a ratio, words."""

from __future__ import annotations

import functools
import itertools
import re
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Literal

from rewards.math import spelling
from rewards.math.parse import parse
from rewards.math.tokens import Unreadable
from rewards.math.tree import Node, Number, Op, Symbol, has_sign_pair, with_sign
from rewards.math.units import Unit, compound, split_unit

MAX_DEPTH = 12


@dataclass(frozen=True)
class Value:
    r"""One value, with its unit if it has one. `rounded` where a `\approx` stands in front."""

    node: Node
    unit: Unit | None = None
    rounded: bool = False


@dataclass(frozen=True)
class Several:
    """More values than one: a list written without brackets, a set in braces, or a tuple in brackets."""

    kind: Literal["list", "set", "tuple"]
    items: tuple[Form, ...]
    joined: str = ","  # of a list: "or", "and" or ","
    brackets: str = ""  # of a tuple


@dataclass(frozen=True)
class Span:
    """An interval of the real line."""

    low: Node
    high: Node
    low_closed: bool
    high_closed: bool


@dataclass(frozen=True)
class Spans:
    """A union of intervals; empty: the empty set. `name` is the variable it was said of, if any."""

    parts: tuple[Span, ...]
    name: str | None = None


@dataclass(frozen=True)
class Relation:
    r"""Sides with the signs between them: = < > \\le \\ge \\ne \\approx \\in."""

    sides: tuple[Form, ...]
    signs: tuple[str, ...]


@dataclass(frozen=True)
class Ratio:
    """`3:4`, `1:2:5`."""

    parts: tuple[Node, ...]


@dataclass(frozen=True)
class Based:
    """Digits in a base: `101_2`."""

    digits: str
    base: int


@dataclass(frozen=True)
class Words:
    """What is none of these, or is meant as text."""

    text: str


Form = Value | Several | Spans | Relation | Ratio | Based | Words

INFINITY = Symbol("oo")
MINUS_INFINITY = Op("neg", (INFINITY,))
REALS = Spans((Span(MINUS_INFINITY, INFINITY, False, False),))
EMPTY = Spans(())

_REALS = re.compile(
    r"\\R|(?:the set of )?all real(?: numbers?)?(?: [a-z])?|\(-\\infty,\+?\\infty\)|all reals"
    r"|real numbers|x\\in\\R",
    re.IGNORECASE,
)
_EMPTY = re.compile(
    r"\\emptyset|\\\{\\\}|no (?:real )?solutions?|(?:the )?empty set|there (?:is|are) no (?:real )?solutions?"
    r"|none",
    re.IGNORECASE,
)
_LIST = re.compile(r"\s*(?:[,;]\s*)?\b(?:and|or)\b\s*|\s*[,;]\s*")
_UNION = re.compile(r"\s*\\cup(?![A-Za-z])\s*")
_MINUS = re.compile(r"\s*\\(?:setminus|backslash)(?![A-Za-z])\s*")
_RELATION = re.compile(r"\s*(?:\\(?:le|ge|ne|approx|in|sim|equiv)(?![A-Za-z])|[=<>])\s*")
_BAR = re.compile(r"\s*(?:\\mid(?![A-Za-z])|:|\|)\s*")
_BASES = {
    "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10,
    "eleven": 11, "twelve": 12, "sixteen": 16, "bin": 2, "oct": 8, "hex": 16, "binary": 2,
}  # fmt: skip
_BASED = re.compile(
    r"(?P<sign>-?)\s*\(?\s*(?P<digits>[0-9][0-9A-Fa-f, ]*|[A-Fa-f][0-9A-Fa-f]+)\s*\)?\s*"
    r"(?:_\s*\{?\s*(?:base )?\s*|\(?\s*(?:in )?base[ -]?)(?P<base>\d{1,2}|[a-z]+)\s*\}?\s*\)?"
)
_RATIO = re.compile(r"\s*(?::|\bto\b|\\mathbin:)\s*")
_COMMAND_WORDS = re.compile(r"\\(?:begin|end)\{[a-zA-Z]*\}(?:\{[clr| ]*\})?|\\[A-Za-z]+|[_^]\{[^{}]*\}")
_FUNCTION_WORDS = frozenset(
    "sin cos tan sec csc cot log ln exp sqrt lim max min gcd lcm arcsin arccos arctan".split()
)


@functools.lru_cache(maxsize=4096)
def read(text: str) -> Form:
    """The form of a spelled answer. Never raises: what is no formula is Words."""
    lists = ("(" in text or "[" in text or r"\{" in text) and ", " not in text
    return _read(text if lists else spelling.ungroup(text), 0)


def _read(text: str, depth: int) -> Form:
    text = text.strip()
    if depth > MAX_DEPTH or not text:
        return Words(text)
    tight = spelling.squash(text)
    if _REALS.fullmatch(tight):
        return REALS
    if _EMPTY.fullmatch(tight):
        return EMPTY
    for reader in (_sum_of_units, _list, _sets, _relation, _bracketed, _based, _ratio, _value):
        form = reader(text, depth)
        if form is not None:
            return form
    return Words(text)


def _sum_of_units(text: str, depth: int) -> Form | None:
    found = compound(text)
    return Value(Number(found[0]), found[1]) if found else None


def _list(text: str, depth: int) -> Form | None:
    pieces, signs = spelling.split_top(text, _LIST)
    if len(pieces) < 2 or not all(pieces):
        return None
    joined = next((word for word in ("or", "and") if any(word in sign for sign in signs)), ",")
    items = [_read(piece, depth + 1) for piece in pieces]
    flat: list[Form] = []
    for item in items:  # `x = \pm 2, 3` has three values
        flat.extend(item.items if isinstance(item, Several) and item.kind == "list" else [item])
    return Several("list", tuple(flat), joined)


def _sets(text: str, depth: int) -> Form | None:
    pieces, _ = spelling.split_top(text, _UNION)
    if len(pieces) > 1:
        parts = [as_spans(_read(piece, depth + 1)) for piece in pieces]
        if any(part is None for part in parts):
            sets = [_read(piece, depth + 1) for piece in pieces]
            if all(isinstance(s, Several) and s.kind == "set" for s in sets):
                return Several("set", tuple(i for s in sets if isinstance(s, Several) for i in s.items))
            return None
        return Spans(tuple(span for part in parts if part is not None for span in part.parts))
    pieces, _ = spelling.split_top(text, _MINUS)
    if len(pieces) == 2:
        whole, holes = as_spans(_read(pieces[0], depth + 1)), _read(pieces[1], depth + 1)
        if whole == REALS and isinstance(holes, Several) and holes.kind == "set":
            nodes = [item.node for item in holes.items if isinstance(item, Value)]
            if len(nodes) == len(holes.items):
                return without(nodes)
    return None


def without(holes: list[Node], name: str | None = None) -> Spans | None:
    """The real line without some points; None where their order is unknown."""
    ordered = in_order(holes)
    if ordered is None:
        return None
    ends = [MINUS_INFINITY, *ordered, INFINITY]
    spans = [Span(a, b, False, False) for a, b in itertools.pairwise(ends)]
    return Spans(tuple(spans), name)


def in_order(nodes: list[Node]) -> list[Node] | None:
    """The nodes by value; None where one has no value of its own."""
    from rewards.math.evaluate import Unknown, numeric

    try:
        return sorted(nodes, key=lambda node: numeric(node, {}))
    except (Unknown, TypeError):
        return None


def as_spans(form: Form) -> Spans | None:
    """The form as a set of reals where it may be one: a pair in round brackets is an open interval."""
    if isinstance(form, Spans):
        return form
    if isinstance(form, Several) and form.kind == "tuple" and len(form.items) == 2:
        low, high = form.items
        if isinstance(low, Value) and isinstance(high, Value):
            left, right = form.brackets[0] == "[", form.brackets[1] == "]"
            return Spans((Span(low.node, high.node, left, right),))
    if isinstance(form, Several) and form.kind == "set" and all(isinstance(i, Value) for i in form.items):
        points = [i.node for i in form.items if isinstance(i, Value)]
        return Spans(tuple(Span(p, p, True, True) for p in points))
    return None


def _relation(text: str, depth: int) -> Form | None:
    pieces, signs = spelling.split_top(text, _RELATION)
    if len(pieces) < 2:
        return None
    names = {"\\sim": "\\approx", "\\equiv": "="}
    ordered = tuple(names.get(sign, sign) for sign in signs)
    if not pieces[0] and ordered == ("\\approx",):
        value = _read(pieces[1], depth + 1)
        return replace(value, rounded=True) if isinstance(value, Value) else value
    if not all(pieces):
        return None
    return Relation(tuple(_read(piece, depth + 1) for piece in pieces), ordered)


def _bracketed(text: str, depth: int) -> Form | None:
    outside = re.fullmatch(r"([\[\]])(.+[,;].+)([\[\]])", text)
    if outside and (outside[1], outside[3]) != ("[", "]"):  # `]a, b[` is open
        brackets = ("[" if outside[1] == "[" else "(") + ("]" if outside[3] == "]" else ")")
        return _tuple(outside[2], brackets, depth)
    for left, right in (
        (r"\{", r"\}"),
        (r"\langle", r"\rangle"),
        ("(", ")"),
        ("(", "]"),
        ("[", ")"),
        ("[", "]"),
    ):
        if text.startswith(left) and text.endswith(right) and _encloses(text):
            inside = text[len(left) : -len(right)].strip()
            if left == r"\{":
                return _set(inside, depth)
            return _tuple(inside, "()" if left == r"\langle" else left + right, depth)
    return None


def _encloses(text: str) -> bool:
    """Whether the bracket that opens the text is closed by its end: nothing stands outside of it."""
    pieces, _ = spelling.split_top(text + "\x00", re.compile("\x00"))
    depth, at = 0, 0
    while at < len(text):
        bracket = spelling.BRACKET.match(text, at)
        if bracket is None:
            at += 2 if text[at] == "\\" else 1
            continue
        depth += 1 if bracket["open"] else -1
        at = bracket.end()
        if depth == 0:
            return at == len(text) and len(pieces) == 2
    return False


def _tuple(inside: str, brackets: str, depth: int) -> Form | None:
    if ", " in inside:
        inside = spelling.ungroup(inside)
    pieces, _ = spelling.split_top(inside, re.compile(r"\s*[,;]\s*"))
    if len(pieces) < 2:
        return _read(inside, depth + 1) if brackets == "()" and not _is_formula(inside) else None
    if not all(pieces):
        return None
    items = tuple(_read(piece, depth + 1) for piece in pieces)
    if brackets in ("(]", "[)"):
        return as_spans(Several("tuple", items, ",", brackets))
    return Several("tuple", items, ",", brackets)


def _is_formula(text: str) -> bool:
    try:
        parse(text)
    except Unreadable:
        return False
    return True


def _set(inside: str, depth: int) -> Form | None:
    pieces, _ = spelling.split_top(inside, _BAR)
    if len(pieces) == 2 and re.match(r"[A-Za-z]\s*(?:\\in\b.*)?$", pieces[0]):
        return _read(pieces[1], depth + 1)
    if ", " in inside:
        inside = spelling.ungroup(inside)
    items = _read(inside, depth + 1)
    if isinstance(items, Several) and items.kind == "list":
        return Several("set", items.items)
    return Several("set", (items,))


def _based(text: str, depth: int) -> Form | None:
    match = _BASED.fullmatch(text)
    if match is None:
        return None
    base = int(match["base"]) if match["base"].isdigit() else _BASES.get(match["base"], 0)
    digits = re.sub("[, ]", "", match["digits"]).upper()
    if not 2 <= base <= 16 or any(int(digit, 16) >= base for digit in digits):
        return None
    return Based(match["sign"] + (digits.lstrip("0") or "0"), base)


def _ratio(text: str, depth: int) -> Form | None:
    pieces, _ = spelling.split_top(text, _RATIO)
    if len(pieces) < 2 or not all(pieces):
        return None
    try:
        return Ratio(tuple(parse(piece) for piece in pieces))
    except Unreadable:
        return None


def _value(text: str, depth: int) -> Form | None:
    value, unit = split_unit(text)
    for candidate, its_unit in ((value, unit), (text, None)):
        try:
            node = parse(candidate)
        except Unreadable:
            continue
        if is_wordy(candidate) or (its_unit is not None and re.fullmatch(r"[A-Za-z ]{2,}", candidate)):
            return None
        if has_sign_pair(node):
            both = tuple(Value(with_sign(node, sign), its_unit) for sign in (1, -1))
            return Several("list", both)
        return Value(node, its_unit)
    return None


def is_wordy(text: str) -> bool:
    """Whether letters stand together as a word does: algebra would read `listen` and `silent` as equal."""
    bare = _COMMAND_WORDS.sub(" ", text)
    words = re.findall(r"[A-Za-z]+", bare)
    return (
        any(
            (len(word) > 3 or word.lower() in ("yes", "no", "odd", "one", "two", "six", "ten", "red"))
            and word.lower() not in _FUNCTION_WORDS
            and not re.fullmatch(r"(?:arc)?(?:sin|cos|tan|sqrt|log|ln|exp|pi)[xyzn]?", word)
            for word in words
        )
        or re.fullmatch(r"[A-Z][a-z]{2}", bare.strip()) is not None
    )


def decimal(node: Node) -> tuple[Fraction, int, int] | None:
    """Value, decimal places and power of ten of a whole or decimal literal; None for other nodes."""
    if isinstance(node, Number) and (node.places is not None or node.value.denominator == 1):
        return node.value, node.places or 0, 0
    if isinstance(node, Op) and node.name == "neg":
        inner = decimal(node.args[0])
        return (-inner[0], inner[1], inner[2]) if inner else None
    if isinstance(node, Op) and node.name == "*":
        mantissa, power = node.args
        if (
            isinstance(mantissa, Number)
            and mantissa.places is not None
            and isinstance(power, Op)
            and power.name == "^"
        ):
            from rewards.math.evaluate import Unknown, exact

            try:
                base, exponent = (exact(arg) for arg in power.args)
            except Unknown:
                return None
            if base == 10 and exponent.denominator == 1 and abs(exponent) < 1000:
                return mantissa.value * base ** int(exponent), mantissa.places - int(exponent), int(exponent)
    return None
