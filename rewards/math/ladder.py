"""The rungs of grading, cheapest first, and the verdict with the rung that gave it.

string       one spelling of both
number       integers, decimals and fractions, exactly
words        text, multiple choice, times, dates
value        everything that parse.py reads: value, units, lists, sets, relations
math_verify  what is left
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from rewards.math import clock, symbolic, words
from rewards.math.compare import same
from rewards.math.evaluate import TooLarge, Unknown
from rewards.math.forms import Based, Form, Relation, Words
from rewards.math.names import is_name
from rewards.math.read import read
from rewards.math.spelling import MAX_LENGTH, spell, squash

_BELOW = re.compile(r"[\d})\]] ?_")  # math-verify drops what stands below a number
MAX_LOOSE = 300  # characters of an answer at the last rung, whose time grows fast with them

Outcome = Literal["right", "wrong", "ungraded"]
Rung = Literal["string", "number", "words", "value", "math_verify"]


@dataclass(frozen=True)
class Verdict:
    """What grading came to, and the rung that decided. `ungraded`: the gold cannot be read or computed."""

    outcome: Outcome
    rung: Rung


RIGHT: Outcome = "right"
WRONG: Outcome = "wrong"
UNGRADED: Outcome = "ungraded"


def judge(gold: str, answer: str) -> Verdict:
    """Whether an extracted answer equals the gold. May run for ever at the last rung on a hostile text.

    Args:
        gold: bare, or between dollars; not in a box.
        answer: what stands in the box or tag.
    """
    if len(answer) > MAX_LENGTH or len(gold) > MAX_LENGTH:
        differ = UNGRADED if len(gold) > MAX_LENGTH else WRONG
        return Verdict(RIGHT if gold == answer else differ, "string")
    spelled_gold, spelled = spell(gold), spell(answer)
    if spelled_gold and squash(spelled_gold) == squash(spelled):
        return Verdict(RIGHT, "string")
    quick = _by_number(spelled_gold, spelled)
    if quick is not None:
        return Verdict(_outcome(quick), "number")
    if not spelled:
        return Verdict(WRONG, "string")
    by_words = _by_words(gold, spelled_gold, spelled)
    if by_words is not None:
        return Verdict(_outcome(by_words), "words")
    return _by_value(spelled_gold, spelled)


def _outcome(right: bool) -> Outcome:
    return RIGHT if right else WRONG


_PLAIN = re.compile(r"([+-]?)(\d{1,3}(?:,\d{3})+|\d+)(?:\.(\d+)|/(\d+))?")
_FRACTION = re.compile(r"^([+-]?)\\frac ?(?:(\d)|\{(\d+)\}) ?(?:(\d)|\{(\d+)\})")


def _by_number(gold: str, answer: str) -> bool | None:
    """Both plain numbers: compared exactly, a decimal gold with two places or more as a rounded one."""
    left, right = _plain(gold), _plain(answer)
    if left is None or right is None:
        return None
    (value, places), (own, own_places) = left, right
    if value == own:
        return True
    if places is None or places < 2 or (own_places is not None and own_places <= places):
        return False
    scale = 10**places
    rounded = Fraction(int(abs(own) * scale + Fraction(1, 2)), scale)
    return value == (rounded if own >= 0 else -rounded)


@functools.lru_cache(maxsize=512)
def _plain(text: str) -> tuple[Fraction, int | None] | None:
    """A plain number's value and decimal places (0 for an integer, None for a fraction); else None."""
    text = _FRACTION.sub(r"\1\2\3/\4\5", text)
    match = _PLAIN.fullmatch(text)
    if match is None or len(text) > MAX_LENGTH:
        return None
    sign, whole, decimals, below = match.groups()
    value = Fraction(f"{whole.replace(',', '')}.{decimals or 0}")
    if below is not None:
        if not int(below):
            return None
        value /= int(below)
    return (-value if sign == "-" else value), (None if below else len(decimals or ""))


def _by_words(raw: str, gold: str, answer: str) -> bool | None:
    """Multiple choice, times, dates and text; None where the gold is none of them."""
    choice = words.read_choice(gold)
    if choice is not None and not gold.islower():
        return words.same_choice(choice, answer, _equal)
    date = clock.read_date(gold)
    if date is not None:
        return date == clock.read_date(answer)
    time = clock.read_time(gold)
    if time is not None:
        other = clock.read_time(answer)
        if other is not None:
            return clock.same_time(time, other)
        return False if time.half else None
    if words.are_letters(gold, answer):
        return words.same_words(gold, answer)
    if words.is_text(raw, gold) and isinstance(read(gold), Words):
        return words.same_words(gold, answer)
    return None


def _equal(gold: str, answer: str) -> bool:
    return judge(gold, answer).outcome == RIGHT


def _by_value(gold: str, answer: str) -> Verdict:
    left, right = read(gold), read(answer)
    if isinstance(left, Based) and squash(answer).upper() == left.digits:  # 1E3 is digits here, no power
        return Verdict(RIGHT, "value")
    if not _unread(left) and not _unread(right):
        verdict = _same(left, right)
        if verdict is not None:
            return Verdict(_outcome(verdict), "value")
    elif not _unread(left) and _is_prose(answer):
        return Verdict(WRONG, "value")
    elif _unread(left) and _is_prose(gold):
        return Verdict(_outcome(words.same_words(gold, answer)), "words")
    if len(gold) > 2 * MAX_LOOSE or not symbolic.readable(gold):
        # only the answer's fault where the gold has a value: what cannot be computed must not go unpunished
        only_the_answer = not _unread(left) and (_unread(right) or _computes(left))
        return Verdict(WRONG if only_the_answer else UNGRADED, "math_verify")
    if len(answer) > max(MAX_LOOSE, 2 * len(gold)) or _BELOW.search(gold + answer):
        return Verdict(WRONG, "math_verify")
    return Verdict(_outcome(symbolic.equal(gold, answer)), "math_verify")


def _same(gold: Form, answer: Form) -> bool | None:
    """Whether both state the same; None where a value is unknown, or a formula too deep for the stack.

    What is too large to compute is nothing that can be computed: `9^{9^{9^9}}` need not be tried further.
    """
    try:
        return same(gold, answer)
    except TooLarge:
        return None if answer is gold or _computes(gold) == _computes(answer) else False
    except (Unknown, RecursionError):
        return None


def _computes(form: Form) -> bool:
    return _same(form, form) is not None


def _unread(form: object) -> bool:
    """Whether the form, or a part of it, is a text that is no formula."""
    if isinstance(form, Words):
        return True
    if isinstance(form, Relation) and is_name(form.sides[0]):
        return any(_unread(side) for side in form.sides[1:])
    parts = getattr(form, "items", None) or getattr(form, "sides", None) or ()
    return any(_unread(part) for part in parts)


def _is_prose(text: str) -> bool:
    r"""Whether words stand in the text that are no commands."""
    bare = re.sub(r"\\[A-Za-z]+|\{[a-z]*matrix\}|\{array\}|\{cases\}", " ", text)
    return re.search(r"[A-Za-z]{4,}|\b(?:or|and|not|the|but|is|if)\b", bare) is not None
