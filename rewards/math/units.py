"""Units after, and currencies around, a value: what they are, and how they convert."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

F = Fraction
Dimensions = tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Unit:
    """`factor` times the base units in `dimensions`; a noun that is no known unit is one of its own."""

    factor: Fraction
    dimensions: Dimensions

    def is_(self, name: str) -> bool:
        """Whether it is made of this base unit alone."""
        return self.dimensions == ((name, 1),)


_BASE: dict[str, tuple[Fraction, dict[str, int]]] = {}


def _define(names: str, factor: Fraction | int, **dimensions: int) -> None:
    for name in names.split():
        _BASE[name] = (F(factor), dimensions)


_define("m meter metre", 1, m=1)
_define("inch in", F(254, 10000), m=1)
_define("ft foot feet", F(3048, 10000), m=1)
_define("yd yard", F(9144, 10000), m=1)
_define("mi mile", F(1609344, 1000), m=1)
_define("g gram gramme", F(1, 1000), kg=1)
_define("t ton tonne", 1000, kg=1)
_define("lb lbs pound", F(45359237, 10**8), kg=1)
_define("oz ounce", F(45359237, 16 * 10**8), kg=1)
_define("s sec second", 1, s=1)
_define("min minute", 60, s=1)
_define("h hr hour", 3600, s=1)
_define("d day", 86400, s=1)
_define("week wk", 604800, s=1)
_define("month", 1, month=1)
_define("year yr", 12, month=1)
_define("L l liter litre", F(1, 1000), m=3)
_define("gallon gal", F(231) * F(254, 10000) ** 3, m=3)
_define("quart qt", F(231, 4) * F(254, 10000) ** 3, m=3)
_define("pint pt", F(231, 8) * F(254, 10000) ** 3, m=3)
_define("cup", F(231, 16) * F(254, 10000) ** 3, m=3)
_define("unit", 1, unit=1)
_define("ha hectare", 10000, m=2)
_define("acre", F(40468564224, 10**7), m=2)
_define("mph", F(44704, 100000), m=1, s=-1)
_define("kph kmh", F(1000, 3600), m=1, s=-1)
_define("N newton", 1, kg=1, m=1, s=-2)
_define("J joule", 1, kg=1, m=2, s=-2)
_define("W watt", 1, kg=1, m=2, s=-3)
_define("Pa pascal", 1, kg=1, m=-1, s=-2)
_define("Hz hertz", 1, s=-1)
_define("V volt", 1, kg=1, m=2, s=-3, A=-1)
_define("A amp ampere", 1, A=1)
_define("C coulomb", 1, A=1, s=1)
_define("K kelvin", 1, K=1)
_define("celsius", 1, celsius=1)
_define("fahrenheit", 1, fahrenheit=1)
_define("mol mole", 1, mol=1)
_define("eV", 1, eV=1)
_define("% percent", F(1, 100), percent=1)
_define("deg degree ^\\circ", 1, deg=1)
_define("'", F(1, 60), deg=1)
_define("rad radian", 1, rad=1)
_define("USD dollar buck", 1, USD=1)
_define("cent ¢", F(1, 100), USD=1)
_define("EUR € euro", 1, EUR=1)
_define("GBP £", 1, GBP=1)
_define("pence", F(1, 100), GBP=1)
_define("INR ₹ Rs rupee", 1, INR=1)
_define("JPY ¥ yen", 1, JPY=1)
_define("CNY yuan", 1, CNY=1)
_define("KRW ₩", 1, KRW=1)
_define("thousand", 1000)
_define("million", 10**6)
_define("billion", 10**9)
_define("trillion", 10**12)

_PREFIXES = {"n": -9, "µ": -6, "μ": -6, "m": -3, "c": -2, "d": -1, "k": 3, "M": 6, "G": 9}
_LONG_PREFIXES = {
    "nano": -9,
    "micro": -6,
    "milli": -3,
    "centi": -2,
    "deci": -1,
    "kilo": 3,
    "mega": 6,
    "giga": 9,
}
_PREFIXED = ("m", "g", "s", "L", "l", "N", "J", "W", "Pa", "Hz", "V", "A", "eV", "mol")
_LONG_PREFIXED = (
    "meter",
    "metre",
    "gram",
    "second",
    "liter",
    "litre",
    "newton",
    "joule",
    "watt",
    "pascal",
    "hertz",
    "volt",
)
_CURRENCY = ("USD", "EUR", "GBP", "INR", "JPY", "CNY", "KRW", "Rs", "€", "£", "₹", "¥", "₩")
_NO_NOUN = frozenset(
    (
        "or and not maybe perhaps possibly about but is are was were to more less than between either "
        "probably if when from no unknown plus minus times over approximately roughly around nor neither "
        "none also because for the a an all any both only just exactly at most least which where with "
        "without since so sin cos tan log ln exp sqrt pi mod choose base be by it that this otherwise "
        "else vs"
    ).split()
)
_FILLERS = frozenset("old away long tall wide high deep each total".split())
_IRREGULAR = {
    "people": "person",
    "children": "child",
    "men": "man",
    "women": "woman",
    "mice": "mouse",
    "feet": "foot",
}
_WORD = re.compile(r"'(?!')|[A-Za-zµμ]+\.?|[%¢€£₹¥₩]|\^\s*\\circ|\^\s*\{?\s*-?\s*\d\s*\}?|[/*()]|\\cdot|\s+")


_TEMPERATURE = re.compile(r"(?:\^\s*\\circ|\bdeg(?:rees?)?\b)\s*(C|F|[Cc]elsius|[Ff]ahrenheit)\b")
_TRIGONOMETRY = re.compile(r"(?:sin|cos|tan|sec|csc|cot|cis)(?![a-z])")


def singular(word: str) -> str:
    """A noun's singular, near enough to compare two spellings of it."""
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if re.search(r"(?:ch|sh|x|ss)es$", word):
        return word[:-2]
    return word[:-1] if word.endswith("s") and not word.endswith("ss") and len(word) > 2 else word


