r"""Reads one formula, LaTeX or plain, into a tree. A recursive descent:

sum      product { (+ | - | \pm | \mp) product }
product  unary { (* | / | \cdot | nothing) unary }
unary    { - | + | \pm } power
power    postfix [ ^ argument ]
postfix  primary { ! }
primary  number | mixed number | symbol | ( sum ) | | sum | | \frac | \sqrt | function | matrix
"""

from __future__ import annotations

import functools
from fractions import Fraction

from rewards.math.literals import Literals
from rewards.math.matrices import AXES
from rewards.math.tokens import Token, Unreadable, tokenise
from rewards.math.tree import Matrix, Node, Number, Op, Symbol

MAX_DEPTH = 60
FUNCTIONS = frozenset(
    (
        "sin cos tan sec csc cot cis arcsin arccos arctan sinh cosh tanh ln log lg exp sqrt gcd lcm min max "
        "diag"
    ).split()
)
GREEK = frozenset(
    (
        "alpha beta gamma delta epsilon varepsilon zeta eta theta vartheta iota kappa lambda mu nu xi rho "
        "sigma tau upsilon phi varphi chi psi omega Gamma Delta Theta Lambda Xi Pi Sigma Phi Psi Omega "
        "ell hbar"
    ).split()
)
_IN_LETTERS = "arcsin arccos arctan sqrt diag sin cos tan log exp cis ln pi".split()
_CLOSERS = {"(": ")", "[": "]", r"\{": r"\}", r"\lfloor": r"\rfloor", r"\lceil": r"\rceil"}
_TIMES = ("*", r"\cdot", r"\times", r"\ast")
_BETWEEN = {r"\over": "/", r"\choose": "binomial"}
_OVER = ("/", r"\div")


@functools.lru_cache(maxsize=512)
def parse(text: str) -> Node:
    """The tree of a formula. Raises Unreadable where it is none."""
    parser = _Parser(tokenise(text))
    node = parser.whole()
    if parser.peek().kind != "end":
        raise Unreadable(f"{parser.peek().text!r} after a formula")
    return node


