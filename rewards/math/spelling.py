r"""One spelling of an answer: commands, spaces, signs and words that mean the same become the same.

Only rewriting that cannot change a value is done here.
"""

from __future__ import annotations

import functools
import re

from rewards.math.characters import as_latex

MAX_LENGTH = 2000  # characters of an answer that is read; golds of the usual sets have a tenth of it

_LETTERS = r"(?![A-Za-z])"
_STYLES = (
    r"\\(?:text(?:bf|it|rm|normal|sf|tt)?|math(?:rm|bf|it|sf|tt|normal)|[mh]box"
    r"|operatorname\*?|boldsymbol|bm|underline)"
)
_REWRITE = [
    (re.compile(pattern), by)
    for pattern, by in (
        ("[\u200e\u200f\u200b\u2060\ufeff\u202a-\u202e]", ""),
        (r"\\\\(?:\s*\[[^\]]*\])?", r"\\cr "),  # the end of a row, before a space is looked for behind it
        (r"\\!|\\phantom ?(?:\{[^{}]*\}|.)", ""),
        (r"(?<=\d)(?:\{,\}|\\[,!:; ])(?=\d{3}(?!\d))", ""),  # thousands
        (r"\\([A-Za-z]+)\s+(?=\{)", r"\\\1"),
        (r"\}\s+(?=\{)", "}"),
        (r"\\[dtc]frac(?![A-Za-z])", r"\\frac"),
        (r"\\[dt]binom(?![A-Za-z])", r"\\binom"),
        (rf"\\(?:inf|infin|infinity){_LETTERS}|(?<![A-Za-z\\])inf(?:inity)?\b", r"\\infty "),
        (rf"\\big(cup|cap){_LETTERS}", r"\\\1 "),
        (r"\\begin\{array\}\s*\{(?:[^{}]|\{[^{}]*\})*\}", r"\\begin{array}"),
        (r"\\mathbb\s*\{?\s*I\s*\}?", "I"),
        (rf"\\lbrack{_LETTERS}", "["),
        (rf"\\rbrack{_LETTERS}", "]"),
        (
            r"(?<![A-Za-z}\]_^\\*])(?<!\\frac\d)(?<!\\frac \d)(?<!\\binom\d)\{((?:[^{}]|\{[^{}]*\})*)\}",
            r" \1 ",
        ),  # braces that group nothing
        (
            r"\\([pbvB]?matrix|cases)\s*\{((?:[^{}]|\{[^{}]*\})*)\}",
            r"\\begin{\1}\2\\end{\1}",
        ),
        (r"(\\(?:begin|end)\{[a-zA-Z]+)\*\}(?:\[[a-z]\])?", r"\1}"),
        (r"\+\s*/\s*-|\+-(?=\s*\d)", r"\\pm "),
        (
            rf"\\(?:left|right|middle|[bB]igg?[lrm]?|displaystyle|textstyle|limits|hline|rm|bf|it){_LETTERS}\.?|\\!",
            " ",
        ),
        (r"\\[,;: ]|~|\\q?quad(?![A-Za-z])|\\(?:h|v)space\{[^{}]*\}", " "),
        (rf"\\leq(?:slant)?{_LETTERS}|\\leqq{_LETTERS}|<=|=<", r"\\le "),
        (rf"\\geq(?:slant)?{_LETTERS}|\\geqq{_LETTERS}|>=", r"\\ge "),
        (rf"\\neq{_LETTERS}|!=", r"\\ne "),
        (rf"\\lt{_LETTERS}", "<"),
        (rf"\\gt{_LETTERS}", ">"),
        (rf"\\colon{_LETTERS}", ":"),
        (rf"\\(?:approxeq|simeq|doteq){_LETTERS}", r"\\approx "),
        (rf"\\(?:l|r)?vert{_LETTERS}", "|"),
        (rf"\\lbrace{_LETTERS}", r"\\{"),
        (rf"\\rbrace{_LETTERS}", r"\\}"),
        (rf"\\(?:varnothing){_LETTERS}", r"\\emptyset "),
        (r"\\math(?:bb|bf|rm)\s*\{?\s*R\s*\}?|\\Re(?:als)?(?![A-Za-z])|\\R(?![A-Za-z])", r"\\R "),
        (r"\\math(?:bb|bf)\s*\{\s*([NZQC])\s*\}", r"\\\1 "),
        (r"\\degree(?:s)?(?![A-Za-z])|\^\s*\{\s*\\circ\s*\}|\^\s*o(?![A-Za-z])", r"^\\circ "),
        (r"\\(?:or|lor|vee)(?![A-Za-z])", " or "),
        (r"\\(?:land|wedge)(?![A-Za-z])", " and "),
        (r"\\(?:text)?(?:pounds|sterling)(?![A-Za-z])", "£"),
        (r"\\(?:text)?euro?(?![A-Za-z])", "€"),
        (r"\\(?:text)?yen(?![A-Za-z])", "¥"),
        (r"\\%|\\percent(?![A-Za-z])|\bper ?cent\b", "%"),
        (r"\\([#_])", r"\1"),
        (r"\\(?:text)?color(?:box)?\s*\{[^{}]*\}", ""),
        (r"(?:(?:sp|sympy)\.)?Matrix\((\[.*\])\)|(?:np|numpy)\.array\((\[.*\])\)", r"\1\2"),
        (r"\^\s*(?:\\prime(?![A-Za-z])|\{\s*\\prime\s*\})|\\prime(?![A-Za-z])", "'"),
        (r"\*\*(?=\S)", "^"),
    )
]
_BOLD = re.compile(r"(?<![\w)\]}*])\*\*(?=[^\s*])([^*]+)(?<=\S)\*\*(?![\w(\[{\\*])")  # **Answer:** 42
_MONEY = re.compile(r"(?:US\s*)?\\\$|US\$|(?<![\w$])\$(?=\s*-?\.?\d)(?!.*\$)", re.DOTALL)
_STYLED = re.compile(rf"{_STYLES}\s*\{{((?:[^{{}}]|\{{[^{{}}]*\}})*)\}}")
_AXIS = re.compile(
    r"\\(?:math(?:bf|sf)|hat|widehat|vec|boldsymbol|bm)\s*\{\s*(?:\\(?:math(?:bf|rm)|boldsymbol)\s*\{)?"
    r"\\?(?P<axis>i|j|k)(?:math)?\s*\}{1,2}"
)
_JOINED = re.compile(rf"({_STYLES}\{{[^{{}}]*)\}}{_STYLES}\{{")  # \mathrm{M}\mathrm{CM} is one word
_WRAPPERS = (
    ("$$", "$$"), ("$", "$"), (r"\(", r"\)"), (r"\[", r"\]"), ("**", "**"), ("__", "__"),
    ("*", "*"), ("_", "_"), ("'", "'"),    ("`", "`"), ('"', '"'), ("``", "''"), ("``", '"'),
)  # fmt: skip
_LEAD_IN = re.compile(
    r"(?:(?:so|thus|therefore|hence)\b,?\s*)?(?:(?:the|my|our)\s+)?(?:final\s+|correct\s+)?"
    r"(?:answer|result|solution)\s*(?:is\s*:?|:|=|equals)\s*",
    re.IGNORECASE,
)
_PLAIN = re.compile(r"[A-Za-z0-9/,+-]+(?:\.\d+)?")  # nothing in it to rewrite


