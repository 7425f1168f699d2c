"""A place in a list of tokens."""

from __future__ import annotations

from rewards.math.tokens import Token, Unreadable

_END = Token("end", "")


class Cursor:
    """Reads tokens one after the other; `depth` and `bars` count open brackets and open |."""

    def __init__(self, tokens: list[Token]) -> None:
        self.tokens, self.at, self.depth, self.bars = tokens, 0, 0, 0

    def peek(self, ahead: int = 0) -> Token:
        """The token at hand, or one further on; `end` behind the last."""
        return self.tokens[self.at + ahead] if self.at + ahead < len(self.tokens) else _END

    def take(self) -> Token:
        """The token at hand, which is then behind."""
        token = self.peek()
        self.at += 1
        return token

    def sees(self, *texts: str) -> bool:
        """Whether the token at hand is one of these signs or commands."""
        return self.peek().text in texts and self.peek().kind not in ("number", "end")

    def expect(self, text: str) -> None:
        """Takes this sign; raises Unreadable where another stands."""
        if not self.sees(text):
            raise Unreadable(f"{text!r} is missing")
        self.at += 1
