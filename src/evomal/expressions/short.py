"""Formulas short enough to be read: numbers multiplied out and gathered, terms collected, needless |·| left out.

A tuned formula has a weight φ on every edge; most of them can be pulled through products, powers, roots and absolute
values into one number. Everything is plain algebra on the tree, exact but for ε, and takes no time; `simplify`, which
has SymPy look for more, does.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from evomal.expressions.evaluate import check_weights
from evomal.expressions.formula import ASCII, plain_number
from evomal.expressions.operators import EPSILON, TERMINALS
from evomal.expressions.tree import Expression

_RAISED = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


def to_short(
    expression: Expression,
    weights: Sequence[float] | None = None,
    scale: float = 1.0,
    digits: int = 4,
    *,
    classes: bool = False,
    ascii: bool = False,
) -> str:
    """The formula in as few numbers as multiplying out gives.

    ε is left out where what it is added to is above 0, so that it tells at tiny probabilities alone.

    Args:
        expression: The formula.
        weights: One number per edge, in pre-order of the child node; None is φ = 1.
        scale: What the whole is multiplied by.
        digits: Significant digits of the numbers shown; they are multiplied as they are.
        classes: Whether f is a probability, above 0, and y a label, from 0 to 1: their absolute values are left out.
        ascii: Write it in Python's notation.

    Returns:
        The formula; equal to the given one but for ε and rounding.

    Raises:
        ExpressionError: The weights do not fit the expression.

    Example:
        >>> from evomal.expressions import parse
        >>> to_short(parse("mul(-1, mul(y, log(f)))"), [2.0, 1.5, 1.2, 0.5, 0.01], 0.1, classes=True)
        '-0.18·y·log(0.01·f)'
        >>> to_short(parse("square(sub(y, f))"), [3.0, 2.0, 1.0])
        '36·(y - 0.5·f)²'

    Source: Section 3.2 of Raymond et al. 2023 puts the weights where they are.
    """
    numbers = (1.0,) * expression.edges if weights is None else check_weights(expression, weights)
    style = _Style(digits, ascii)
    return style.whole(_built(expression, iter(numbers), classes).times(scale))


@dataclass(frozen=True, slots=True)
class _Core:
    """What is no product: a leaf, a function of arguments, or a sum.

    Attributes:
        name: Of the leaf or the operator; ``"sum"``; ``"1/"`` for the divisor 1/√(1 + b²) of the analytic quotient.
        arguments: Of the function, or the terms of the sum.
        least: 1 if it is above 0 wherever it is computed, 0 if it is never below 0, -1 if it may be.
    """

    name: str
    arguments: tuple["_Term", ...] = ()
    least: int = -1


@dataclass(frozen=True, slots=True)
class _Term:
    """A number times powers of cores."""

    number: float
    powers: tuple[tuple[_Core, int], ...] = ()

    @property
    def least(self) -> int:
        """As of a core, of the powers alone."""
        return min((max(core.least, 0) if power % 2 == 0 else core.least for core, power in self.powers), default=1)

    def times(self, number: float) -> "_Term":
        return replace(self, number=self.number * number)


Terms = list[_Term]
TELLS = 1e4  # times ε and more, and nobody sees ε beside it


def _built(node: Expression, weights: Iterator[float], classes: bool) -> _Term:
    if not node.children:
        fixed = TERMINALS[node.symbol].constant
        if fixed is not None:
            return _Term(fixed)
        # A share of labels or steps is never below 0; y may be 0, a softmax is not.
        least = {"y": 0, "f": 1}.get(node.symbol, 0) if classes else {"y": -1, "f": -1}.get(node.symbol, 0)
        return _Term(1.0, ((_Core(node.symbol, (), least), 1),))
    arguments = []
    for child in node.children:
        weight = next(weights)
        arguments.append(_built(child, weights, classes).times(weight))
    rule = _RULES.get(node.symbol)
    return _function(node.symbol, *arguments) if rule is None else rule(*arguments)


def _function(name: str, *arguments: _Term, least: int = -1) -> _Term:
    return _Term(1.0, ((_Core(name, arguments, least), 1),))


def _product(a: _Term, b: _Term) -> _Term:
    powers = dict(a.powers)
    for core, power in b.powers:
        powers[core] = powers.get(core, 0) + power
    return _Term(a.number * b.number, tuple(powers.items()))


def _sum(a: _Term, b: _Term) -> _Term:
    """Terms of the same powers are one; the first term's number is pulled out, so that equal sums look alike."""
    collected: dict[tuple[tuple[_Core, int], ...], float] = {}
    for term in (*_summands(a), *_summands(b)):
        collected[term.powers] = collected.get(term.powers, 0.0) + term.number
    terms = [_Term(number, powers) for powers, number in collected.items() if number]
    if len(terms) < 2:
        return terms[0] if terms else _Term(0.0)
    first = terms[0].number
    scaled = tuple(term.times(1 / first) for term in terms)
    if not all(math.isfinite(term.number) for term in scaled):
        first, scaled = 1.0, tuple(terms)
    leasts = [_least(term.times(abs(first))) for term in scaled]
    least = -1 if min(leasts) < 0 else max(leasts)
    return _Term(first, ((_Core("sum", scaled, least), 1),))


def _least(term: _Term) -> int:
    """As of its powers, with the sign of its number; what is next to 0 does not make ε small."""
    if term.number <= 0:
        return -1
    return min(term.least, 0) if term.number < TELLS * EPSILON else term.least


def _summands(term: _Term) -> Terms:
    if len(term.powers) == 1 and term.powers[0][0].name == "sum" and term.powers[0][1] == 1:
        return [each.times(term.number) for each in term.powers[0][0].arguments]
    return [term]


