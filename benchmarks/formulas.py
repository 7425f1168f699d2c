r"""Answers made by hypothesis: one value in many spellings, and texts that are hardly formulas at all.

spelled(Fraction(3, 2))   1.5, \frac{6}{4}, 1\tfrac{1}{2}, 150\%, 15 \times 10^{-1}, …
expressions()             trees over x and y; `written` draws a spelling of one, its terms in any order
texts()                   pieces of LaTeX, words and signs in any order
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

from hypothesis import strategies as st

Draw = st.DrawFn


@st.composite
def rationals(draw: Draw, least: int = -3000, most: int = 3000) -> Fraction:
    """Whole numbers, short decimals, and fractions."""
    denominator = draw(st.sampled_from([1, 1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 20, 25, 64, 100, 125, 1000]))
    return Fraction(draw(st.integers(least, most)), denominator)


def decimal_text(value: Fraction) -> str | None:
    """The finite decimal of a value, or None where it goes on."""
    places, rest = 0, value.denominator
    while rest % 10 == 0 or rest % 5 == 0 or rest % 2 == 0:
        rest, places = rest // (10 if rest % 10 == 0 else 5 if rest % 5 == 0 else 2), places + 1
    if rest != 1:
        return None
    digits = str(abs(value.numerator) * 10**places // value.denominator).rjust(places + 1, "0")
    whole, decimals = digits[: len(digits) - places], digits[len(digits) - places :].rstrip("0")
    return ("-" if value < 0 else "") + whole + (f".{decimals}" if decimals else "")


def repeating_text(value: Fraction) -> str | None:
    r"""`0.1\overline{6}`, where the cycle is short."""
    sign, (whole, rest) = "-" if value < 0 else "", divmod(abs(value.numerator), value.denominator)
    seen: dict[int, int] = {}
    digits = ""
    while rest and rest not in seen and len(digits) < 12:
        seen[rest] = len(digits)
        digit, rest = divmod(rest * 10, value.denominator)
        digits += str(digit)
    if not rest or rest not in seen:
        return None
    return rf"{sign}{whole}.{digits[: seen[rest]]}\overline{{{digits[seen[rest] :]}}}"


def grouped(digits: str, mark: str) -> str:
    """A whole number with a mark between its thousands."""
    return f"{int(digits):,}".replace(",", mark)


@st.composite
def spelled(draw: Draw, value: Fraction, *, rounds: bool = True) -> str:
    """A spelling of a value. Without `rounds`, none that a gold may not have if it is to mean itself alone.

    These are decimals (a gold with two places stands for all that round to it) and percent signs.
    """
    sign, size = "-" if value < 0 else "", abs(value)
    top, bottom, factor = size.numerator, size.denominator, draw(st.integers(2, 9))
    frac = draw(st.sampled_from([r"\frac", r"\dfrac", r"\tfrac"]))
    ways = [
        rf"{sign}{frac}{{{top * factor}}}{{{bottom * factor}}}",
        f"{sign}{top * factor}/{bottom * factor}",
    ]
    ways += [rf"{frac}{{{sign}{top}}}{{{bottom}}}", rf"{sign}{top} \cdot {bottom}^{{-1}}"]
    ways += [rf"{sign}\sqrt{{{top**2}}} / {bottom}", rf"{sign}\left({top} \div {bottom}\right)"]
    if bottom == 1:
        ways += [f"{sign}{top}", f"{sign}0{top}", f"{sign}{top}^1", f"({sign}{top})", f"{value + 7} - 7"]
        ways += [f"{sign}{grouped(str(top), mark)}" for mark in (",", "{,}", r"\,", "{,}\\!")]
    elif top > bottom:
        whole, rest = divmod(top, bottom)
        ways += [rf"{sign}{whole}{frac}{{{rest}}}{{{bottom}}}", f"{sign}{whole} {rest}/{bottom}"]
    if 0 < top < 10 and bottom < 10:
        ways.append(rf"{sign}{frac}{top}{bottom}")
    exact = decimal_text(value)
    if rounds and exact is not None:
        digits = exact.replace(".", "").replace("-", "").lstrip("0")
        places = len(exact.partition(".")[2])
        ways += [exact, exact + ("0" if "." in exact else ".0"), re.sub(r"^(-?)0\.", r"\1.", exact)]
        ways += [rf"{sign}{digits} \times 10^{{{-places}}}", f"{decimal_text(value * 100)}\\%"]
    again = repeating_text(value)
    if again is not None:
        ways.append(again)
    way = draw(st.sampled_from(ways))
    return way.replace("-", draw(st.sampled_from(["-", "-", "−"])))


@st.composite
def dressed(draw: Draw, text: str) -> str:
    """An answer with something around it that means nothing."""
    around = ["{}", "{}", "${}$", r"\displaystyle {}", "**{}**", "{}.", " {} ", r"\({}\)", "x = {}", "{{{}}}"]
    around += [r"\text{{The answer is }} {}", "Answer: {}", r"{}\text{{ cm}}", "{} units"]
    pattern = draw(st.sampled_from(around))
    return text if "%" in text and ("cm" in pattern or "units" in pattern) else pattern.format(text)


@dataclass(frozen=True)
class Tree:
    """`name` is a number, `x`, `y`, or one of + * - / ^ sqrt."""

    name: str
    below: tuple[Tree, ...] = ()


def expressions() -> st.SearchStrategy[Tree]:
    """Trees that have a value for all positive x and y: denominators and roots are of sums of squares."""
    leaves = st.one_of(
        st.integers(1, 30).map(lambda n: Tree(str(n))), st.sampled_from([Tree("x"), Tree("y")])
    )

    def safe(tree: Tree) -> Tree:
        return Tree("+", (Tree("^", (tree, Tree("2"))), Tree("3")))

    def more(inner: st.SearchStrategy[Tree]) -> st.SearchStrategy[Tree]:
        pairs = st.tuples(inner, inner)
        return st.one_of(
            st.builds(Tree, st.sampled_from(["+", "-", "*"]), pairs),
            pairs.map(lambda p: Tree("/", (p[0], safe(p[1])))),
            st.tuples(inner, st.integers(2, 3)).map(lambda p: Tree("^", (p[0], Tree(str(p[1]))))),
            inner.map(lambda t: Tree("sqrt", (safe(t),))),
        )

    return st.recursive(leaves, more, max_leaves=7)


@st.composite
def written(draw: Draw, tree: Tree) -> str:
    """A spelling of a tree: sums and products in any order, brackets, spaces, quotients as they come."""
    if not tree.below:
        return tree.name
    parts = [draw(written(below)) for below in tree.below]
    if tree.name == "sqrt":
        return rf"\sqrt{{{parts[0]}}}"
    held = [
        part if not below.below else _bracket(draw, part)
        for part, below in zip(parts, tree.below, strict=True)
    ]
    if tree.name == "^":
        return f"{held[0]}^{{{parts[1]}}}" if draw(st.booleans()) else f"{held[0]}^{parts[1]}"
    if tree.name == "/":
        return rf"\frac{{{parts[0]}}}{{{parts[1]}}}" if draw(st.booleans()) else f"{held[0]}/{held[1]}"
    if tree.name == "-":
        return f"{parts[0]} - {held[1]}" if draw(st.booleans()) else f"-{held[1]} + {parts[0]}"
    if draw(st.booleans()):
        parts, held = parts[::-1], held[::-1]
    if tree.name == "+":
        return draw(st.sampled_from([" + ", "+"])).join(parts)
    side = r" \cdot " if held[1][0].isdigit() else draw(st.sampled_from([r" \cdot ", r"\times ", "*", " "]))
    return side.join(held)


def _bracket(draw: Draw, text: str) -> str:
    left, right = draw(st.sampled_from([("(", ")"), (r"\left(", r"\right)"), ("(", ")"), ("[", "]")]))
    return left + text + right


def texts() -> st.SearchStrategy[str]:
    """Up to a dozen pieces that mean something to a grader, in any order, and any other characters."""
    pieces = (
        r"\frac \dfrac \sqrt \sqrt[3] ^ _ { } ( ) [ ] \{ \} \left( \right) | , ; : . ! ' = < > \le \ge \ne "
        r"\approx \in \cup \cap \setminus \pm \mp + - * / \cdot \times \div \pi e i x y n \infty \emptyset "
        r"\text{ \mathrm{ \boxed{ \begin{pmatrix} \end{pmatrix} \begin{cases} \end{cases} & \\ \sin \log_2 "
        r"\ln \arctan \sum_{k=1}^{n} \int_0^1 \lim_{x\to0} \binom \lfloor \rfloor \angle \overline{ "
        r"\mathbb{R} \mathbb{Z} \circ ^\circ \% \$ $ $$ \, \! ~ 0 1 2 3 7 10 12 99 1000 1,000 0.5 3.14 .25 "
        r"1e5 2^{10} 1/2 0.333... 101_2 3:30 PM AM 5th March 2024 cm km/h degrees percent dollars apples "
        r"and or not to the answer is no solution all real numbers A B (C) True yes "
    ).split()
    piece = st.one_of(
        st.sampled_from(pieces), st.sampled_from(pieces), st.sampled_from(pieces), st.text(max_size=3)
    )
    return st.lists(st.tuples(piece, st.sampled_from(["", "", " "])).map("".join), max_size=12).map("".join)
