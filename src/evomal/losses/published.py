"""Learned losses that others published, by name: ready to be trained with, compared and drawn."""

from collections.abc import Callable, Mapping
from os import PathLike
from types import MappingProxyType
from typing import Any, NamedTuple, NoReturn

import torch
from torch import Tensor

from evomal.expressions import EPSILON, to_formula
from evomal.foundation.errors import SettingError, unknown_name
from evomal.losses.criterion import IGNORED, Reduction
from evomal.losses.learned import LearnedLoss
from evomal.losses.symbolic import SymbolicLoss

SMOOTHING = 0.1  # ξ
EVOMAL = "Raymond et al., Learning Symbolic Model-Agnostic Loss Functions via Meta-Learning, 2023, Table 5"
NO_COEFFICIENTS = "the table leaves the coefficients φ out, so all are 1 here: tune it before it is judged"


class PublishedEntry(NamedTuple):
    """A row of the table of published losses; all are for classification.

    Attributes:
        summary: The formula for one class.
        source: Where it was published.
        doubt: What is doubtful in the print; empty if nothing is.
        make: Gives the loss: an expression, or the value for each class from targets and predictions.
    """

    summary: str
    source: str
    doubt: str
    make: str | Callable[[Tensor, Tensor], Tensor]


class PublishedLoss(LearnedLoss):
    """A published loss that is no expression over the operators of this package; it has no coefficients.

    Args:
        name: Its name in `PUBLISHED`.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.
        ignore_index: Class label that does not count; None saves the look.

    Raises:
        UnknownNameError: There is no such loss.

    Example:
        >>> PublishedLoss("sparse_label_smoothing")(torch.zeros(1, 2), torch.tensor([0]))
        tensor(0.6931)
    """

    family = "published"

    def __init__(self, name: str, reduction: Reduction = "mean", ignore_index: int | None = IGNORED) -> None:
        super().__init__("classification", 1.0, reduction, ignore_index)
        entry = PUBLISHED.get(name)
        if entry is None or isinstance(entry.make, str):
            raise unknown_name("published loss", name, [each for each in PUBLISHED if callable(PUBLISHED[each].make)])
        self.name = name

    @property
    def tunable(self) -> bool:
        """There is nothing to tune."""
        return False

    def per_class(self, y: Tensor, f: Tensor) -> Tensor:
        """The formula's values, [B, C, ...]."""
        make = PUBLISHED[self.name].make
        assert callable(make)
        return make(y, f)

    def formula(self, digits: int | None = None) -> str:
        """The formula for one class, as it was published."""
        return PUBLISHED[self.name].summary

    def entries(self) -> dict[str, Any]:
        """The name."""
        return {"name": self.name}

    @classmethod
    def take_arguments(cls, entries: dict[str, Any]) -> dict[str, Any]:
        """The name."""
        return {"name": entries.pop("name", None)}

    def untuned(self, generator: torch.Generator) -> list[float]:
        """No coefficients."""
        return []

    def save(self, path: str | PathLike[str]) -> NoReturn:
        """Refused: a loss file holds expressions, polynomials and networks.

        Raises:
            SettingError: Always.
        """
        raise SettingError(f"'{self.name}' is known by its name and fits no loss file; name it where it is used")


def published_loss(name: str) -> LearnedLoss:
    """A published loss by name, finished as one that is read from a file.

    Args:
        name: A name in `PUBLISHED`.

    Returns:
        The loss as a PyTorch criterion; an expression is a `SymbolicLoss`, which can be tuned, saved and exported.

    Raises:
        UnknownNameError: There is no such loss.

    Example:
        >>> published_loss("evomal_c")
        SymbolicLoss(√(abs(log(abs(y·f) + ε)²) + ε), task_type='classification')
    """
    if name not in PUBLISHED:
        raise unknown_name("published loss", name, PUBLISHED)
    entry = PUBLISHED[name]
    if isinstance(entry.make, str):
        loss: LearnedLoss = SymbolicLoss(entry.make, task_type="classification")
    else:
        loss = PublishedLoss(name)
    loss.info = {"published": entry.source} | ({"doubt": entry.doubt} if entry.doubt else {})
    return loss.requires_grad_(False)


def _ngl(y: Tensor, f: Tensor) -> Tensor:
    # The mean over classes: losses here are summed over them.
    return ((2.4092 - f * (1 + y)).exp() - f.sin().cos().cos()) / f.shape[1]


def _sparse_label_smoothing(y: Tensor, f: Tensor) -> Tensor:
    classes = f.shape[1]
    own = (1 - SMOOTHING + SMOOTHING / classes) * (f + EPSILON).log()
    rest = SMOOTHING * (classes - 1) / classes * ((1 - f + EPSILON) / (classes - 1)).log()
    return -y * (own + rest)


def _table5(letter: str, expression: str, doubt: str = "") -> tuple[str, PublishedEntry]:
    """A loss of the paper's Table 5."""
    from evomal.expressions import parse

    told = f"{doubt}; {NO_COEFFICIENTS}" if doubt else NO_COEFFICIENTS
    return f"evomal_{letter}", PublishedEntry(to_formula(parse(expression)), EVOMAL, told, expression)


_RISES = "printed with y + f, with which it rises as the true class becomes certain; a sign may have been in φ"

PUBLISHED: Mapping[str, PublishedEntry] = MappingProxyType(
    dict(
        [
            _table5("a", "square(sqrt(sqrt(sqrt(log(square(mul(y, f)))))))"),
            _table5("b", "sqrt(add(log(mul(y, f)), square(log(mul(y, f)))))"),
            _table5("c", "sqrt(square(log(mul(y, f))))"),
            _table5("d", "sqrt(square(square(div(square(div(sub(y, f), f)), sign(f)))))"),
            _table5("e", "square(add(square(add(y, f)), max(mul(y, f), sqrt(sqrt(square(add(y, f)))))))", _RISES),
            _table5(
                "f",
                "mul(square(add(y, f)), sqrt(sqrt(square(square(sub(f, sqrt(sqrt(square(square(add(y, f)))))))))))",
                _RISES,
            ),
            _table5(
                "g",
                "sqrt(sqrt(log(div(sqrt(sqrt(square(mul(y, f)))), "
                "mul(max(y, add(y, f)), max(sub(f, 1), min(f, -1)))))))",
                "a bracket is missing in the print: read as the fourth root of (y·f)²",
            ),
            (
                "ngl",
                PublishedEntry(
                    "(exp(2.4092 - f·(1 + y)) - cos(cos(sin(f))))/C",
                    "Akhmedova and Körber, Next Generation Loss Function for Image Classification, 2024",
                    "",
                    _ngl,
                ),
            ),
            (
                "sparse_label_smoothing",
                PublishedEntry(
                    f"-y·((1 - ξ + ξ/C)·log(f + ε) + ξ·(C - 1)/C·log((1 - f + ε)/(C - 1))), ξ = {SMOOTHING:g}",
                    "Raymond, Chen, Xue and Zhang, sparse label smoothing regularisation, 2023",
                    "the published code has a sign that differs from the equation; this is the equation",
                    _sparse_label_smoothing,
                ),
            ),
        ]
    )
)
"""Every published loss by name. Table 5 has two more rows: h divides by a root without the 1 that every quotient of
Table 1 has, so that it is no formula of theirs as printed, and i is empty."""
