"""Reads a spelled answer: which form it has, by the signs that stand outside of all brackets."""

from __future__ import annotations

import functools
import re
from dataclasses import replace
from fractions import Fraction

from rewards.math import spelling
from rewards.math.forms import (
    EMPTY,
    REALS,
    Based,
    Form,
    Ratio,
    Relation,
    Several,
    Spans,
    Value,
    Words,
)
from rewards.math.parse import parse
from rewards.math.phrases import as_formula
from rewards.math.spans import as_spans, merged, met, outside
from rewards.math.tokens import Unreadable
from rewards.math.tree import Matrix, Number, Op, has_sign_pair, with_sign
from rewards.math.units import compound, split_unit
from rewards.math.words import is_wordy

MAX_DEPTH = 12
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
_SET_SIGN = re.compile(r"\s*(?:\\(?:cup|cap|setminus|backslash)(?![A-Za-z])|(?<=\\R)\s*-(?=\s*\\\{))\s*")
_RELATION = re.compile(r"\s*(?:\\(?:le|ge|ne|approx|in|sim|equiv)(?![A-Za-z])|[=<>])\s*")
_BAR = re.compile(r"\s*(?:\\mid(?![A-Za-z])|:|\|)\s*")
_BASES = {
    "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10,
    "eleven": 11, "twelve": 12, "sixteen": 16, "bin": 2, "oct": 8, "hex": 16,
    "binary": 2, "octal": 8, "hexadecimal": 16,
}  # fmt: skip
_DIGITS = r"[0-9][0-9A-Fa-f, ]*(?:\.[0-9A-Fa-f]+)?|[A-Fa-f][0-9A-Fa-f ]*[0-9A-Fa-f]|\.[0-9A-Fa-f]+"
_BASE_WORD = r"\(?\s*(?:in )?(?:base[ -]?(?P<said>\d{1,2}|[a-z]+)|(?P<word>binary|octal|hexadecimal))\s*\)?"
_BELOW = r"_\s*\{?\s*\(?\s*(?:base )?\s*(?P<below>-?\d{1,2}|[a-z]+)\s*\)?\s*\}?\s*\)?"
_AGAIN = r"(?:\s*\((?:in )?(?:base|bin|oct|hex)[a-z]* ?\w*\))?"
_BASED = re.compile(
    rf"[(\[]?(?P<sign>-?)\s*\(?\s*(?:\\overline\{{ ?)?(?P<digits>{_DIGITS})\s*\}}?\s*[)\]]?\s*"
    rf"(?:{_BELOW}{_AGAIN}|{_BASE_WORD})"
)
_PREFIXED = re.compile(r"(?P<sign>-?)0(?P<prefix>[bBoOxX])(?P<digits>[0-9A-Fa-f]+)")
_PREFIXES = {"b": 2, "o": 8, "x": 16}
_RATIO = re.compile(r"\s*(?::|\bto\b|\\mathbin:)\s*")


@functools.lru_cache(maxsize=512)
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
    said = as_formula(text)
    if said is not None:
        return _read(said, depth + 1)
    for reader in (
        _system,
        _sum_of_units,
        _list,
        _sets,
        _relation,
        _matlab,
        _bracketed,
        _scaled,
        _based,
        _ratio,
        _value,
    ):
        form = reader(text, depth)
        if form is not None:
            return form
    return Words(text)


_SYSTEM = re.compile(
    r"\\begin\{(?P<name>cases|aligned|align|gathered|split|array)\}(?P<rows>.*)\\end\{(?P=name)\}"
)


def _system(text: str, depth: int) -> Form | None:
    """Equations in rows, as the list of them; rows of `value & condition` are a formula."""
    found = _SYSTEM.fullmatch(text)
    if found is None or r"\begin" in found["rows"]:
        return None
    rows = [row.strip(" ,;.") for row in re.split(r"\\cr ?|\\\\", found["rows"]) if row.strip()]
    rows = [re.sub(r" ?& ?(?==)|(?<==) ?& ?", " ", row) for row in rows]
    if not all("=" in row for row in rows) or any("&" in row for row in rows):
        return None
    return _read(", ".join(rows), depth + 1)


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
    """A union, an intersection or a difference of sets."""
    pieces, signs = spelling.split_top(text, _SET_SIGN)
    if len(pieces) < 2 or not all(pieces):
        return None
    forms = [_read(piece, depth + 1) for piece in pieces]
    if all(isinstance(form, Several) and form.kind == "set" for form in forms) and set(signs) == {r"\cup"}:
        return Several(
            "set", tuple(item for form in forms if isinstance(form, Several) for item in form.items)
        )
    sets = [as_spans(form) for form in forms]
    result = sets[0]
    for sign, other in zip(signs, sets[1:], strict=True):
        if result is None or other is None:
            return None
        if sign == r"\cup":
            result = Spans(result.parts + other.parts)
        else:
            result = met(result, other if sign == r"\cap" else outside(Spans(merged(other.parts))))
    return result


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