def known_unit(word: str) -> tuple[Fraction, dict[str, int]] | None:
    """Factor and dimensions of one unit's name, with prefix and plural; None for other words."""
    for form in dict.fromkeys((word, word.lower(), singular(word), singular(word.lower()))):
        if form in _BASE and (len(form) > 2 or form == word):
            return _BASE[form]
        for table, bases in ((_PREFIXES, _PREFIXED), (_LONG_PREFIXES, _LONG_PREFIXED)):
            for prefix, power in table.items():
                base = form.removeprefix(prefix)
                if base != form and base in bases:
                    factor, dimensions = _BASE[base]
                    return factor * F(10) ** power, dimensions
    return None


def read_unit(text: str) -> Unit | None:
    """The unit a text names (`cm^2`, `square feet`, `km/h`, `apples`); None where it names none."""
    text = _TEMPERATURE.sub(lambda m: "celsius" if m[1][0] in "cC" else "fahrenheit", text)
    factor, dimensions = F(1), dict[str, int]()
    sign, next_power, noun = 1, 1, list[str]()
    last: dict[str, int] = {}
    last_factor, at = F(1), 0
    while at < len(text):
        match = _WORD.match(text, at)
        if match is None:
            return None
        at, token = match.end(), match[0].strip().rstrip(".")
        if not token or token in ("(", ")", "*", r"\cdot"):
            continue
        word = token.lower()
        power = _power(token)
        if power is not None:
            if not last:
                return None
            extra = power - 1
            factor *= last_factor**extra
            dimensions = _plus(dimensions, last, extra)
        elif token == "/" or word == "per":
            sign = -1
        elif word in ("square", "sq", "cubic", "cu"):
            next_power = 2 if word in ("square", "sq") else 3
        elif word in ("squared", "cubed"):
            extra = 1 if word == "squared" else 2
            factor *= last_factor**extra
            dimensions = _plus(dimensions, last, extra)
        elif word == "of" or (word in _FILLERS and (last or noun)):
            break
        else:
            known = known_unit("^\\circ" if token.startswith("^") else token)
            if known is None:
                if word in _NO_NOUN or len(word) < 3:
                    return None
                noun.append(word)
                continue
            last_factor = known[0] ** (sign * next_power)
            last = {name: p * sign * next_power for name, p in known[1].items()}
            factor *= last_factor
            dimensions = _plus(dimensions, last, 1)
            next_power = 1
    if len(noun) > 3:
        return None
    if noun:
        dimensions = _plus(dimensions, {" ".join([*noun[:-1], singular(noun[-1])]): sign}, 1)
    if not dimensions and factor == 1:
        return None
    return Unit(factor, tuple(sorted((name, p) for name, p in dimensions.items() if p)))


def _power(token: str) -> int | None:
    match = re.fullmatch(r"\^\s*\{?\s*(-?)\s*(\d)\s*\}?", token)
    return int(match[1] + match[2]) if match else None


def _plus(a: dict[str, int], b: dict[str, int], times: int) -> dict[str, int]:
    return {name: a.get(name, 0) + times * b.get(name, 0) for name in a | b}


_HEAD = re.compile(
    rf"(?P<sign>-?)\s*(?P<money>{'|'.join(_CURRENCY)})\.?\s*(?P<value>-?\s*[\d.\\].*)", re.DOTALL
)


MAX_UNIT = 120  # characters: each place where a unit may begin is tried to the end of the text


