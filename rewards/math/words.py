"""Answers in words, and the letters of multiple choice."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from rewards.math import spelling

_CHOICE = re.compile(
    r"(?:(?:option|choice|answer|statement)s?\s+)?"
    r"(?:\(\s*(?P<a>[A-Ja-j])\s*\)|\[\s*(?P<d>[A-Ja-j])\s*\]|(?P<b>[A-Ja-j])\s*[.):](?!\d)|(?P<c>[A-Ja-j])$)\s*[.:,]?\s*(?P<rest>.*)",
    re.DOTALL | re.IGNORECASE,
)
_LETTERS = re.compile(r"\(?\s*[A-J]\s*\)?(?:\s*(?:,|;|and|&)\s*(?:and\s*)?\(?\s*[A-J]\s*\)?)+")
_TOGETHER = re.compile(r"[A-J]{2,5}")
_ARTICLE = re.compile(r"(?:the|a|an)\s+", re.IGNORECASE)
_WORD = re.compile(r"[^\W\d_][\w'.-]*", re.UNICODE)

_COMMAND_WORDS = re.compile(r"\\(?:begin|end)\{[a-zA-Z]*\}(?:\{[clr| ]*\})?|\\[A-Za-z]+|[_^]\{[^{}]*\}")
_FUNCTION_WORDS = frozenset(
    "sin cos tan sec csc cot log ln exp sqrt lim max min gcd lcm arcsin arccos arctan diag".split()
)


@dataclass(frozen=True)
class Choice:
    """The letters chosen, and the text that stands beside a single one."""

    letters: frozenset[str]
    rest: str = ""


def read_choice(text: str) -> Choice | None:
    """The choice a spelled answer states; None where it is none."""
    text = re.sub(r"^\\\{(.*)\\\}$", r"\1", text.strip()).strip()
    if _LETTERS.fullmatch(text):
        return Choice(frozenset(re.findall(r"[A-J]", text)))
    match = _CHOICE.fullmatch(text)
    if match is None:
        return None
    letter = match["a"] or match["b"] or match["c"] or match["d"]
    return Choice(frozenset(letter.upper()), match["rest"].strip())


def same_choice(gold: Choice, answer: str, equal: Callable[[str, str], bool]) -> bool:
    """Whether the answer names the gold's letters, or, where the gold has one, its text.

    Args:
        equal: compares two texts, the gold's first.
    """
    chosen = read_choice(answer)
    if chosen is None and len(gold.letters) > 1 and _TOGETHER.fullmatch(answer):
        chosen = Choice(frozenset(answer))
    if chosen is None:
        return bool(gold.rest) and equal(gold.rest, answer)
    if chosen.letters != gold.letters:
        return False
    if re.search(r"\b(?:or|and|maybe|not)\b|\([A-J]\)", chosen.rest):
        return False
    return not (gold.rest and chosen.rest) or equal(gold.rest, chosen.rest)


def words_of(text: str) -> str:
    """A text as compared: lower case, no article in front, no full stop, one space between words."""
    text = re.sub(r"\\?&", " and ", text)
    text = re.sub(r"\\[A-Za-z]+|[{}\\$]|(?<=[A-Za-z])\.(?=\s|$)", " ", text)
    text = re.sub(r"\s*-\s*", "-", text)
    text = " ".join(text.replace(",", " , ").split()).casefold().strip(" .!")
    return _ARTICLE.sub("", text, count=1) if _ARTICLE.match(text) else text


def same_words(gold: str, answer: str) -> bool:
    """Whether two texts are the same words, spaces aside.

    Those parted by commas or "and" in any order, but in the gold's where that has them in round brackets.
    """
    if _joined(words_of(gold)) == _joined(words_of(answer)):
        return True
    ordered = gold.startswith("(") and gold.endswith(")")
    lists = [_parts(text) for text in (gold, answer)]
    if not ordered:
        lists = [sorted(parts) for parts in lists]
    return len(lists[0]) > 1 and lists[0] == lists[1]


def _parts(text: str) -> list[str]:
    parts = re.split(r"\s*(?:,|;|\band\b)\s*", words_of(re.sub(r"^\((.*)\)$", r"\1", text)))
    return [_joined(words_of(part)) for part in parts if part]


def _joined(words: str) -> str:
    return words.replace(" ", "")


_FEW = re.compile(r"[A-Za-z]{3}")
_NAMED = re.compile(r"(?:the|a|an) [A-Za-z ]+", re.IGNORECASE)


def are_letters(gold: str, answer: str) -> bool:
    """Whether two short texts can only be words: `dog` and `god` are no products, `the sun` is the sun."""
    if _FEW.fullmatch(gold) and _FEW.fullmatch(answer):
        return True
    named = _NAMED.fullmatch(gold) or _NAMED.fullmatch(answer)
    return named is not None and words_of(gold) == words_of(answer)


def is_text(raw: str, spelled: str) -> bool:
    r"""Whether a gold is meant as words: all of it letters, with a word in it, or set in `\text{…}`."""
    bare = spelling.squash(spelled)
    letters = re.fullmatch(r"[^\W\d_][^\W\d_ ,.;'’-]*(?:[ ,.;'’-]+[^\W\d_]*)*", bare) is not None
    in_text = re.fullmatch(r"\$?\\(?:text|mathrm|mbox|textbf)\s*\{[^{}\d]*\}\$?", raw.strip()) is not None
    return letters and (in_text or is_wordy(bare))


def is_wordy(text: str) -> bool:
    """Whether letters stand together as a word does: algebra would read `listen` and `silent` as equal."""
    if r"\begin{cases}" in text:
        text = re.sub(r"\b(?:otherwise|else|when|where)\b", " ", text)
    bare = _COMMAND_WORDS.sub(" ", text)
    words = re.findall(r"[^\W\d_]+", bare)
    return (
        any(
            (
                len(word) > 3
                or word.lower() in ("yes", "no", "odd", "one", "two", "six", "ten", "red", "det", "tr", "dim")
            )
            and word.lower() not in _FUNCTION_WORDS
            and not re.fullmatch(r"(?:arc)?(?:sin|cos|tan|sqrt|log|ln|exp|pi)[xyzn]?", word)
            for word in words
        )
        or re.fullmatch(r"[A-Z][a-z]{2}", bare.strip()) is not None
    )
