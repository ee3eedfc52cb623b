"""The one table of operators and the one of terminals: how each piece computes, prints and goes to SymPy.

Everything that depends on an operator or a terminal reads it here, so a new one is one new entry. The tensor
functions use tensor methods only: this module does not import torch, and they work under vmap, forward mode
and double backward.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from evomal.expressions import tangents

if TYPE_CHECKING:
    from torch import Tensor

EPSILON = 1e-7
"""The ε inside the protected logarithm and square root (D1)."""

# How tightly a printed piece holds together; a looser piece in a tighter place gets brackets.
SUM, PRODUCT, POWER, ATOM = 1, 2, 3, 4
ANY = 0


@dataclass(frozen=True, slots=True)
class Notation:
    """How an operator is written: `#1` and `#2` stand for its arguments.

    Attributes:
        template: The written form, such as ``"#1 + #2"``.
        level: How tightly the written form holds together.
        slots: The loosest level that each argument may have without brackets.
    """

    template: str
    level: int
    slots: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Operator:
    """One primitive operation of Table 1, in the protected form of D1.

    Attributes:
        name: Its name in formulas, such as ``"mul"``.
        arity: Number of arguments, 1 or 2.
        commutative: Whether the arguments can be exchanged.
        torch: The operation on tensors; constants come as 0-dimensional tensors.
        tangent: How the result changes with the arguments, see `evomal.expressions.tangents`; None where it never
            does.
        sympy: The operation on SymPy expressions, called as ``sympy(module, epsilon, *arguments)`` so that
            the SymPy module is imported by whoever needs it.
        printed: How people read it; plain text in which ``·``, ``²``, ``√`` and ``ε`` stand for themselves.
        latex: How LaTeX reads it.
        module: Where an operator of a user is from; None for those of Table 1.

    Example:
        >>> OPERATORS["div"].arity, OPERATORS["div"].commutative, OPERATORS["div"].printed.template
        (2, False, '#1/√(1 + #2²)')

    Source: Raymond et al. 2023, Table 1; analytic quotient: Ni et al. 2013.
    """

    name: str
    arity: int
    commutative: bool
    torch: Callable[..., "Tensor"]
    tangent: "tangents.Rule | None"
    sympy: Callable[..., Any]
    printed: Notation
    latex: Notation
    module: str | None = None


@dataclass(frozen=True, slots=True)
class Terminal:
    """A leaf of an expression.

    Attributes:
        name: Its name in formulas, such as ``"f"``.
        latex: How LaTeX reads it.
        meaning: What it is, in a few words.
        constant: Its value, where that is always the same; None for what is given with every call.
        default: Its value where nobody gives one; None where it must be given.

    Example:
        >>> TERMINALS["-1"].constant, TERMINALS["progress"].default, TERMINALS["y"].default
        (-1.0, 1.0, None)
    """

    name: str
    latex: str
    meaning: str
    constant: float | None = None
    default: float | None = None


_TERMINALS = (
    Terminal("y", "y", "the target"),
    Terminal("f", r"f_\theta(x)", "the prediction"),
    Terminal("1", "1", "the constant 1", constant=1.0),
    Terminal("-1", "-1", "the constant -1", constant=-1.0),
    Terminal("prior", r"\pi", "the class's share of the training labels; 1 in regression", default=1.0),
    Terminal("progress", "t", "the share of the training's steps that are done, from 0 to 1", default=1.0),
)
TERMINALS: Mapping[str, Terminal] = MappingProxyType({terminal.name: terminal for terminal in _TERMINALS})
"""Every terminal by name; the paper's four come first."""

LEAVES = ("y", "f", "1", "-1")
"""The terminals of the paper: the target, the prediction f(x) and the two constants (Section 3.1.1)."""


def _analytic_quotient(a: "Tensor", b: "Tensor") -> "Tensor":
    # hypot never squares b: sqrt(1 + b²) in float32 has NaN second derivatives where b² overflows.
    return a / b.hypot(b.new_ones(()))


def _function(name: str) -> Notation:
    return Notation(f"{name}(#1)", ATOM, (ANY,))


