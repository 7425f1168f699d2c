"""Spellings that are one, and those that must stay two."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rewards.normalise import is_text, normalise, number

SAME = [
    ("$18$", "18"),
    ("$$18$$", "18"),
    (r"\(18\)", "18"),
    (r"\[18\]", "18"),
    (r"\$18", "18"),
    ("$18", "18"),
    ("**18**", "18"),
    ("18.", "18"),
    ("−3", "-3"),
    (r"\dfrac{1}{2}", r"\frac{1}{2}"),
    (r"\tfrac12", r"\frac{1}{2}"),
    (r"\frac1{2}", r"\frac{1}{2}"),
    (r"\left( 3, \frac{\pi}{2} \right)", r"(3,\frac{\pi}{2})"),
    (r"2 \pi\, r", r"2\pi r"),
    ("x = 3", "x=3"),
    (r"\text{no solution}", "no  solution"),
    ("1{,}000", "1,000"),
    (r"10\!000", "10000"),
    ("5\u200e", "5"),
]
DIFFERENT = [
    ("1 2", "12"),
    ("1 2/3", "12/3"),
    (r"\pi r", r"\pir"),
    ("12 apples", "12 pears"),
    (r"\frac{12}{3}", r"\frac{1}{23}"),
    ("x", "X"),
    (r"\leftarrow", "arrow"),
    ("-3", "3"),
    ("3.5", "35"),
]


@pytest.mark.parametrize(("left", "right"), SAME)
def test_one_form(left, right):
    assert normalise(left) == normalise(right)


@pytest.mark.parametrize(("left", "right"), DIFFERENT)
def test_different_answers_stay_different(left, right):
    assert normalise(left) != normalise(right)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("025", Fraction(25)),
        ("-0.50", Fraction(-1, 2)),
        (".5", Fraction(1, 2)),
        ("+7", Fraction(7)),
        ("1,234,567.5", Fraction(12345675, 10)),
        ("1 000", Fraction(1000)),
        ("-3/4", Fraction(-3, 4)),
        (r"-\frac{3}{4}", Fraction(-3, 4)),
        (r"\frac{-3}{4}", Fraction(-3, 4)),
        (r"\frac{1.5}{3}", Fraction(1, 2)),
        ("1/3", Fraction(1, 3)),
        ("0." + "3" * 50, Fraction(int("3" * 50), 10**50)),
    ],
)
def test_number_is_exact(text, value):
    assert number(normalise(text)) == value


@pytest.mark.parametrize(
    "text", ["", "1/0", "1,00", "1,2345", "1 2/3", "3.14.15", "x", "10%", "1e5", "9" * 5000, "--1"]
)
def test_what_is_no_plain_number(text):
    assert number(normalise(text)) is None


def test_text_is_told_from_formulas():
    assert is_text(normalise(r"\text{B}"), r"\text{B}")
    assert is_text(normalise("Tuesday"), "Tuesday")
    assert not any(is_text(normalise(a), a) for a in ("xyz", "x", r"\sin x", "3", r"3\text{ cm}"))


@settings(deadline=None)
@given(st.text(max_size=200) | st.text(alphabet="\\{}$frac ,.0123456789-/*()[]", max_size=60))
def test_no_text_raises(text):
    number(normalise(text))


@settings(deadline=None)
@given(st.integers(-(10**12), 10**12), st.integers(1, 10**6))
def test_spellings_of_a_number_have_one_value(top, bottom):
    value = Fraction(top, bottom)
    assert number(normalise(f"{top}/{bottom}")) == value
    assert number(normalise(rf"$\dfrac{{{top}}}{{{bottom}}}$")) == value
    assert number(normalise(f"{top:,}")) == top
