"""The value of an expression, and whether two expressions have the same one.

Rational expressions are computed exactly, others to `DIGITS` digits. Expressions with variables are compared
at fixed points: two that differ as functions agree at none but by accident, and hardly at several (Schwartz
1980, J. ACM 27, lemma 1, for polynomials).
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

from rewards.math.points import bends_of, points
from rewards.math.tree import Matrix, Node, Number, Op, Symbol, symbols, walk

DIGITS = 80
AGREE = 60  # digits in which equal values agree
MANY_DIGITS = 400  # tells a value that vanishes from one that is only small
MAX_BITS = 100_000  # of an exact value
MAX_MAGNITUDE = 64  # bits of an exponent, or of a factorial's argument
MAX_PERIOD = 10_000  # bits of a trigonometric argument
MAX_NODES = 4000


class Unknown(ValueError):
    """The value cannot be computed: too large, undefined, or not a number."""


class TooLarge(Unknown):
    """The value is finite and beyond all that is computed here."""


def exact(node: Node) -> Fraction:
    """The rational value of an expression. Raises Unknown where it has none, or a far too long one."""
    if isinstance(node, Number):
        return node.value
    if not isinstance(node, Op):
        raise Unknown("not rational")
    return _exact_op(node.name, [exact(arg) for arg in node.args])


def _exact_op(name: str, args: list[Fraction]) -> Fraction:
    if name == "^":
        return _exact_power(*args)
    operation = _EXACT.get(name)
    if operation is None:
        raise Unknown(f"{name} is not computed exactly")
    try:
        value = operation(*args)
    except (ZeroDivisionError, TypeError, ValueError) as error:
        raise Unknown(str(error)) from None
    if value.numerator.bit_length() + value.denominator.bit_length() > MAX_BITS:
        raise Unknown("too long")
    return value


def _exact_power(base: Fraction, power: Fraction) -> Fraction:
    if power.denominator != 1 or (base == 0 and power <= 0):
        raise Unknown("not a whole power")
    bits = max(abs(base.numerator).bit_length(), base.denominator.bit_length())
    if abs(power) * bits > MAX_BITS:
        raise Unknown("too long")
    return base ** int(power)


def _whole(value: Fraction) -> int:
    if value.denominator != 1:
        raise Unknown("not whole")
    return int(value)


def _factorial(value: Fraction) -> Fraction:
    if not 0 <= value <= 2000:
        raise Unknown("factorial out of range")
    return Fraction(math.factorial(_whole(value)))


def _double_factorial(value: Fraction) -> Fraction:
    if not 0 <= value <= 2000:
        raise Unknown("double factorial out of range")
    return Fraction(math.prod(range(_whole(value), 0, -2)))


def _binomial(n: Fraction, k: Fraction) -> Fraction:
    if not 0 <= k <= n <= 10_000:
        raise Unknown("binomial out of range")
    return Fraction(math.comb(_whole(n), _whole(k)))


def _root(value: Fraction, degree: Fraction) -> Fraction:
    """The root of a square; of others it is irrational."""
    if degree != 2 or value < 0:
        raise Unknown("no square root")
    top, bottom = math.isqrt(value.numerator), math.isqrt(value.denominator)
    if top * top != value.numerator or bottom * bottom != value.denominator:
        raise Unknown("irrational")
    return Fraction(top, bottom)


_EXACT: dict[str, Callable[..., Fraction]] = {
    "+": lambda a, b: a + b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b,
    "neg": lambda a: -a,
    "abs": abs,
    "floor": lambda a: Fraction(math.floor(a)),
    "ceil": lambda a: Fraction(math.ceil(a)),
    "factorial": _factorial,
    "double_factorial": _double_factorial,
    "binomial": _binomial,
    "root": _root,
    "gcd": lambda *v: Fraction(math.gcd(*map(_whole, v))),
    "lcm": lambda *v: Fraction(math.lcm(*map(_whole, v))),
    "min": min,
    "max": max,
}


def numeric(node: Node, at: Mapping[str, Any], digits: int = DIGITS) -> Any:
    """The value as an mpmath number to `digits` digits, variables having the values `at`."""
    mp = context(digits)
    try:
        value = _numeric(node, at, mp)
        if not mp.isfinite(value):
            raise Unknown("not finite")
    except Unknown:
        raise
    except (ValueError, ZeroDivisionError, OverflowError, TypeError, ArithmeticError) as error:
        raise Unknown(str(error)) from None
    return value


@functools.lru_cache(maxsize=4)
def context(digits: int) -> Any:
    """The mpmath context that computes with so many digits."""
    from mpmath import MPContext

    mp = MPContext()
    mp.dps = digits
    return mp


def _numeric(node: Node, at: Mapping[str, Any], mp: Any) -> Any:
    if isinstance(node, Number):
        return mp.mpf(node.value.numerator) / node.value.denominator
    if isinstance(node, Symbol):
        if node.name in at:
            return at[node.name]
        if node.name not in ("pi", "e", "i"):
            raise Unknown(f"no value for {node.name}")
        return {"pi": +mp.pi, "e": +mp.e, "i": mp.j}[node.name]
    if isinstance(node, Matrix):
        raise Unknown("a matrix")
    if node.name == "cases":
        return _case(node, at, mp)
    args = [_numeric(arg, at, mp) for arg in node.args]
    if node.name in ("^", "exp", "factorial", "double_factorial", "binomial", "sinh", "cosh", "tanh"):
        _limit(args, MAX_MAGNITUDE, mp)
    elif node.name in ("sin", "cos", "tan", "sec", "csc", "cot", "cis", "floor", "ceil"):
        _limit(args, MAX_PERIOD, mp)
    operation = _operations(mp).get(node.name)
    if operation is None:
        raise Unknown(f"{node.name} is not computed")
    return operation(*args)


def _case(node: Op, at: Mapping[str, Any], mp: Any) -> Any:
    """The value of the first case whose condition holds."""
    for value, condition in zip(node.args[::2], node.args[1::2], strict=True):
        if _holds(condition, at, mp):
            return _numeric(value, at, mp)
    raise Unknown("no case holds")


def _holds(condition: Node, at: Mapping[str, Any], mp: Any) -> bool:
    assert isinstance(condition, Op)  # as the parser makes them
    if condition.name == "and":
        return all(_holds(part, at, mp) for part in condition.args)
    left, right = (_numeric(arg, at, mp) for arg in condition.args)
    return bool(_COMPARE[condition.name](left, right))


_COMPARE = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
    "=": operator.eq, "!=": operator.ne,
}  # fmt: skip


def _limit(args: list[Any], bits: int, mp: Any) -> None:
    """Refuses what would take for ever: the last argument is the exponent, or the only one."""
    if args[-1] and mp.isfinite(args[-1]) and mp.mag(args[-1]) > bits:
        raise TooLarge("too large")


@functools.lru_cache(maxsize=4)
def _operations(mp: Any) -> dict[str, Callable[..., Any]]:
    table: dict[str, Callable[..., Any]] = {
        "+": lambda a, b: a + b,
        "*": lambda a, b: a * b,
        "of": lambda a, b: a * b,
        "/": lambda a, b: a / b,
        "neg": lambda a: -a,
        "^": mp.power,
        "abs": abs,
        "root": lambda a, n: _real_root(a, n, mp),
        "factorial": mp.factorial,
        "double_factorial": mp.fac2,
        "binomial": mp.binomial,
        "arcsin": mp.asin,
        "arccos": mp.acos,
        "arctan": mp.atan,
        "arcsinh": mp.asinh,
        "arccosh": mp.acosh,
        "arctanh": mp.atanh,
        "arccot": mp.acot,
        "arcsec": mp.asec,
        "arccsc": mp.acsc,
        "log": mp.ln,
        "cis": lambda a: mp.cos(a) + mp.j * mp.sin(a),
        "conjugate": mp.conj,
        "min": min,
        "max": max,
    }
    for name in (
        "sin",
        "cos",
        "tan",
        "sec",
        "csc",
        "cot",
        "sinh",
        "cosh",
        "tanh",
        "ln",
        "exp",
        "floor",
        "ceil",
    ):
        table[name] = getattr(mp, name)
    return table


def _real_root(value: Any, degree: Any, mp: Any) -> Any:
    """The root; of a negative number the odd root is the real one, as it is written in school."""
    if mp.im(value) == 0 and mp.re(value) < 0 and mp.isint(degree) and int(mp.re(degree)) % 2:
        return -mp.power(-mp.re(value), 1 / degree)
    return mp.sqrt(value) if degree == 2 else mp.power(value, 1 / degree)


def same_value(a: Node, b: Node) -> bool:
    """Whether two expressions have the same value, for all values of their variables.

    Raises Unknown where no value can be computed on either side.
    """
    names = symbols(a)
    if names != symbols(b):
        return _vanish_in(a, b, names ^ symbols(b)) if len(names ^ symbols(b)) < 3 else False
    if sum(1 for _ in walk(a)) + sum(1 for _ in walk(b)) > MAX_NODES:
        return a == b
    if not names:
        return _same_constant(a, b)
    compared = _compared(a, b, names)
    if len(compared) < 3:
        raise Unknown("defined at too few points")
    return all(compared)


def _compared(a: Node, b: Node, names: frozenset[str]) -> list[bool]:
    """Whether the two agree at each of the points where both have a value."""
    places = points(names, context(DIGITS), bends_of(a, b))
    return [same for at in places if (same := _agree_at(a, b, at)) is not None]


def _vanish_in(a: Node, b: Node, extra: frozenset[str]) -> bool:
    """Whether the two are equal although one has variables that the other has not: they cancel out."""
    compared = _compared(a, b, symbols(a) | symbols(b))
    return len(compared) >= 3 and all(compared)


def _same_constant(a: Node, b: Node) -> bool:
    if Symbol("oo") in (a, b) or Op("neg", (Symbol("oo"),)) in (a, b):
        return a == b
    rational: list[Fraction | None] = []
    for node in (a, b):
        try:
            rational.append(exact(node))
        except Unknown:
            rational.append(None)
    if None not in rational:
        return rational[0] == rational[1]
    close = _close(numeric(a, {}), numeric(b, {}), AGREE)
    if close is None:  # one of them all but vanishes: look closer
        close = _close(numeric(a, {}, MANY_DIGITS), numeric(b, {}, MANY_DIGITS), AGREE)
    return bool(close)


def _close(a: Any, b: Any, digits: int) -> bool | None:
    """Whether two values agree; None where the larger is so small that it may be zero with rounding."""
    scale = max(abs(a), abs(b))
    if scale == 0 or abs(a - b) <= scale * type(scale)(10) ** -digits:
        return True
    return None if scale < type(scale)(10) ** -digits else False


def _agree_at(a: Node, b: Node, at: Mapping[str, Any]) -> bool | None:
    """Whether both have the same value at a point; None where one is undefined, or leaves the real line."""
    try:
        left, right = numeric(a, at), numeric(b, at)
    except Unknown:
        return None
    imaginary = any(isinstance(n, Symbol) and n.name == "i" for side in (a, b) for n in walk(side))
    mp = context(DIGITS)
    if not imaginary and (_imaginary(left, mp) or _imaginary(right, mp)):
        return None
    scale = max(abs(left), abs(right))
    return bool(abs(left - right) <= max(scale * mp.mpf(10) ** -40, mp.mpf(10) ** -70))


def _imaginary(value: Any, mp: Any) -> bool:
    return bool(abs(mp.im(value)) > mp.mpf(10) ** -40 * max(1, abs(value)))
