"""Formulas for people: readable text and LaTeX, with every weight φ where it is applied."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from evomal.expressions.evaluate import check_weights
from evomal.expressions.operators import (
    ANY,
    ATOM,
    EPSILON,
    OPERATORS,
    POWER,
    PRODUCT,
    TERMINALS,
    Notation,
    Operator,
    Terminal,
)
from evomal.expressions.tree import Expression

ASCII = str.maketrans({"·": "*", "²": "**2", "√": "sqrt", "ε": repr(EPSILON)})


def activated(formula: str, output_activation: str) -> str:
    """A printed formula with its output activation (Section 3.1.3): ``identity`` is not shown."""
    return formula if output_activation == "identity" else f"{output_activation}({formula})"


def scaled(formula: str, scale: float, digits: int | None = None) -> str:
    """A printed formula with the scale that it is multiplied by; 1 is not shown.

    Example:
        >>> scaled("(y - f)²", 0.123456, digits=3)
        '0.123·((y - f)²)'
    """
    if scale == 1:
        return formula
    return f"{plain_number(scale, digits)}·({formula})"


def scaled_latex(latex: str, scale: float, digits: int | None = 3) -> str:
    r"""A formula in LaTeX with the scale that it is multiplied by; 1 is not shown.

    Example:
        >>> print(scaled_latex("y", 0.00001, digits=3))
        1 \cdot 10^{-5} \left(y\right)
    """
    return latex if scale == 1 else rf"{latex_number(scale, digits)} \left({latex}\right)"


def activated_latex(latex: str, output_activation: str) -> str:
    """A formula in LaTeX with its output activation; ``identity`` is not shown."""
    if output_activation == "identity":
        return latex
    return rf"\operatorname{{{output_activation}}}\left({latex}\right)"


def plain_number(value: float, digits: int | None = None) -> str:
    """A number of a printed formula; without `digits` it reads back as the same float."""
    text = repr(value) if digits is None else f"{value:.{digits}g}"
    return text.removesuffix(".0")


def latex_number(value: float, digits: int | None = None) -> str:
    """The same in LaTeX, where an exponent is a power of ten."""
    mantissa, _, exponent = plain_number(value, digits).partition("e")
    return rf"{mantissa} \cdot 10^{{{int(exponent)}}}" if exponent else mantissa


def to_formula(
    expression: Expression,
    weights: Sequence[float] | None = None,
    digits: int | None = None,
    *,
    ascii: bool = False,
) -> str:
    """The formula as it is computed, in ordinary notation.

    Each argument is multiplied by the weight of its edge; nothing multiplies the root. A weight that prints
    as 1 is left out, and a weight on a constant is printed as their product. ε is 1e-7 (D1).

    Args:
        expression: The formula.
        weights: One number per edge, in pre-order of the child node; None leaves all out (φ = 1).
        digits: Significant digits of the weights; None prints each so that it reads back as the same float.
        ascii: Write ``*``, ``**2``, ``sqrt`` and ``1e-07`` for ``·``, ``²``, ``√`` and ``ε``: Python's
            notation.

    Returns:
        The formula, with brackets that leave one reading only.

    Raises:
        ExpressionError: The weights do not fit the expression.

    Example:
        >>> from evomal.expressions import parse
        >>> to_formula(parse("abs(log(mul(y, f)))"), [1.02, 0.98, 1.1, 1.0])
        'abs(1.02·log(abs(0.98·((1.1·y)·f)) + ε))'
        >>> to_formula(parse("square(sub(y, f))"), [1, 0.5, -2.25], digits=2, ascii=True)
        '(0.5*y - (-2.2*f))**2'

    Source: Raymond et al. 2023, Section 3.2 and Fig. 3.
    """
    style = _Style(
        notation=lambda operator: operator.printed,
        leaf=lambda terminal: terminal.name,
        number=lambda value: plain_number(value, digits),
        times="·",
        brackets=("(", ")"),
    )
    text = _written(expression, weights, style)
    return text.translate(ASCII) if ascii else text


def to_latex(expression: Expression, weights: Sequence[float] | None = None, digits: int | None = 3) -> str:
    r"""The formula as it is computed, in LaTeX: `f` is the base model's output, `prior` π and `progress` t.

    Args:
        expression: The formula.
        weights: One number per edge, in pre-order of the child node; None leaves all out (φ = 1).
        digits: Significant digits of the weights; None prints each so that it reads back as the same float.

    Returns:
        LaTeX for math mode, without dollar signs.

    Raises:
        ExpressionError: The weights do not fit the expression.

    Example:
        >>> from evomal.expressions import parse
        >>> print(to_latex(parse("abs(mul(y, f))"), [1.0, 2.0, 0.98765]))
        \left|2\,y \cdot 0.988\,f_\theta(x)\right|
    """
    style = _Style(
        notation=lambda operator: operator.latex,
        leaf=lambda terminal: terminal.latex,
        number=lambda value: latex_number(value, digits),
        times=r"\,",
        brackets=(r"\left(", r"\right)"),
    )
    return _written(expression, weights, style)


@dataclass(frozen=True, slots=True)
class _Style:
    notation: Callable[[Operator], Notation]
    leaf: Callable[[Terminal], str]
    number: Callable[[float], str]
    times: str
    brackets: tuple[str, str]


@dataclass(frozen=True, slots=True)
class _Piece:
    """Something written, and how tightly it holds together."""

    text: str
    level: int

    def within(self, slot: int, style: _Style) -> str:
        return self.text if self.level >= slot else self.text.join(style.brackets)


def _written(expression: Expression, weights: Sequence[float] | None, style: _Style) -> str:
    numbers = (1.0,) * expression.edges if weights is None else check_weights(expression, weights)
    return _piece(expression, iter(numbers), style).text


def _piece(node: Expression, weights: Iterator[float], style: _Style) -> _Piece:
    """The written form of a node; takes the weights of the edges below it, in pre-order."""
    if not node.children:
        terminal = TERMINALS[node.symbol]
        return _Piece(style.leaf(terminal), ATOM) if terminal.constant is None else _constant(terminal.constant, style)
    notation = style.notation(OPERATORS[node.symbol])
    text = notation.template
    for place, (child, slot) in enumerate(zip(node.children, notation.slots, strict=True), start=1):
        text = text.replace(f"#{place}", _weighted(child, weights, style).within(slot, style))
    return _Piece(text, notation.level)


def _weighted(child: Expression, weights: Iterator[float], style: _Style) -> _Piece:
    weight = next(weights)
    fixed = None if child.children else TERMINALS[child.symbol].constant
    if fixed is not None:
        return _constant(weight * fixed, style)
    piece = _piece(child, weights, style)
    factor = _constant(weight, style)
    if factor.text == "1":
        return piece
    return _Piece(factor.text + style.times + piece.within(POWER, style), min(factor.level, PRODUCT))


def _constant(value: float, style: _Style) -> _Piece:
    # A leading minus sign is looser than a sum: a negative number gets brackets inside other operations.
    text = style.number(value)
    return _Piece(text, ANY if text.startswith("-") else PRODUCT if "10^" in text else ATOM)
