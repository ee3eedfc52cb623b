"""Operators of the paper on arrays of NumPy: values, partial derivatives, and how these change along a tangent."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from evomal.expressions.operators import EPSILON

Array = NDArray[Any]
Arrays = tuple[Array, ...]
Changes = tuple[Array | None, ...]


@dataclass(frozen=True, slots=True)
class ArrayOperator:
    """An operator of the paper on arrays: `evomal.expressions.operators` and `tangents` say what it computes."""

    value: Callable[..., Any]
    """(arguments..., out)."""
    slopes: Callable[[Array, Arrays], Arrays]
    """(result, arguments) → the partial derivatives."""
    bends: Callable[[Array, Arrays, Arrays, Changes], tuple[Array | None, ...]]
    """(result, arguments, slopes, changes) → how the tangent changes with each argument; None where it does not."""


ONE = np.ones((), np.float32)


def _root(b: Array) -> Array:
    """√(1 + b²) that does not overflow; NumPy's `hypot` goes number by number."""
    size = np.abs(b)
    greater = np.maximum(size, 1)
    np.minimum(size, 1, out=size)
    size /= greater
    size *= size
    size += 1
    return np.multiply(greater, np.sqrt(size, out=size), out=size)


def _quotient(a: Array, b: Array, out: Array) -> None:
    np.divide(a, _root(b), out=out)


def _tanh(x: Array, out: Array) -> None:
    """PyTorch's: near ±1, where slopes are what rounding leaves of 1 - tanh², another one's last bit would show."""
    torch.tanh(torch.from_numpy(x), out=torch.from_numpy(out))


def _protected(x: Array, function: Callable[..., Any], out: Array) -> None:
    np.abs(x, out=out)
    out += x.dtype.type(EPSILON)
    function(out, out=out)


def _nothing(result: Array, arguments: Arrays, slopes: Arrays, changes: Changes) -> tuple[None, ...]:
    return (None,) * len(arguments)


def _chosen(sign: float) -> Callable[[Array, Arrays], Arrays]:
    def slopes(result: Array, arguments: Arrays) -> Arrays:
        first = result.dtype.type(0.5 * sign) * np.sign(arguments[0] - arguments[1])  # ½, 0 or -½
        return 0.5 + first, 0.5 - first

    return slopes


def _product_bends(result: Array, arguments: Arrays, slopes: Arrays, changes: Changes) -> tuple[Array | None, ...]:
    return changes[1], changes[0]


def _quotient_slopes(result: Array, arguments: Arrays) -> Arrays:
    h = _root(arguments[1])
    return 1 / h, -result * (arguments[1] / h) / h


def _quotient_bends(result: Array, arguments: Arrays, slopes: Arrays, changes: Changes) -> tuple[Array | None, ...]:
    (da, db), inverse = changes, slopes[0]
    q = arguments[1] * inverse  # b/h
    across = -q * inverse * inverse
    parts = [] if da is None else [da * across]
    parts += [] if db is None else [-db * result * (1 - 3 * q * q) * inverse * inverse]
    return None if db is None else db * across, sum(parts[1:], start=parts[0])


def _by_one(bend: Callable[[Array, Array, Array], Array]) -> Callable[..., tuple[Array | None, ...]]:
    """How the tangent of a function of one argument changes with it, from (result, argument, slope)."""
    return lambda result, arguments, slopes, changes: (bend(result, arguments[0], slopes[0]) * changes[0],)


ARRAY_OPERATORS = {
    "add": ArrayOperator(np.add, lambda r, a: (ONE, ONE), _nothing),
    "sub": ArrayOperator(np.subtract, lambda r, a: (ONE, -ONE), _nothing),
    "mul": ArrayOperator(np.multiply, lambda r, a: (a[1], a[0]), _product_bends),
    "div": ArrayOperator(_quotient, _quotient_slopes, _quotient_bends),
    "min": ArrayOperator(np.minimum, _chosen(-1.0), _nothing),
    "max": ArrayOperator(np.maximum, _chosen(1.0), _nothing),
    "sign": ArrayOperator(np.sign, lambda r, a: (np.zeros((), r.dtype),), _nothing),
    "square": ArrayOperator(np.square, lambda r, a: (2 * a[0],), _by_one(lambda r, x, slope: 2 * ONE)),
    "abs": ArrayOperator(np.abs, lambda r, a: (np.sign(a[0]),), _nothing),
    "log": ArrayOperator(
        lambda x, out: _protected(x, np.log, out),
        lambda r, a: (np.sign(a[0]) / (np.abs(a[0]) + a[0].dtype.type(EPSILON)),),
        _by_one(lambda r, x, slope: -slope * slope),
    ),
    "sqrt": ArrayOperator(
        lambda x, out: _protected(x, np.sqrt, out),
        lambda r, a: (np.sign(a[0]) / (2 * r),),
        _by_one(lambda r, x, slope: -slope * slope / r),
    ),
    "tanh": ArrayOperator(_tanh, lambda r, a: (1 - r * r,), _by_one(lambda r, x, slope: -2 * r * slope)),
}
