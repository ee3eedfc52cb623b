"""Known formulas that a search may start from: what is good already, for it to begin with."""

from collections.abc import Mapping
from types import MappingProxyType

_OF_CLASSES = (
    # cross-entropy: -y log f
    "mul(-1, mul(y, log(f)))",
    # smoothed: -(0.9 y + 0.01) log f
    "mul(-1, mul(add(y, 1), log(f))) [1, 1, 1, 0.9, 0.01, 1, 1]",
    # for labels of which a fifth is wrong: -y log(0.8 f + 0.02)
    "mul(-1, mul(y, log(add(f, 1)))) [1, 1, 1, 1, 1, 0.8, 0.02]",
    # Brier: (y - f)²
    "square(sub(y, f))",
    # y (1 - √f)
    "mul(y, sub(1, sqrt(f)))",
    # absolute: |y - f|
    "abs(sub(y, f))",
    # focal: -(1 - f)² y log f
    "mul(square(sub(1, f)), mul(-1, mul(y, log(f))))",
)

KNOWN: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "classification": _OF_CLASSES,
        "multilabel": _OF_CLASSES,  # every label is a class beside its absence
        "regression": (
            # squared, absolute
            "square(sub(y, f))",
            "abs(sub(y, f))",
            # Cauchy: log(1 + r²)
            "log(add(1, square(sub(y, f))))",
            # Charbonnier: √(1 + r²)
            "sqrt(add(1, square(sub(y, f))))",
            # truncated: min(1, |r|)
            "min(1, abs(sub(y, f)))",
            # much as Welsch's: tanh r²
            "tanh(square(sub(y, f)))",
        ),
    }
)
"""Formulas by kind of task, some with coefficients; in the order in which they take part if there is little room."""
