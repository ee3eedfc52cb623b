"""Taylor losses: a polynomial of third order with eight parameters, as TaylorGLO learns them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from evomal.expressions.formula import latex_number, plain_number, scaled, scaled_latex
from evomal.losses.checks import finite_numbers, listed_numbers
from evomal.losses.criterion import IGNORED, Reduction
from evomal.losses.learned import LearnedLoss
from evomal.losses.preparing import TaskType

PARAMETERS = 8
TERMS = ((2, 1.0, 0, 1), (3, 1 / 2, 0, 2), (4, 1 / 6, 0, 3), (5, 1.0, 1, 1), (6, 1 / 2, 1, 2), (7, 1 / 2, 2, 1))
"""Each term of the polynomial: number of its parameter, factor, power of (y - θ0), power of (f - θ1)."""


class TaylorLoss(LearnedLoss):
    r"""The third-order Taylor polynomial of TaylorGLO, without the terms in y alone.

    :math:`m_\theta(y, f) = \mp\big[\theta_2 b + \tfrac12\theta_3 b^2 + \tfrac16\theta_4 b^3 + \theta_5 ab
    + \tfrac12\theta_6 ab^2 + \tfrac12\theta_7 a^2 b\big]` with :math:`a = y - \theta_0` and :math:`b = f - \theta_1`;
    minus in classification, plus in regression (D12). As probabilities sum to 1, θ2 moves no prediction in
    classification: its term adds the same to every prediction's value.

    Args:
        parameters: θ0 … θ7; None means all zeros.
        task_type: ``"classification"``, ``"regression"`` or ``"multilabel"``.
        scale: What every value is multiplied by; never tuned.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.
        ignore_index: Class label that does not count; None saves the look.

    Attributes:
        weights: θ as a parameter, shape [8], in the default dtype.
        info: Where the loss came from and what it was tuned for; saved with it.

    Raises:
        SettingError: The parameters are not eight finite numbers, or another setting is odd.

    Example:
        >>> TaylorLoss([0, 0.5, 0, -1, 0, 2, 0, 0], task_type="classification").formula()
        '0.5·(f - 0.5)² - 2·y·(f - 0.5)'

    Source:
        Gonzalez and Miikkulainen, "Optimizing Loss Functions Through Multi-Variate Taylor Polynomial
        Parameterization", 2021.
    """

    family = "taylor"

    def __init__(
        self,
        parameters: Sequence[float] | Tensor | None = None,
        *,
        task_type: TaskType,
        scale: float = 1.0,
        reduction: Reduction = "mean",
        ignore_index: int | None = IGNORED,
    ) -> None:
        super().__init__(task_type, scale, reduction, ignore_index)
        given = torch.zeros(PARAMETERS) if parameters is None else parameters
        self.weights = nn.Parameter(finite_numbers(given, PARAMETERS, "a Taylor loss"))

    def per_class(self, y: Tensor, f: Tensor) -> Tensor:
        """The polynomial's values, [B, C, ...]; in classification with a minus sign."""
        t0, t1, t2, t3, t4, t5, t6, t7 = self.weights.to(f.dtype).unbind()
        a, b = y - t0, f - t1
        values = b * (t2 + a * (t5 + t7 / 2 * a) + b * (t3 / 2 + t6 / 2 * a + t4 / 6 * b))
        return values if self.task_type == "regression" else -values

    def formula(self, digits: int | None = None) -> str:
        """The polynomial as it is computed, rounded to `digits` significant digits if given."""
        return scaled(self._written(_plain(digits)), self.scale, digits)

    def latex(self, digits: int = 3) -> str:
        """The same in LaTeX, `f` as the base model's output."""
        return scaled_latex(self._written(_latex(digits)), self.scale, digits)

    def entries(self) -> dict[str, Any]:
        """θ0 … θ7."""
        return {"weights": self.weights.detach().tolist()}

    @classmethod
    def take_arguments(cls, entries: dict[str, Any]) -> dict[str, Any]:
        """The parameters; see `LearnedLoss.take_arguments`."""
        return {"parameters": listed_numbers(entries.pop("weights", None))}

    def untuned(self, generator: torch.Generator) -> list[float]:
        """Zeros, where the published search starts; nothing is drawn. θ2 … θ7 have a meta-gradient there."""
        return [0.0] * PARAMETERS

    def _written(self, style: "_TermStyle") -> str:
        theta = self.weights.detach().tolist()
        sign = 1.0 if self.task_type == "regression" else -1.0
        text = ""
        for number, factor, on_y, on_f in TERMS:
            coefficient = sign * factor * theta[number]
            if coefficient == 0:
                continue
            minus = coefficient < 0
            text += (" - " if minus else " + ") if text else "-" if minus else ""
            size = style.number(abs(coefficient))
            powers = [style.power("y", theta[0], on_y), style.power("f", theta[1], on_f)]
            text += style.times.join(([] if size == "1" else [size]) + [power for power in powers if power])
        return text or "0"


def rises_at_uniform(parameters: Sequence[float], classes: int) -> bool:
    r"""Whether a step down a Taylor loss raises the true class's logit where all classes are equally probable.

    At a uniform softmax that slope is :math:`-\tfrac1n(1 - \tfrac1n)\big[\partial_f P(1, \tfrac1n) -
    \partial_f P(0, \tfrac1n)\big]`, n classes, P the polynomial; so it must hold that
    :math:`\theta_5 + \theta_6(\tfrac1n - \theta_1) + \theta_7(\tfrac12 - \theta_0) > 0`.

    Args:
        parameters: θ0 … θ7 of a `TaylorLoss` for classification.
        classes: n, at least 2.

    Returns:
        False if minimising the loss would begin by moving predictions away from their targets, or not at all.

    Example:
        >>> rises_at_uniform([0, 0, 0, 0, 0, 1, 0, 0], classes=10), rises_at_uniform([0] * 8, classes=10)
        (True, False)

    Source:
        The slope of the loss above. Gonzalez and Miikkulainen (2021) ask for the same sign with a second sum on the
        other side, which is right about half the time.
    """
    t0, t1, _, _, _, t5, t6, t7 = parameters
    return t5 + t6 * (1 / classes - t1) + t7 * (0.5 - t0) > 0


@dataclass(frozen=True, slots=True)
class _TermStyle:
    """How a polynomial is written."""

    names: dict[str, str]
    number: Callable[[float], str]
    times: str
    brackets: tuple[str, str]
    exponents: tuple[str, str, str]

    def power(self, leaf: str, centre: float, exponent: int) -> str:
        """(leaf - centre) to an exponent; empty for 0."""
        name, minus = self.names[leaf], centre > 0
        if centre:
            name = f"{name} {'-' if minus else '+'} {self.number(abs(centre))}".join(self.brackets)
        return name + self.exponents[exponent - 1] if exponent else ""


def _plain(digits: int | None) -> _TermStyle:
    return _TermStyle({"y": "y", "f": "f"}, partial(plain_number, digits=digits), "·", ("(", ")"), ("", "²", "³"))


def _latex(digits: int) -> _TermStyle:
    names, brackets = {"y": "y", "f": r"f_\theta(x)"}, (r"\left(", r"\right)")
    return _TermStyle(names, partial(latex_number, digits=digits), r"\,", brackets, ("", "^2", "^3"))
