"""Handcrafted losses of regression: formulas of predictions f and targets y of one shape, value by value."""

import math

import torch
from torch import Tensor
from torch.nn import functional


def cauchy(f: Tensor, y: Tensor, *, c: float) -> Tensor:
    """c²/2·log(1 + (r/c)²), r = f - y (Black and Anandan, 1996)."""
    return c**2 / 2 * torch.log1p(((f - y) / c) ** 2)


def welsch(f: Tensor, y: Tensor, *, c: float) -> Tensor:
    """c²/2·(1 - exp(-(r/c)²)) (Dennis and Welsch, 1978)."""
    return c**2 / 2 * torch.expm1(-(((f - y) / c) ** 2)).neg()


def tukey(f: Tensor, y: Tensor, *, c: float) -> Tensor:
    """c²/6·(1 - (1 - (r/c)²)³) up to |r| = c, and c²/6 beyond (Beaton and Tukey, 1974)."""
    inside = (1 - ((f - y) / c) ** 2).clamp(min=0)
    return c**2 / 6 * (1 - inside**3)


def log_cosh(f: Tensor, y: Tensor) -> Tensor:
    """Log cosh r, computed so that it does not overflow."""
    size = (f - y).abs()
    return size + functional.softplus(-2 * size) - math.log(2)


def general(f: Tensor, y: Tensor, *, alpha: float, c: float) -> Tensor:
    """|α - 2|/α·(((r/c)²/|α - 2| + 1)^(α/2) - 1), with its limits at α = 2 and 0 (Barron, 2019, Equation 1)."""
    square = ((f - y) / c) ** 2
    if alpha == 2:
        return square / 2
    if alpha == 0:
        return torch.log1p(square / 2)
    distance = abs(alpha - 2)
    return distance / alpha * ((square / distance + 1) ** (alpha / 2) - 1)


def quantile(f: Tensor, y: Tensor, *, q: float) -> Tensor:
    """max(q·(y - f), (q - 1)·(y - f)): the q-quantile is its minimum (Koenker and Bassett, 1978)."""
    return torch.maximum(q * (y - f), (q - 1) * (y - f))


def relative(f: Tensor, y: Tensor, *, zero: float, least: float) -> Tensor:
    """|r| / max(|y - z|, least): the error as a share of the target, where z is what stands for zero."""
    return (f - y).abs() / (y - zero).abs().clamp(min=least)