_TABLE = (
    Operator(
        name="add",
        arity=2,
        commutative=True,
        torch=lambda a, b: a + b,
        tangent=tangents.add,
        sympy=lambda sp, eps, a, b: a + b,
        printed=Notation("#1 + #2", SUM, (PRODUCT, PRODUCT)),
        latex=Notation("#1 + #2", SUM, (PRODUCT, PRODUCT)),
    ),
    Operator(
        name="sub",
        arity=2,
        commutative=False,
        torch=lambda a, b: a - b,
        tangent=tangents.sub,
        sympy=lambda sp, eps, a, b: a - b,
        printed=Notation("#1 - #2", SUM, (PRODUCT, PRODUCT)),
        latex=Notation("#1 - #2", SUM, (PRODUCT, PRODUCT)),
    ),
    Operator(
        name="mul",
        arity=2,
        commutative=True,
        torch=lambda a, b: a * b,
        tangent=tangents.mul,
        sympy=lambda sp, eps, a, b: a * b,
        printed=Notation("#1·#2", PRODUCT, (POWER, POWER)),
        latex=Notation(r"#1 \cdot #2", PRODUCT, (PRODUCT, PRODUCT)),
    ),
    Operator(
        name="div",
        arity=2,
        commutative=False,
        torch=_analytic_quotient,
        tangent=tangents.div,
        sympy=lambda sp, eps, a, b: a / sp.sqrt(1 + b**2),
        printed=Notation("#1/√(1 + #2²)", PRODUCT, (POWER, ATOM)),
        latex=Notation(r"\frac{#1}{\sqrt{1 + #2^2}}", POWER, (ANY, ATOM)),
    ),
    Operator(
        name="min",
        arity=2,
        commutative=True,
        torch=lambda a, b: a.minimum(b),
        tangent=tangents.minimum,
        sympy=lambda sp, eps, a, b: sp.Min(a, b),
        printed=Notation("min(#1, #2)", ATOM, (ANY, ANY)),
        latex=Notation(r"\min\left(#1, #2\right)", ATOM, (ANY, ANY)),
    ),
    Operator(
        name="max",
        arity=2,
        commutative=True,
        torch=lambda a, b: a.maximum(b),
        tangent=tangents.maximum,
        sympy=lambda sp, eps, a, b: sp.Max(a, b),
        printed=Notation("max(#1, #2)", ATOM, (ANY, ANY)),
        latex=Notation(r"\max\left(#1, #2\right)", ATOM, (ANY, ANY)),
    ),
    Operator(
        name="sign",
        arity=1,
        commutative=False,
        torch=lambda x: x.sign(),
        tangent=None,
        sympy=lambda sp, eps, x: sp.sign(x),
        printed=_function("sign"),
        latex=Notation(r"\operatorname{sign}\left(#1\right)", ATOM, (ANY,)),
    ),
    Operator(
        name="square",
        arity=1,
        commutative=False,
        torch=lambda x: x * x,
        tangent=tangents.square,
        sympy=lambda sp, eps, x: x**2,
        printed=Notation("#1²", POWER, (ATOM,)),
        latex=Notation("#1^2", POWER, (ATOM,)),
    ),
    Operator(
        name="abs",
        arity=1,
        commutative=False,
        torch=lambda x: x.abs(),
        tangent=tangents.absolute,
        sympy=lambda sp, eps, x: sp.Abs(x),
        printed=_function("abs"),
        latex=Notation(r"\left|#1\right|", ATOM, (ANY,)),
    ),
    Operator(
        name="log",
        arity=1,
        commutative=False,
        torch=lambda x: (x.abs() + EPSILON).log(),
        tangent=tangents.log(EPSILON),
        sympy=lambda sp, eps, x: sp.log(sp.Abs(x) + eps),
        printed=Notation("log(abs(#1) + ε)", ATOM, (ANY,)),
        latex=Notation(r"\log\left(\left|#1\right| + \epsilon\right)", ATOM, (ANY,)),
    ),
    Operator(
        name="sqrt",
        arity=1,
        commutative=False,
        torch=lambda x: (x.abs() + EPSILON).sqrt(),
        tangent=tangents.sqrt,
        sympy=lambda sp, eps, x: sp.sqrt(sp.Abs(x) + eps),
        printed=Notation("√(abs(#1) + ε)", ATOM, (ANY,)),
        latex=Notation(r"\sqrt{\left|#1\right| + \epsilon}", ATOM, (ANY,)),
    ),
    Operator(
        name="tanh",
        arity=1,
        commutative=False,
        torch=lambda x: x.tanh(),
        tangent=tangents.tanh,
        sympy=lambda sp, eps, x: sp.tanh(x),
        printed=_function("tanh"),
        latex=Notation(r"\tanh\left(#1\right)", ATOM, (ANY,)),
    ),
)

TABLE_1 = tuple(operator.name for operator in _TABLE)
"""The operators of the paper, in the order of its Table 1."""

_KNOWN = {operator.name: operator for operator in _TABLE}
OPERATORS: Mapping[str, Operator] = MappingProxyType(_KNOWN)
"""Every operator by name: those of Table 1 in its order, then those that users have added."""

_editions = [0]


def take_in(operator: Operator, *, out: bool = False) -> None:
    """Take an operator of a user into the table, or out of it again; see `evomal.register_operator`."""
    if operator.name in _KNOWN:
        _editions[0] += 1
    _KNOWN.pop(operator.name, None)
    if not out:
        _KNOWN[operator.name] = operator


def edition() -> int:
    """A number that changes whenever an operator becomes another one under its name."""
    return _editions[0]
