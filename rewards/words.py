"""Cuts a text into pieces of words of one script, without what is no language: formulas, code, tags."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby

NO_WORDS = re.compile(
    r"```.*?(?:```|\Z)|`[^`\n]*`"  # code
    r"|\$\$.*?\$\$|\$[^$\n]*\$|\\\[(?:(?!\\\[).)*?\\\]|\\\((?:(?!\\\().)*?\\\)"  # formulas
    r"|\\[A-Za-z]+"
    r"|</?[A-Za-z_]+>|https?://\S+",
    re.DOTALL,
)
SENTENCE = re.compile(r"(?<=[.!?:;。！？：；])\s*|\n+")
# Scripts written without spaces between words: a character counts as a word.
NO_SPACES = ("CJK", "HIRAGANA", "THAI", "LAO", "KHMER", "MYANMAR", "TIBETAN")
_LANGUAGES = {
    ("CYRILLIC",): "ba be bg ce cv kk ky mk mn os ru tg tt uk",
    ("CYRILLIC", "LATIN"): "sr",
    ("ARABIC",): "ar fa ps sd ug ur",
    ("DEVANAGARI",): "hi mr ne sa",
    ("CJK",): "zh",
    ("CJK", "HIRAGANA"): "ja",
    ("HANGUL",): "ko",
    ("HEBREW",): "he yi",
    ("GREEK",): "el",
    ("ARMENIAN",): "hy",
    ("GEORGIAN",): "ka",
    ("BENGALI",): "as bn",
    ("GUJARATI",): "gu",
    ("GURMUKHI",): "pa",
    ("KANNADA",): "kn",
    ("MALAYALAM",): "ml",
    ("ORIYA",): "or",
    ("SINHALA",): "si",
    ("TAMIL",): "ta",
    ("TELUGU",): "te",
    ("ETHIOPIC",): "am",
    ("KHMER",): "km",
    ("LAO",): "lo",
    ("MYANMAR",): "my",
    ("THAI",): "th",
    ("TIBETAN",): "bo dz",
}
SCRIPTS = {code: scripts for scripts, codes in _LANGUAGES.items() for code in codes.split()}


@dataclass(frozen=True)
class Piece:
    """Words of one script that stand together."""

    script: str  # as Unicode names characters: LATIN, CYRILLIC, CJK, …
    words: int
    text: str


def pieces(text: str, enough: int) -> list[Piece]:
    """The words of a text in pieces of one script, each a sentence or more.

    Args:
        text: what a model wrote.
        enough: words that a piece should have; shorter sentences are joined with the next, or the one before.
    """
    found: list[Piece] = []
    for sentence in SENTENCE.split(NO_WORDS.sub(" ", text)):
        for script, run in groupby(_words(sentence), key=lambda word: word[0]):
            words = [word for _, word in run]
            count = sum(map(len, words)) if script in NO_SPACES else len(words)
            piece = Piece(script, count, ("" if script in NO_SPACES else " ").join(words))
            last = found[-1] if found else None
            if last and last.script == script and (last.words < enough or piece.words < enough):
                found[-1] = Piece(script, last.words + piece.words, f"{last.text} {piece.text}")
            else:
                found.append(piece)
    return found


def _words(sentence: str) -> list[tuple[str, str]]:
    """The words with their scripts. Single letters, as of variables, are none."""
    found = []
    text = unicodedata.normalize("NFC", sentence)
    scripts = [script_of(character) for character in text]
    if {"HIRAGANA", "KATAKANA"} & set(scripts):  # then what Chinese has too is Japanese
        scripts = ["HIRAGANA" if script in ("CJK", "KATAKANA") else script for script in scripts]
    for script, run in groupby(zip(scripts, text, strict=True), key=lambda pair: pair[0]):
        letters = "".join(character for _, character in run)
        if script and (len(letters) > 1 or script in NO_SPACES):
            found.append((script, letters))
    return found


@lru_cache(maxsize=4096)
def script_of(character: str) -> str:
    """The script of a letter, or of a mark on one, by its Unicode name; "" for what is neither."""
    if unicodedata.category(character)[0] not in "LM":
        return ""
    return unicodedata.name(character, "").partition(" ")[0].partition("-")[0]
