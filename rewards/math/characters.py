"""Unicode's mathematical characters as LaTeX."""

from __future__ import annotations

import re
import unicodedata

_SIGNS = {
    "−": "-", "–": "-", "—": "-", "‐": "-", "‑": "-", "×": r"\times ", "÷": r"\div ", "·": r"\cdot ",
    "⋅": r"\cdot ", "∙": r"\cdot ", "∗": "*", "⁄": "/", "∕": "/", "∶": ":", "∣": "|", "‖": "|",
    "∞": r"\infty ", "≤": r"\le ", "⩽": r"\le ", "≥": r"\ge ", "⩾": r"\ge ", "≠": r"\ne ",
    "≈": r"\approx ", "≡": r"\equiv ",
    "±": r"\pm ", "∓": r"\mp ", "∪": r"\cup ", "∩": r"\cap ", "∅": r"\emptyset ",
    "∈": r"\in ", "∖": r"\setminus ",
    "ℝ": r"\R ", "ℤ": r"\Z ", "ℕ": r"\N ", "ℚ": r"\Q ", "ℂ": r"\C ", "∧": r"\land ", "∨": r"\lor ",
    "°": r"^\circ ", "º": r"^\circ ", "˚": r"^\circ ", "∠": r"\angle ", "⊥": r"\perp ", "→": r"\to ",
    "⌊": r"\lfloor ", "⌋": r"\rfloor ", "⌈": r"\lceil ", "⌉": r"\rceil ", "⟨": r"\langle ", "⟩": r"\rangle ",
    "〈": r"\langle ", "〉": r"\rangle ", "’": "'", "‘": "'", "′": "'", "″": "''",
    "…": r"\ldots ", "⋯": r"\ldots ",
    "“": '"', "”": '"', "∫": r"\int ", "∑": r"\sum ", "∏": r"\prod ",
}  # fmt: skip
_GREEK = {
    "Α": "A", "α": r"\alpha ", "β": r"\beta ", "γ": r"\gamma ", "δ": r"\delta ", "ε": r"\epsilon ",
    "ζ": r"\zeta ", "η": r"\eta ", "θ": r"\theta ", "κ": r"\kappa ", "λ": r"\lambda ", "ν": r"\nu ",
    "ξ": r"\xi ", "π": r"\pi ", "ρ": r"\rho ", "σ": r"\sigma ", "τ": r"\tau ", "φ": r"\phi ", "ϕ": r"\phi ",
    "χ": r"\chi ", "ψ": r"\psi ", "ω": r"\omega ", "Γ": r"\Gamma ", "Δ": r"\Delta ", "Θ": r"\Theta ",
    "Λ": r"\Lambda ", "Π": r"\Pi ", "Σ": r"\Sigma ", "Φ": r"\Phi ", "Ψ": r"\Psi ", "Ω": r"\Omega ",
}  # fmt: skip
_TABLE = str.maketrans(_SIGNS | _GREEK)
_RAISED, _LOWERED = "⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺ⁿⁱ", "₀₁₂₃₄₅₆₇₈₉₋₊ₙᵢ"
_RUNS = ((re.compile(f"[{_RAISED}]+"), "^"), (re.compile(f"[{_LOWERED}]+"), "_"))
_LEVEL = str.maketrans(_RAISED + _LOWERED, "0123456789-+ni" * 2)
_ROOT = re.compile(r"(?P<sign>[√∛∜])\s*(?P<of>\d+(?:\.\d+)?|[A-Za-z]|\([^()]*\))")
_DEGREES = {"√": "", "∛": "[3]", "∜": "[4]"}


_ACCENT = re.compile(
    r"\\(?P<mark>['`^\"~]|[cHvu](?=\{))\s*(?:\{(?P<held>\\?[A-Za-z])\}|(?<=[A-Za-z]..)(?P<bare>[A-Za-z]))"
)
_COMBINING = {"'": "\u0301", "`": "\u0300", "^": "\u0302", '"': "\u0308", "~": "\u0303", "c": "\u0327"}
_COMBINING |= {"H": "\u030b", "v": "\u030c", "u": "\u0306"}
_LETTERS = {"L": "Ł", "l": "ł", "AA": "Å", "aa": "å", "ss": "ß", "O": "Ø", "o": "ø", "AE": "Æ", "ae": "æ"}
_LETTER = re.compile(rf"\\({'|'.join(_LETTERS)})(?![A-Za-z])(?:\{{\}}|\s)?")


def as_latex(text: str) -> str:
    """The text with its mathematical characters as commands, and all others in their compatible form."""
    text = _LETTER.sub(lambda m: _LETTERS[m[1]], _ACCENT.sub(_accented, text))
    if text.isascii():
        return text
    for run, command in _RUNS:
        text = run.sub(lambda m, c=command: f"{c}{{{m[0].translate(_LEVEL)}}}", text)  # type: ignore[misc]
    text = "".join(_fraction(sign) if unicodedata.category(sign) == "No" else sign for sign in text)
    text = _ROOT.sub(lambda m: rf"\sqrt{_DEGREES[m['sign']]}{{{m['of']}}}", text)
    return unicodedata.normalize("NFKC", text.translate(_TABLE)).translate(_TABLE)


def _accented(found: re.Match[str]) -> str:
    r"""`\'{e}` as é."""
    letter = (found["held"] or found["bare"]).lstrip("\\")
    return unicodedata.normalize("NFC", letter + _COMBINING[found["mark"]])


def _fraction(sign: str) -> str:
    r"""`½` as `\frac{1}{2}`; a sign that is no fraction stays."""
    parts = re.fullmatch(r"<fraction> (.+) 2044 (.+)", unicodedata.decomposition(sign))
    if parts is None:
        return sign
    top, bottom = ("".join(chr(int(code, 16)) for code in part.split()) for part in parts.groups())
    return rf"\frac{{{top}}}{{{bottom}}}"