@functools.lru_cache(maxsize=512)
def spell(answer: str) -> str:
    """The answer in one spelling, without what means nothing around it."""
    text = _unwrap(answer.strip())
    if _PLAIN.fullmatch(text):
        return text
    text = _AXIS.sub(r" \\axis\1 ", _BOLD.sub(r"\1", as_latex(text)))
    joined = 1
    while joined:
        text, joined = _JOINED.subn(r"\1", text)
    text = _MONEY.sub(" USD ", text)
    for _ in range(4):
        text, changed = _STYLED.subn(r" \1 ", text)
        if not changed:
            break
    for pattern, by in _REWRITE:
        text = pattern.sub(by, text)
    text = re.sub(r"\s+", " ", text.replace("$", " ")).strip()
    text = _unwrap(_LEAD_IN.sub("", _unwrap(text), count=1))
    return text.removesuffix(".").strip() if not text.endswith("..") else text


def _unwrap(text: str) -> str:
    """Without the pairs of delimiters that enclose all of it."""
    changed = True
    while changed:
        changed = False
        for left, right in _WRAPPERS:
            inside = text[len(left) : len(text) - len(right)]
            if text.startswith(left) and text.endswith(right) and inside and left not in inside:
                text, changed = inside.strip(), True
    return text


def squash(text: str) -> str:
    """The spelled text without the white space that parts nothing: two words, or two numbers, stay apart."""
    return re.sub(r"(?<![A-Za-z0-9]) | (?![A-Za-z0-9])", "", text)


def ungroup(text: str) -> str:
    """The text with thousands written together: `1,000` and `1 000` become `1000`."""
    text = re.sub(r"(?<![\d.,])\d{1,3}(?:,\d{3})+(?!\d|,\d)", lambda m: m[0].replace(",", ""), text)
    return re.sub(r"(?<![\d.,/])(?<!\d )\d{1,3}(?: \d{3})+(?! ?[\d/])", lambda m: m[0].replace(" ", ""), text)


def split_top(text: str, separator: re.Pattern[str]) -> tuple[list[str], list[str]]:
    """Cuts the text at the separators that stand in no bracket. Returns the pieces and the separators."""
    pieces, found, depth, start, at = [], [], 0, 0, 0
    while at < len(text):
        match = separator.match(text, at) if depth == 0 else None
        if match is not None and match.end() > at:
            pieces.append(text[start:at].strip())
            found.append(match[0].strip())
            start = at = match.end()
            continue
        bracket = BRACKET.match(text, at)
        if bracket is not None:
            depth += 1 if bracket["open"] else -1
            at = bracket.end()
        else:
            at += 2 if text[at] == "\\" else 1
    pieces.append(text[start:].strip())
    return pieces, found


BRACKET = re.compile(
    r"(?P<open>\(|\[|\\\{|\{|\\langle(?![A-Za-z])|\\begin(?![A-Za-z]))"
    r"|(?P<close>\)|\]|\\\}|\}|\\rangle(?![A-Za-z])|\\end(?![A-Za-z]))"
)
