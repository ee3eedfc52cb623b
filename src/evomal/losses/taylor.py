"""Taylor losses: a third-order polynomial in target and prediction (D12)."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from evomal.errors import SettingError
from evomal.losses.criterion import IGNORED, Reduction, TaskType
from evomal.losses.learned import LearnedLoss

COUNT = 8


class TaylorLoss(LearnedLoss):
    r"""A third-order bivariate Taylor polynomial around (θ0, θ1), its other parameters the partial derivatives there.

    With x the target and y the prediction (D12):

    .. math:: p = \theta_2(y-\theta_1) + \tfrac12\theta_3(y-\theta_1)^2 + \tfrac16\theta_4(y-\theta_1)^3
              + \theta_5(x-\theta_0)(y-\theta_1) + \tfrac12\theta_6(x-\theta_0)(y-\theta_1)^2
              + \tfrac12\theta_7(x-\theta_0)^2(y-\theta_1)

    taken per class (or output) and summed, averaged over the batch; in classification with a minus.

    Args:
        parameters: θ0 … θ7; None means zeros.
        task_type: ``"classification"`` or ``"regression"``.
        scale: What every value is multiplied by; never tuned.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.
        ignore_index: Class label that does not count; None saves the look.

    Attributes:
        weights: θ as a parameter, shape [8], in the default dtype.

    Raises:
        SettingError: The parameters are not finite or not eight, or another setting is odd.

    Example:
        >>> criterion = TaylorLoss([0, 0, 0, 0, 0, 1, 0, 0], task_type="classification")
        >>> criterion(torch.tensor([[0.0, 0.0]]), torch.tensor([0])).item()
        -0.5

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
        self.weights = nn.Parameter(_checked(parameters))

    def per_class(self, y: Tensor, f: Tensor) -> Tensor:
        """The polynomial, [B, C, ...]; negative in classification."""
        p = self.weights.to(f.dtype).unbind()
        v, u = f - p[1], y - p[0]
        # Horner's scheme in v, the coefficients being polynomials in u.
        first = p[2] + u * (p[5] + u * (p[7] / 2))
        value = v * (first + v * ((p[3] + u * p[6]) / 2 + v * (p[4] / 6)))
        return -value if self.task_type == "classification" else value

    def formula(self, digits: int | None = None) -> str:
        """The polynomial in y (target) and f (prediction); terms with a coefficient of zero are left out."""
        values = self.weights.detach().tolist()
        sign = -1.0 if self.task_type == "classification" else 1.0
        u, v = _bracket("y", values[0], digits), _bracket("f", values[1], digits)
        factors = (v, f"{v}²", f"{v}³", f"{u}·{v}", f"{u}·{v}²", f"{u}²·{v}")
        shares = (1.0, 0.5, 1 / 6, 1.0, 0.5, 0.5)
        terms = [(sign * c * s, t) for c, s, t in zip(values[2:], shares, factors, strict=True) if c]
        text = "".join(
            f"{' - ' if c < 0 else ' + '}{_number(abs(c), digits)}·{t}" if i else f"{_number(c, digits)}·{t}"
            for i, (c, t) in enumerate(terms)
        )
        from evomal.expressions.formula import scaled

        return scaled(text or "0", self.scale, digits)

    def entries(self) -> dict[str, Any]:
        """The eight parameters."""
        return {"weights": self.weights.detach().tolist()}

    @classmethod
    def from_entries(cls, entries: dict[str, Any]) -> "TaylorLoss":
        """The loss of a file's entries; see `LearnedLoss.from_entries`."""
        info = dict(entries)
        weights = info.pop("weights", None)
        if not isinstance(weights, list) or not all(type(w) in (int, float) for w in weights):
            raise SettingError("it needs weights (a list of eight numbers); write it anew")
        loss = cls(weights, task_type=info.pop("task_type", None), scale=info.pop("scale", 1.0))
        loss.info = info
        return loss


def rises_at_uniform(parameters: Sequence[float], classes: int) -> bool:
    r"""Whether minimising the loss from a uniform softmax makes the probability of the true class rise.

    The slopes of the polynomial at (1, 1/n) and (0, 1/n) must differ in the right direction:
    :math:`\theta_5 + \theta_6(1/n - \theta_1) + \theta_7(\tfrac12 - \theta_0) > 0`. Where they do not, training starts
    away from the target and the loss is hopeless.

    Args:
        parameters: θ0 … θ7.
        classes: Number of classes n.

    Example:
        >>> rises_at_uniform([0, 0, 0, 0, 0, 1, 0, 0], classes=10)
        True
    """
    t0, t1, _, _, _, t5, t6, t7 = parameters
    return t5 + t6 * (1 / classes - t1) + t7 * (0.5 - t0) > 0


def _checked(parameters: Sequence[float] | Tensor | None) -> Tensor:
    if parameters is None:
        return torch.zeros(COUNT)
    try:
        values = torch.as_tensor(parameters, dtype=torch.get_default_dtype()).detach().clone()
    except (TypeError, ValueError, OverflowError, RuntimeError):
        raise SettingError("parameters of a Taylor loss are not numbers; give θ0 … θ7") from None
    if values.shape != (COUNT,):
        raise SettingError(f"parameters of a Taylor loss have shape {list(values.shape)}; give eight, θ0 … θ7")
    if not values.isfinite().all():
        raise SettingError("parameters of a Taylor loss hold a number that is not finite; give finite ones")
    return values


def _bracket(name: str, centre: float, digits: int | None) -> str:
    if centre == 0:
        return name
    return f"({name} {'-' if centre > 0 else '+'} {_number(abs(centre), digits)})"


def _number(value: float, digits: int | None) -> str:
    return repr(value) if digits is None else f"{value:.{digits}g}"
