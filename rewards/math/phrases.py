"""Sets of reals said in words, as formulas: `all real numbers except 2`, `x is greater than 3`."""

from __future__ import annotations

import re

_REALS = (
    r"(?:the set of )?(?:all |any )?(?:the )?(?:reals?(?: numbers?| values?)?|values?|numbers?)"
    r"(?: of)?(?: [a-z])?"
)
_THAT = r"(?: (?:that|which) (?:is|are)| (?:is|are)|,? (?:with|where|such that|for which) [a-z] (?:is|are)?)?"
_EXCEPT = re.compile(
    rf"(?P<set>{_REALS}|[(\[].+[)\]]|\\R),? (?:except(?: for)?|other than|excluding|but not|without) "
    r"(?:(?P<name>[a-z]) ?(?:=|\\ne) ?)?(?P<holes>.+)",
    re.IGNORECASE,
)
_SIDES = {
    "greater than or equal to": r"\ge", "more than or equal to": r"\ge", "at least": r"\ge",
    "no less than": r"\ge",
    "less than or equal to": r"\le", "at most": r"\le", "no more than": r"\le", "no greater than": r"\le",
    "greater than": ">", "more than": ">", "larger than": ">", "less than": "<", "smaller than": "<",
}  # fmt: skip
_COMPARED = re.compile(
    rf"(?:(?P<name>[a-z])(?: (?:is|must be|can be any number))?|{_REALS}){_THAT} (?:strictly )?"
    rf"(?P<side>{'|'.join(_SIDES)}) (?P<end>.+)",
    re.IGNORECASE,
)
_ALL = re.compile(
    r"(?:all|any|every) (?:real(?: numbers?)? )?(?:values of )?(?P<said>[a-z] ?(?:[<>]|\\[lgn]e ).+)"
)  # all x > 3
_SIGNED = {"positive": "x > 0", "negative": "x < 0", "nonnegative": r"x \ge 0", "nonpositive": r"x \le 0"}
_SIGNED_REALS = re.compile(
    rf"(?:the set of )?(?:all )?(?P<sign>{'|'.join(_SIGNED)}) reals?(?: numbers?)?", re.IGNORECASE
)
_HALF_LINES = {
    r"\R^+": r"(0,\infty)", r"\R^{+}": r"(0,\infty)", r"\R_+": r"(0,\infty)", r"\R_{+}": r"(0,\infty)",
    r"\R_{>0}": r"(0,\infty)", r"\R_{\ge 0}": r"[0,\infty)", r"\R^-": r"(-\infty,0)",
    r"\R^{-}": r"(-\infty,0)",
    r"\R_{<0}": r"(-\infty,0)", r"\R_{\le 0}": r"(-\infty,0]", r"\R^*": r"\R\setminus\{0\}",
    r"\R^{*}": r"\R\setminus\{0\}",
}  # fmt: skip


def as_formula(text: str) -> str | None:
    """The formula for a set of reals that a text says in words; None where it says none."""
    half = _HALF_LINES.get(re.sub(r" ", "", text).replace(r"\ge0", r"\ge 0").replace(r"\le0", r"\le 0"))
    if half is not None:
        return half
    plain = text.replace("non-", "non")
    signed = _SIGNED_REALS.fullmatch(plain)
    if signed:
        return _SIGNED[signed["sign"].lower()]
    spared = _EXCEPT.fullmatch(plain)
    if spared:
        whole = spared["set"] if spared["set"][0] in "([\\" else r"\R"
        return rf"{whole} \setminus \{{{spared['holes']}\}}"
    compared = _COMPARED.fullmatch(plain)
    if compared:
        return f"{compared['name'] or 'x'} {_SIDES[compared['side'].lower()]} {compared['end']}"
    every = _ALL.fullmatch(plain)
    return every["said"] if every else None