_BRACKETED = re.compile(r"^(.*\d) ?\(([A-Za-z][A-Za-z ]+)\)$")  # 9 (apples)


_STACKED = re.compile(
    r"(?<=[\d}]) ?\\frac\{( ?[A-Za-zµ]+[^{}]*)\}\{( ?[A-Za-zµ]+[^{}]*)\}$"
)  # 3 \frac{ m }{ s }


def _in_a_row(stacked: re.Match[str]) -> str:
    """A unit over another with a stroke between; letters without a space or a fellow are symbols."""
    parts = [part.strip() for part in stacked.groups()]
    as_text = any(part != raw or len(part) > 1 for part, raw in zip(parts, stacked.groups(), strict=True))
    known = all(known_unit(word) is not None for part in parts for word in re.findall("[A-Za-zµ]+", part))
    return f" {parts[0]}/{parts[1]}" if as_text and known else stacked[0]


def split_unit(text: str) -> tuple[str, Unit | None]:
    """A spelled text as value and unit. The value is the whole text where no unit is found at its end."""
    text = _STACKED.sub(_in_a_row, _BRACKETED.sub(r"\1 \2", text))
    money = _HEAD.fullmatch(text)
    if money is not None:
        value, unit = split_unit(money["value"])
        if unit is not None and dict(unit.dimensions) not in ({}, {"USD": 1}):
            return text, None
        factor = unit.factor if unit is not None and not unit.dimensions else F(1)
        base = _BASE[money["money"]]
        return money["sign"] + value, Unit(base[0] * factor, tuple(base[1].items()))
    for start in _starts(text):
        value, tail = text[:start].rstrip(), text[start:]
        spaced = text[start - 1].isspace()
        unit = read_unit(tail)
        if unit is not None and _fits(value, tail.strip(), spaced, unit):
            return (value.replace("^\\circ", "") if unit.is_("deg") else value), unit
    return text, None


def _starts(text: str) -> list[int]:
    """Where a unit may begin: at a sign of its own, or at a word that no letter or backslash precedes."""
    pattern = re.compile(r"(?<![A-Za-z\\µμ])[A-Za-zµμ]|[%¢€£₹¥₩/']|\^\s*\\circ")
    starts = [match.start() for match in pattern.finditer(text) if text[: match.start()].strip()]
    return [start for start in starts if len(text) - start <= MAX_UNIT]


def _fits(value: str, unit_text: str, spaced: bool, unit: Unit) -> bool:
    """Whether the value can carry the unit: a letter next to a digit multiplies, and is no unit."""
    if unit.is_("deg") and _TRIGONOMETRY.search(value):
        return False
    if value.endswith(("_", "^", "=", "+", "*", "<", ">", "\\", ",", "{", "(")):
        return False
    if value.lower() in ("a", "an", "the"):
        return False  # an article
    first = unit_text.split()[0].split("^")[0].split("/")[0]
    if unit_text.startswith("'"):
        return value[-1].isdigit()
    if unit_text.startswith(("%", "¢", "€", "£", "₹", "¥", "₩", "^")):
        return True
    if unit_text.startswith("/"):
        return re.match(r"/\s*[A-Za-z]{2}", unit_text) is not None
    if not spaced and (len(first) < 2 or known_unit(first) is None) and len(first) < 4:
        return False
    return value[-1].isdigit() or value[-1] in ")}].!" or (value[-1].isalpha() and spaced)


_PART = re.compile(r"\s*(?:,|and\b)?\s*(?P<value>\d+(?:\.\d+)?)\s*(?P<unit>[A-Za-z]+\.?)")


_ARC = re.compile(r"(\d+) ?\^\\circ ?(\d+) ?'(?: ?(\d+) ?(?:''|\"))?")


def compound(text: str) -> tuple[Fraction, Unit] | None:
    """`1 hour 30 minutes` or `5 ft 3 in` as one value in the first unit; None for other texts."""
    arc = _ARC.fullmatch(text)
    if arc:
        return F(arc[1]) + F(arc[2]) / 60 + F(arc[3] or 0) / 3600, Unit(F(1), (("deg", 1),))
    total, first, previous, at, count = F(0), None, None, 0, 0
    while at < len(text):
        match = _PART.match(text, at)
        unit = read_unit(match["unit"]) if match else None
        if match is None or unit is None or known_unit(match["unit"].rstrip(".")) is None:
            return None
        if first is None:
            first = unit
        elif unit.dimensions != first.dimensions or unit.factor >= previous.factor:  # type: ignore[union-attr]
            return None
        total += F(match["value"]) * unit.factor
        previous, at, count = unit, match.end(), count + 1
    if first is None or count < 2:
        return None
    return total / first.factor, first