class _Parser(Literals):
    def whole(self) -> Node:
        r"""A sum, or two around `\over` or `\choose`."""
        node = self.sum()
        if self.sees(*_BETWEEN):
            node = Op(_BETWEEN[self.take().text], (node, self.sum()))
        return node

    def sum(self) -> Node:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise Unreadable("nested too deep")
        node = self.product()
        while self.sees("+", "-", r"\pm", r"\mp"):
            sign = self.take().text
            right = self.product()
            if sign in (r"\pm", r"\mp"):
                node = Op(sign[1:], (node, right))
            else:
                node = Op("+", (node, right if sign == "+" else Op("neg", (right,))))
        self.depth -= 1
        return node

    def product(self) -> Node:
        node = self.unary()
        while True:
            if self.sees(*_TIMES):
                self.take()
                node = Op("*", (node, self.unary()))
            elif self.sees(*_OVER):
                self.take()
                node = Op("/", (node, self.unary()))
            elif self.starts_primary():
                if self.peek().kind == "number" and self.peek(-1).kind == "number":
                    raise Unreadable("two numbers side by side")
                name = "of" if isinstance(node, Symbol) and self.applied() else "*"
                node = Op(name, (node, self.power()))
            else:
                return node

    def applied(self) -> bool:
        """Whether a letter in brackets follows, as in `x(t)`: a product by its value, a name by its looks."""
        return self.sees("(") and self.peek(1).kind == "letter" and self.peek(2).text == ")"

    def unary(self) -> Node:
        signs = []
        while self.sees("-", "+", r"\pm", r"\mp"):
            signs.append(self.take().text)
            if len(signs) > MAX_DEPTH:
                raise Unreadable("a row of signs")
        node = self.power()
        for sign in reversed(signs):
            if sign != "+":
                node = Op("neg" if sign == "-" else sign[1:], (node,))
        return node

    def power(self) -> Node:
        node = self.postfix()
        if self.sees("^"):
            self.take()
            if self.sees(r"\circ"):
                self.take()
                return Op("*", (node, Op("/", (Symbol("pi"), Number(Fraction(180))))))
            if isinstance(node, Matrix) and self.transposed():
                return Matrix(tuple(zip(*node.rows, strict=True)))
            node = Op("^", (node, self.exponent()))
        return self.factorials(node)

    def transposed(self) -> bool:
        """Takes `T` or `{T}` behind a matrix's ^."""
        braces = self.sees("{")
        if self.peek(int(braces)).text not in ("T", r"\top", r"\intercal"):
            return False
        self.at += 3 if braces else 1
        return True

    def postfix(self) -> Node:
        return self.factorials(self.primary())

    def factorials(self, node: Node) -> Node:
        while self.sees("!"):
            self.take()
            double = self.sees("!") and not self.peek().spaced
            if double:
                self.take()
                if self.sees("!"):
                    raise Unreadable("a triple factorial")
            node = Op("double_factorial" if double else "factorial", (node,))
        return node

    def starts_primary(self) -> bool:
        token = self.peek()
        if token.kind in ("number", "letter"):
            return True
        if token.text == "|":
            return self.bars == 0
        if token.kind == "command":
            name = token.text[1:]
            return name in FUNCTIONS or name in GREEK or name in _PRIMARY_COMMANDS
        return token.text in ("(", "[", "{")

    def exponent(self) -> Node:
        """What follows ^: a group in braces, or a number whole, as plain text has it (`2^10`)."""
        if self.sees("{"):
            return self.braced()
        if self.sees("-", "+"):
            return self.unary()
        return self.primary()

    def argument(self) -> Node:
        r"""What follows a command: a group in braces, or one digit, letter or command (`\frac12`)."""
        if self.sees("{"):
            return self.braced()
        token = self.peek()
        if token.kind == "number" and token.text.isdigit() and len(token.text) > 1:
            first = Token("number", token.text[0], Fraction(int(token.text[0])))
            rest = Token("number", token.text[1:], Fraction(int(token.text[1:])))
            self.tokens[self.at : self.at + 1] = [first, rest]
        return self.primary()

    def braced(self) -> Node:
        self.expect("{")
        node = self.whole()
        self.expect("}")
        return node

    def primary(self) -> Node:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise Unreadable("nested too deep")
        token = self.take()
        if token.kind == "number":
            node = self.number(token)
        elif token.kind == "letter":
            node = self.word(token)
        elif token.kind == "command":
            node = self.command(token.text[1:])
        elif token.text == "{":
            self.at -= 1
            node = self.braced()
        elif token.text in ("(", "["):
            bars, self.bars = self.bars, 0
            node = self.sum()
            self.bars = bars
            self.expect(_CLOSERS[token.text])
        elif token.text == "|":
            self.bars += 1
            node = Op("abs", (self.sum(),))
            self.expect("|")
            self.bars -= 1
        else:
            raise Unreadable(f"{token.text!r} where a value should be")
        self.depth -= 1
        return node

    def word(self, token: Token) -> Node:
        """A letter, or a name of several that stands for a function or for pi."""
        for name in _IN_LETTERS:
            following = [self.peek(k) for k in range(len(name) - 1)]
            letters = token.text + "".join(t.text for t in following)
            if letters == name and all(t.kind == "letter" for t in following):
                self.at += len(name) - 1
                return Symbol("pi") if name == "pi" else self.function(name)
        return self.symbol(token.text)

    def command(self, name: str) -> Node:
        if name in FUNCTIONS:
            return self.function(name)
        if name in GREEK:
            return self.symbol(name)
        if name == "frac":
            return Op("/", (self.argument(), self.argument()))
        if name == "binom":
            return Op("binomial", (self.argument(), self.argument()))
        if name in AXES:
            return Symbol(name)
        if name in _ACCENTS:
            return self.argument()
        if name in ("overline", "bar"):
            return Op("conjugate", (self.argument(),))
        if name == "langle":
            return self.vector()
        if name in ("pi", "infty"):
            return Symbol("pi" if name == "pi" else "oo")
        if name in ("lfloor", "lceil"):
            node = Op("floor" if name == "lfloor" else "ceil", (self.sum(),))
            self.expect(_CLOSERS["\\" + name])
            return node
        if name in ("lvert", "vert"):
            node = Op("abs", (self.sum(),))
            self.expect(r"\rvert" if name == "lvert" else r"\vert")
            return node
        if name == "begin":
            return self.environment()
        raise Unreadable(f"command {name!r}")

    def function(self, name: str) -> Node:
        if name == "sqrt":
            return self.root()
        base: Node | None = None
        power: Node | None = None
        while self.sees("_", "^"):
            if self.take().text == "_":
                base = self.argument()
            else:
                power = self.exponent()
        args = self.arguments()
        inverse = power == Op("neg", (Number(Fraction(1)),))
        if inverse:
            name, power = "arc" + name, None
        if name in ("lg",):
            name, base = "log", Number(Fraction(10))
        node: Node = Op(name, args if base is None else (*args, base))
        if base is not None and name == "log":
            node = Op("/", (Op("ln", args), Op("ln", (base,))))
        elif base is not None:
            raise Unreadable(f"{name} with a subscript")
        return node if power is None else Op("^", (node, power))

    def arguments(self) -> tuple[Node, ...]:
        """In brackets, several by commas; without, the factors up to the next sign or function."""
        if self.sees("(", "[", "{"):
            closer = {"(": ")", "[": "]", "{": "}"}[self.take().text]
            args = [self.sum()]
            while self.sees(","):
                self.take()
                args.append(self.sum())
            self.expect(closer)
            if len(args) == 1 and self.sees("^"):  # ln(x)^2 is read as (ln x)^2 by none of the usual tools
                raise Unreadable("a power after a function's bracket")
            return tuple(args)
        node = self.unary()
        while self.starts_primary() and self.peek().text[1:] not in FUNCTIONS and not self.sees("(", "|"):
            if self.peek().kind == "letter" and self.names_function():
                break
            node = Op("*", (node, self.power()))
        return (node,)

    def names_function(self) -> bool:
        letters = "".join(t.text for t in self.tokens[self.at : self.at + 4] if t.kind == "letter")
        return letters[:3] in FUNCTIONS or letters[:2] == "ln" or letters == "sqrt"

    def root(self) -> Node:
        degree: Node = Number(Fraction(2))
        if self.sees("["):
            self.take()
            degree = self.sum()
            self.expect("]")
        return Op("root", (self.argument(), degree))


_ACCENTS = ("vec", "hat", "widehat", "tilde", "overrightarrow", "mathbf")  # a name with one is the name
_PRIMARY_COMMANDS = frozenset(
    (*_ACCENTS, *AXES, *"frac binom pi infty lfloor lceil lvert begin overline bar langle".split())
)
