"""Formulas as text: a strict parser, and the spelling that it reads back."""

import re
from dataclasses import dataclass

from evomal.expressions.formula import to_formula
from evomal.expressions.operators import OPERATORS, TERMINALS
from evomal.expressions.tree import (
    MAX_DEPTH,
    MAX_NODES,
    Expression,
    arity_mismatch,
    shortened,
    too_large,
    unknown_symbol,
)
from evomal.foundation.errors import ExpressionError

__all__ = ["MAX_TEXT", "parse", "to_formula", "to_text"]

MAX_TEXT = 100_000
"""No longer text is read."""

_TOKEN = re.compile(r"[(),]|[^\s(),]+")


def parse(text: str) -> Expression:
    """The expression that `text` spells.

    A formula is a terminal (such as `y`, `f`, `1`, `-1`) or ``operator(formula)`` or ``operator(formula, formula)``;
    white space between the pieces means nothing. Text is only read, never run.

    Args:
        text: The formula, of at most `MAX_TEXT` characters.

    Returns:
        The expression, with its arguments in the order of the text.

    Raises:
        ExpressionError: The text is not a formula, or a formula past `MAX_DEPTH` or `MAX_NODES`.

    Example:
        >>> parse("abs( log(mul(y,f)) )").symbol
        'abs'
        >>> parse("abs(lg(f))")
        Traceback (most recent call last):
        evomal.foundation.errors.ExpressionError: unknown name 'lg'; did you mean 'log'? (position 5 of 'abs(lg(f))')
    """
    if not isinstance(text, str):
        raise ExpressionError(f"a formula must be text such as 'mul(y, f)', not {type(text).__name__}")
    if len(text) > MAX_TEXT:
        raise ExpressionError(f"the formula has {len(text)} characters; at most {MAX_TEXT} are read")
    tokens = [_Token(match.group(), match.start()) for match in _TOKEN.finditer(text)]
    if not tokens:
        raise ExpressionError("the formula is empty; write one such as 'mul(y, f)'")
    _check_extent(tokens)
    return _Parser(text, tokens).formula()


def to_text(expression: Expression) -> str:
    """The spelling of an expression that `parse` reads back: the same as ``str(expression)``.

    Args:
        expression: The formula.

    Returns:
        Its one spelling.

    Example:
        >>> to_text(parse("abs(log( mul(y,f) ))"))
        'abs(log(mul(y, f)))'
    """
    return str(expression)


@dataclass(frozen=True, slots=True)
class _Token:
    text: str
    position: int

    @property
    def is_word(self) -> bool:
        return self.text not in ("(", ")", ",", "")


def _check_extent(tokens: list[_Token]) -> None:
    # Before anything is built: brackets nested this little make recursion safe.
    depth = deepest = 0
    for token in tokens:
        depth += {"(": 1, ")": -1}.get(token.text, 0)
        deepest = max(deepest, depth)
    size = sum(token.is_word for token in tokens)
    if deepest > MAX_DEPTH or size > MAX_NODES:
        raise too_large(deepest, size)


class _Parser:
    """Recursive descent over the tokens of one text."""

    def __init__(self, text: str, tokens: list[_Token]) -> None:
        self.text = text
        self.tokens = [*tokens, _Token("", len(text))]
        self.next = 0

    def formula(self) -> Expression:
        expression = self._node()
        if self._peek().text:
            raise self._error(f"the formula is complete before '{shortened(self._peek().text, 40)}'")
        return expression

    def _node(self) -> Expression:
        token = self._peek()
        if not token.is_word:
            raise self._error(f"an operator or leaf is missing {self._before(token)}")
        if token.text not in OPERATORS and token.text not in TERMINALS:
            raise self._error(unknown_symbol(token.text))
        self.next += 1
        called = self._peek().text == "("
        if called and token.text in TERMINALS:  # not even empty brackets
            raise self._error(arity_mismatch(token.text, 1), token)
        children = self._arguments() if called else ()
        if wrong := arity_mismatch(token.text, len(children)):
            raise self._error(wrong, token)
        return Expression(token.text, children)

    def _arguments(self) -> tuple[Expression, ...]:
        self.next += 1
        if self._peek().text == ")":
            self.next += 1
            return ()
        children = [self._node()]
        while self._peek().text == ",":
            self.next += 1
            children.append(self._node())
        if self._peek().text != ")":
            raise self._error(f"')' or ',' is missing {self._before(self._peek())}")
        self.next += 1
        return tuple(children)

    def _peek(self) -> _Token:
        return self.tokens[self.next]

    @staticmethod
    def _before(token: _Token) -> str:
        return f"before '{shortened(token.text, 40)}'" if token.text else "at the end"

    def _error(self, wrong: str, token: _Token | None = None) -> ExpressionError:
        """One sentence: what is wrong, at which character (counted from 1), in which piece of text."""
        position = (token or self._peek()).position
        start, end = max(0, position - 30), position + 30
        piece = ("…" if start else "") + self.text[start:end] + ("…" if end < len(self.text) else "")
        return ExpressionError(f"{wrong} (position {position + 1} of {piece!r})")