def _quotient(a: _Term, b: _Term) -> _Term:
    if not b.powers:
        return a.times(1 / math.hypot(1.0, b.number))
    return _product(a, _function("1/", replace(b, number=abs(b.number)), least=1))


def _square(a: _Term) -> _Term:
    """|x|² is x²."""
    found = _Term(a.number**2)
    for core, power in a.powers:
        inside = core.arguments[0].powers if core.name == "abs" else ((core, 1),)
        found = _product(found, _Term(1.0, tuple((each, 2 * power * inner) for each, inner in inside)))
    return found


def _absolute(a: _Term) -> _Term:
    """|·| around what may be below 0 only."""
    plain = tuple((core, power) for core, power in a.powers if power % 2 == 0 or core.least >= 0)
    doubtful = tuple((core, power) for core, power in a.powers if power % 2 and core.least < 0)
    inside = () if not doubtful else ((_Core("abs", (_Term(1.0, doubtful),), 0), 1),)
    return _product(_Term(abs(a.number), plain), _Term(1.0, inside))


def _root(a: _Term) -> _Term:
    if not a.powers:
        return _Term(math.sqrt(abs(a.number) + EPSILON))
    inner = _absolute(a)
    if _least(inner) < 1:  # ε counts where the rest is 0, so nothing is pulled out of its sum
        return _function("sqrt", inner, least=0)
    if all(power % 2 == 0 for _, power in inner.powers):
        return _absolute(_Term(math.sqrt(inner.number), tuple((core, power // 2) for core, power in inner.powers)))
    return _function("sqrt", replace(inner, number=1.0), least=1).times(math.sqrt(inner.number))


def _logarithm(a: _Term) -> _Term:
    return _function("log", _absolute(a)) if a.powers else _Term(math.log(abs(a.number) + EPSILON))


def _sign(a: _Term) -> _Term:
    number = float((a.number > 0) - (a.number < 0))
    if not a.powers or a.least > 0:
        return _Term(number)
    if len(a.powers) == 1 and a.powers[0][0].name == "sign":
        return replace(a, number=number)
    return _function("sign", replace(a, number=1.0), least=min(a.least, 0)).times(number)


def _tanh(a: _Term) -> _Term:
    if not a.powers:
        return _Term(math.tanh(a.number))
    return _function("tanh", a, least=_least(a))


def _extreme(name: str, choose: Callable[[float, float], float]) -> Callable[[_Term, _Term], _Term]:
    def rule(a: _Term, b: _Term) -> _Term:
        if not a.powers and not b.powers:
            return _Term(choose(a.number, b.number))
        first = abs(a.number)
        pulled = first if first and math.isfinite(b.number / first) else 1.0
        leasts = [_least(each) for each in (a, b)]
        least = max(leasts) if name == "max" else min(leasts)
        return _function(name, a.times(1 / pulled), b.times(1 / pulled), least=least).times(pulled)

    return rule


_RULES: Mapping[str, Callable[..., _Term]] = MappingProxyType(
    {
        "add": _sum,
        "sub": lambda a, b: _sum(a, b.times(-1.0)),
        "mul": _product,
        "div": _quotient,
        "min": _extreme("min", min),
        "max": _extreme("max", max),
        "sign": _sign,
        "square": _square,
        "abs": _absolute,
        "log": _logarithm,
        "sqrt": _root,
        "tanh": _tanh,
    }
)
"""What becomes of each operator of the paper; an operator of a user stays a function of its arguments."""


@dataclass(frozen=True, slots=True)
class _Style:
    digits: int
    ascii: bool

    def whole(self, term: _Term) -> str:
        """A formula by itself: a sum needs no brackets."""
        text = self.total(_summands(term))
        return text.translate(ASCII) if self.ascii else text

    def total(self, terms: Sequence[_Term]) -> str:
        text = self.product(terms[0])
        for term in terms[1:]:
            more = self.product(term)
            text += f" - {more[1:]}" if more.startswith("-") else f" + {more}"
        return text

    def product(self, term: _Term) -> str:
        """The number first, then leaves, then the rest in order; divisors at the end."""
        number = plain_number(term.number, self.digits)
        ordered = sorted(term.powers, key=lambda pair: bool(pair[0].arguments))
        above = [self.power(core, power) for core, power in ordered if core.name != "1/"]
        below = [self.power(core, power) for core, power in ordered if core.name == "1/"]
        if above and number in ("1", "-1"):
            text = number.removesuffix("1") + "·".join(above)
        else:
            text = "·".join([number, *above])
        return text + "".join(below)

    def power(self, core: _Core, power: int) -> str:
        if core.name == "1/":
            # √(1 + b²) to an even power needs no root.
            inner = f"1 + {self.product(_square(core.arguments[0]))}"
            root = f"({inner})" if power == 2 else f"√({inner})" if power == 1 else f"√({inner}){self.raised(power)}"
            return f"/{root}"
        return self.core(core) + (self.raised(power) if power > 1 else "")

    def core(self, core: _Core) -> str:
        if not core.arguments:
            return core.name
        if core.name == "sum":
            return f"({self.total(core.arguments)})"
        if core.name in ("log", "sqrt"):
            (argument,) = core.arguments
            epsilon = " + ε" if _least(argument) < 1 else ""
            inner = self.total(_summands(argument))
            return f"{'√' if core.name == 'sqrt' else 'log'}({inner}{epsilon})"
        inner = ", ".join(self.total(_summands(argument)) for argument in core.arguments)
        return f"{core.name}({inner})"

    def raised(self, power: int) -> str:
        return f"**{power}" if self.ascii else str(power).translate(_RAISED)