_ROWS = re.compile(r"\[ ?((?:[^][;&()]+;)+[^][;&()]+)\]")
_ROW = re.compile(r"\[ ?(-?\d+(?:[./]\d+)?(?: -?\d+(?:[./]\d+)?)+) ?\]")
_TURNED = re.compile(r"(?P<row>[(\[].*[)\]])\s*\^\s*\{?\s*(?:T|\\top|\\intercal)\s*\}?")


def _matlab(text: str, depth: int) -> Form | None:
    """`[2 4; 0 -1]`, a matrix with its rows parted by semicolons, and `(3,4)^T`, a row that is turned."""
    found, turned = _ROWS.fullmatch(text) or _ROW.fullmatch(text), _TURNED.fullmatch(text)
    inside = found[1] if found else turned["row"][1:-1].replace(",", ";") if turned else ""
    rows = [re.split(r"[, ]+", row.strip(" ,")) for row in inside.split(";")]
    if not inside or (found and len(rows[0]) < 2) or len({len(row) for row in rows}) > 1:
        return None
    if turned and len(rows) < 2:
        if len(rows[0]) < 2:
            return None  # `(1+r)^T` is a power
        rows = [[cell] for cell in rows[0]]
    cells = r" \cr ".join(" & ".join(row) for row in rows)
    return _value(rf"\begin{{bmatrix}} {cells} \end{{bmatrix}}", depth)


_SCALED = re.compile(r"(?P<factor>[^A-Za-z(]*(?:\\(?:frac|sqrt|pi)[^A-Za-z(]*)*)(?P<tuple>\([^()]*,[^()]*\))")


def _scaled(text: str, depth: int) -> Form | None:
    r"""`\frac13(2,-1,2)`, a vector with a factor before it. A letter there would be its name."""
    found = _SCALED.fullmatch(text)
    if found is None or not found["factor"].strip():
        return None
    inside = _tuple(found["tuple"][1:-1], "()", depth)
    try:
        factor = parse(re.sub(r"(?:\\cdot|\*)\s*$", "", found["factor"]))
    except Unreadable:
        return None
    if not isinstance(inside, Several):
        return None
    cells = [item.node for item in inside.items if isinstance(item, Value)]
    if len(cells) < len(inside.items):
        return None
    return Several("tuple", tuple(Value(Op("*", (factor, cell))) for cell in cells), ",", "()")


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
    if len(pieces) == 2 and re.match(r"[A-Za-z]\s*(?:\\in\s*\\R\s*)?$", pieces[0]):
        return _read(pieces[1], depth + 1)
    if ", " in inside:
        inside = spelling.ungroup(inside)
    items = _read(inside, depth + 1)
    if isinstance(items, Several) and items.kind == "list":
        return Several("set", items.items)
    return Several("set", (items,))


def _based(text: str, depth: int) -> Form | None:
    prefixed = _PREFIXED.fullmatch(text)
    match = prefixed or _BASED.fullmatch(text)
    if match is None:
        return None
    digits = re.sub("[, ]", "", match["digits"]).upper()
    base: int | str
    if prefixed:
        base = _PREFIXES[match["prefix"].lower()]
    else:
        name = match["below"] or match["said"] or match["word"]
        base = int(name) if name.lstrip("-").isdigit() else _BASES.get(name, name)
    if isinstance(base, int) and (
        not 2 <= abs(base) <= 16 or any(int(digit, 16) >= abs(base) for digit in digits.replace(".", ""))
    ):
        return None
    if isinstance(base, str) and len(base) > 1:
        return None
    if "." in digits:
        digits = digits.rstrip("0").removesuffix(".")
    whole, point, rest = digits.partition(".")
    return Based(match["sign"] + (whole.lstrip("0") or "0") + point + rest, base)


def _ratio(text: str, depth: int) -> Form | None:
    pieces, _ = spelling.split_top(text, _RATIO)
    if len(pieces) < 2 or not all(pieces):
        return None
    if all(piece.endswith("%") for piece in pieces):
        pieces = [piece.removesuffix("%") for piece in pieces]
    try:
        return Ratio(tuple(parse(piece) for piece in pieces))
    except Unreadable:
        return None


_ZERO = re.compile(r"0 ?_ ?\{ ?([1-9]) ?(?:\\times|x) ?([1-9]) ?\}")


def _value(text: str, depth: int) -> Form | None:
    zero = _ZERO.fullmatch(text)
    if zero:
        return Value(Matrix(((Number(Fraction(0)),) * int(zero[2]),) * int(zero[1])))
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
