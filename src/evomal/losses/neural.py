"""Neural losses: a small network of target and prediction, as ML³ learns it (D13)."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from evomal.errors import SettingError
from evomal.losses.criterion import IGNORED, Reduction, TaskType
from evomal.losses.learned import LearnedLoss

MOST_HIDDEN = 256


class NeuralLoss(LearnedLoss):
    r"""A network 2–h–h–1 without biases, ReLU inside and softplus at its end, taken per class (or output) and summed.

    Args:
        weights: All weights in one list, layer after layer, row by row (one row per unit): 2h + h² + h numbers; None
            draws them, Xavier-uniform.
        task_type: ``"classification"`` or ``"regression"``.
        hidden: Units h of each hidden layer.
        scale: What every value is multiplied by; never tuned.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.
        ignore_index: Class label that does not count; None saves the look.
        generator: Where the weights are drawn from; None stands for one with seed 0.

    Raises:
        SettingError: The weights are not finite or of the wrong number, or another setting is odd.

    Example:
        >>> criterion = NeuralLoss(task_type="classification", hidden=50)
        >>> criterion.formula(), criterion(torch.zeros(4, 3), torch.tensor([0, 1, 2, 0])).shape
        ('softplus network 2-50-50-1 of y and f (2,650 weights)', torch.Size([]))

    Source:
        Bechtle et al., "Meta Learning via Learned Loss", 2021.
    """

    family = "neural"

    def __init__(
        self,
        weights: Sequence[float] | Tensor | None = None,
        *,
        task_type: TaskType,
        hidden: int = 50,
        scale: float = 1.0,
        reduction: Reduction = "mean",
        ignore_index: int | None = IGNORED,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(task_type, scale, reduction, ignore_index)
        if type(hidden) is not int or not 1 <= hidden <= MOST_HIDDEN:
            raise SettingError(f"hidden is {hidden!r}; give a whole number of units from 1 to {MOST_HIDDEN}")
        self.hidden = hidden
        shapes = ((hidden, 2), (hidden, hidden), (1, hidden))
        draw = generator or torch.Generator().manual_seed(0)
        self.layers = nn.ParameterList(_drawn(shape, draw) for shape in shapes)
        if weights is not None:
            self.coefficients = _checked(weights, sum(rows * columns for rows, columns in shapes))

    def per_class(self, y: Tensor, f: Tensor) -> Tensor:
        """The network's output for each pair, [B, C, ...]."""
        pairs = torch.stack([y, f], dim=-1)
        first, second, last = (layer.to(f.dtype) for layer in self.layers)
        inner = functional.relu(functional.linear(functional.relu(functional.linear(pairs, first)), second))
        return functional.softplus(functional.linear(inner, last)).squeeze(-1)

    def formula(self, digits: int | None = None) -> str:
        """What it is, as there is no formula."""
        from evomal.expressions.formula import scaled

        count = sum(layer.numel() for layer in self.layers)
        shape = f"2-{self.hidden}-{self.hidden}-1"
        return scaled(f"softplus network {shape} of y and f ({count:,} weights)", self.scale, digits)

    def entries(self) -> dict[str, Any]:
        """Width and weights."""
        return {"hidden": self.hidden, "weights": self.coefficients}

    @classmethod
    def from_entries(cls, entries: dict[str, Any]) -> "NeuralLoss":
        """The loss of a file's entries; see `LearnedLoss.from_entries`."""
        info = dict(entries)
        weights, hidden = info.pop("weights", None), info.pop("hidden", None)
        if not isinstance(weights, list) or not all(type(w) in (int, float) for w in weights):
            raise SettingError("it needs hidden (units of a layer) and weights (a list of numbers); write it anew")
        loss = cls(weights, task_type=info.pop("task_type", None), hidden=hidden, scale=info.pop("scale", 1.0))
        loss.info = info
        return loss


def _drawn(shape: tuple[int, int], generator: torch.Generator) -> nn.Parameter:
    """Xavier-uniform."""
    bound = math.sqrt(6 / sum(shape))
    return nn.Parameter((2 * torch.rand(shape, generator=generator) - 1) * bound)


def _checked(weights: Sequence[float] | Tensor, expected: int) -> list[float]:
    try:
        values = torch.as_tensor(weights, dtype=torch.float64).detach()
    except (TypeError, ValueError, OverflowError, RuntimeError):
        raise SettingError("weights of a neural loss are not numbers; give one number per weight") from None
    if values.shape != (expected,):
        raise SettingError(
            f"weights of a neural loss have shape {list(values.shape)}; give {expected} numbers in one list"
        )
    if not values.isfinite().all():
        raise SettingError("weights of a neural loss hold a number that is not finite; give finite ones")
    numbers: list[float] = values.tolist()
    return numbers
