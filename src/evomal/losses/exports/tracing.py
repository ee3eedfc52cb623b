"""A loss's formula as code of some dialect: the operator table's SymPy column, called with pieces of text.

That column is written over a module of functions (``sp.log(sp.Abs(x) + eps)``). Called with SymPy it gives a SymPy
expression; called with a `Dialect` and `Term` it gives the same formula as text, so that an operator has one entry
for all formats, and a new one is exported without a further word.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import count

import torch
from torch import Tensor

from evomal.expressions import EPSILON, OPERATORS, TERMINALS, Expression
from evomal.foundation.errors import SettingError
from evomal.losses.learned import LearnedLoss
from evomal.losses.neural import NeuralLoss
from evomal.losses.symbolic import SymbolicLoss
from evomal.losses.taylor import TERMS, TaylorLoss

SUM, PRODUCT, SIGNED, POWER, ATOM = range(5)
LONG = 44  # letters from which a piece gets a name and a line of its own


@dataclass(frozen=True, slots=True)
class Term:
    """A piece of code, how tightly it holds together, and whether it is a plain number."""

    text: str
    level: int = ATOM
    constant: bool = False

    def within(self, level: int) -> str:
        """The text, in brackets where it is looser than its place."""
        return self.text if self.level >= level else f"({self.text})"

    def __add__(self, other: "Term | float") -> "Term":
        """A sum."""
        return self._joined(other, "+", SUM, PRODUCT)

    def __radd__(self, other: float) -> "Term":
        """A sum with a number in front."""
        return number(other) + self

    def __sub__(self, other: "Term | float") -> "Term":
        """A difference."""
        return self._joined(other, "-", SUM, PRODUCT)

    def __mul__(self, other: "Term | float") -> "Term":
        """A product."""
        return self._joined(other, "*", PRODUCT, SIGNED)

    def __rmul__(self, other: float) -> "Term":
        """A product with a number in front."""
        return number(other) * self

    def __truediv__(self, other: "Term | float") -> "Term":
        """A quotient."""
        return self._joined(other, "/", PRODUCT, SIGNED)

    def __pow__(self, exponent: int) -> "Term":
        """A power."""
        return Term(f"{self.within(ATOM)}**{exponent}", POWER, self.constant)

    def _joined(self, other: "Term | float", sign: str, level: int, right: int) -> "Term":
        other = other if isinstance(other, Term) else number(other)
        text = f"{self.within(level)} {sign} {other.within(right)}"
        return Term(text, level, self.constant and other.constant)


def number(value: float, dtype: torch.dtype = torch.float64) -> Term:
    """A number, as short as it can be written to be read back as the same number of its type.

    Example:
        >>> number(torch.tensor(0.1).item(), torch.float32).text
        '0.1'
    """
    exact = torch.tensor(value, dtype=dtype)
    shorter = (float(f"{value:.{digits}g}") for digits in range(1, 17))
    text = repr(next((short for short in shorter if torch.equal(torch.tensor(short, dtype=dtype), exact)), value))
    return Term(text, SIGNED if text.startswith("-") else ATOM, constant=True)


@dataclass
class Dialect:
    """A language of arrays.

    Args:
        module: What its functions are found in, such as ``"np"``.
        functions: Names that differ from the usual ones: ``sqrt``, ``log``, ``Abs``, ``Min``, … as SymPy calls them.
        filled: How a plain number becomes an array, for a language whose functions take none; None for the others.
        softplus: The softplus of ``#1``.
        relu_layer: A layer without bias: the product of ``#1`` with the matrix ``#2``, negative values cut off.
        pair: y and f along a new last axis.
        last: The same product without the cut, where ``#2`` has a single column, as an array of one axis less.
        matrix: A matrix from nested lists ``#1``; empty for a language without matrices.
        prior: The list ``#1`` of the classes' shares as an array that broadcasts with f; empty for a language in which
            it is a symbol.
        progress: The argument ``progress`` as what functions take.
    """

    module: str
    functions: Mapping[str, str] = field(default_factory=dict)
    filled: str | None = None
    softplus: str = ""
    relu_layer: str = ""
    pair: str = ""
    last: str = ""
    matrix: str = ""
    prior: str = ""
    progress: str = ""

    def __getattr__(self, name: str) -> Callable[..., Term]:
        """A function as SymPy calls it; an operator that needs one which no dialect has cannot be exported."""
        if name.startswith("__"):
            raise AttributeError(name)
        if name not in METHOD_DEFAULTS:
            raise SettingError(f"the formula needs the function '{name}', which no export knows; train with the loss")
        return partial(self._called, self.functions.get(name, METHOD_DEFAULTS[name]))

    def _called(self, name: str, *arguments: Term) -> Term:
        shown = [self._array(argument) for argument in arguments]
        return Term(f"{self.module}.{name}({', '.join(shown)})")

    def _array(self, term: Term) -> str:
        if not term.constant or self.filled is None:
            return term.text
        return self.filled.replace("#1", term.text)


METHOD_DEFAULTS = {
    **{"Abs": "abs", "Min": "minimum", "Max": "maximum", "sign": "sign", "sqrt": "sqrt", "log": "log", "tanh": "tanh"},
    **{"exp": "exp"},
}


@dataclass
class TracedLines:
    """Lines of code under construction, each of which gives a name to a value."""

    lines: list[str] = field(default_factory=list)
    names: Iterator[int] = field(default_factory=lambda: count(1))

    def named(self, term: Term) -> Term:
        """A name for a value."""
        name = f"t{next(self.names)}"
        self.lines.append(f"{name} = {term.text}")
        return Term(name)

    def short(self, term: Term) -> Term:
        """The term, by a name of its own if it is long."""
        return self.named(term) if len(term.text) > LONG and not term.constant else term


def code_of(loss: LearnedLoss, dialect: Dialect) -> tuple[list[str], str]:
    """What a loss gives for each class, as code over the names ``y`` and ``f``, and ``progress`` if it looks at that.

    Args:
        loss: The loss.
        dialect: The language.

    Returns:
        Lines that come before, and the value: scale and output activation are included.

    Raises:
        SettingError: The language cannot say it.

    Example:
        >>> loss = SymbolicLoss("square(sub(y, f))", [2, 1, 1], task_type="regression")
        >>> code_of(loss, Dialect("np"))
        ([], '(2.0 * (y - f))**2')
    """
    lines = TracedLines()
    value = _value(loss, dialect, lines)
    if loss.scale != 1:
        value = number(loss.scale) * value
    return lines.lines, value.text


def _value(loss: LearnedLoss, dialect: Dialect, lines: TracedLines) -> Term:
    if isinstance(loss, SymbolicLoss):
        lines.lines += _extras(loss, dialect)
        numbers = (number(weight, loss.weights.dtype) for weight in loss.weights.detach().tolist())
        value = _node(loss.expression, numbers, dialect, lines)
        if loss.output_activation == "softplus":
            return Term(dialect.softplus.replace("#1", value.within(ATOM)))
        return value
    if isinstance(loss, TaylorLoss):
        return _polynomial(loss, lines)
    if isinstance(loss, NeuralLoss):
        return _network(loss, dialect, lines)
    raise SettingError(f"a loss of the family '{loss.family}' cannot be exported; train with the loss itself")


def _extras(loss: SymbolicLoss, dialect: Dialect) -> list[str]:
    """Lines that say what the formula looks at beside y and f."""
    found = []
    if loss.sees_progress and dialect.progress:
        found.append(f"progress = {dialect.progress}")
    if "prior" in loss.expression.extras and dialect.prior:
        shares = str(list(require_prior(loss)))
        found.append(f"prior = {dialect.prior.replace('#1', shares)}")
    return found


def require_prior(loss: SymbolicLoss) -> tuple[float, ...]:
    """The classes' shares that an export holds: 1 in regression.

    Raises:
        SettingError: Nobody has said what they are.
    """
    if not loss.needs_prior:
        return (1.0,)
    if loss.prior is None:
        raise SettingError(
            "the formula looks at the classes' shares of the training labels, and nobody has said what they are; set "
            "criterion.prior before it is exported"
        )
    return loss.prior


def _node(node: Expression, weights: Iterator[Term], dialect: Dialect, lines: TracedLines) -> Term:
    if not node.children:
        constant = TERMINALS[node.symbol].constant
        return Term(node.symbol) if constant is None else number(constant)
    arguments = []
    for child in node.children:
        weight = next(weights)  # before those below it: φ is in pre-order of the child node
        arguments.append(_weighted(weight, _node(child, weights, dialect, lines)))
    return lines.short(OPERATORS[node.symbol].sympy(dialect, EPSILON, *arguments))


def _weighted(weight: Term, value: Term) -> Term:
    if value.text in ("1.0", "-1.0"):
        return weight if value.text == "1.0" else number(-float(weight.text))
    return value if weight.text == "1.0" else weight * value


def _polynomial(loss: TaylorLoss, lines: TracedLines) -> Term:
    theta = loss.weights.detach().tolist()
    sign = 1.0 if loss.task_type == "regression" else -1.0
    leaves = [_centred(name, centre, loss.weights.dtype, lines) for name, centre in zip("yf", theta[:2], strict=True)]
    terms = []
    for place, factor, *powers in TERMS:
        if theta[place]:
            term = number(sign * factor * theta[place])
            for leaf, power in zip(leaves, powers, strict=True):
                term = term if power == 0 else term * leaf if power == 1 else term * leaf**power
            terms.append(term)
    return Term(" + ".join(term.text for term in terms), SUM) if terms else Term("0.0 * f", PRODUCT)


def _centred(name: str, centre: float, dtype: torch.dtype, lines: TracedLines) -> Term:
    return lines.named(Term(name) - number(centre, dtype)) if centre else Term(name)


def _network(loss: NeuralLoss, dialect: Dialect, lines: TracedLines) -> Term:
    if not dialect.matrix:
        weights = len(loss.coefficients)
        raise SettingError(f"a neural loss has no formula ({weights:,} weights); export it as python, numpy or onnx")
    units = lines.named(Term(dialect.pair))
    for matrix in (loss.first, loss.second):
        units = lines.named(Term(_layer(dialect, units, matrix, dialect.relu_layer)))
    plain = lines.named(Term(_layer(dialect, units, loss.last, dialect.last)))
    return Term(dialect.softplus.replace("#1", plain.text))


def _layer(dialect: Dialect, units: Term, matrix: Tensor, template: str) -> str:
    rows = ", ".join(
        f"[{', '.join(number(value, matrix.dtype).text for value in row)}]" for row in matrix.detach().T.tolist()
    )
    return template.replace("#2", dialect.matrix.replace("#1", f"[{rows}]")).replace("#1", units.text)
