"""Neural losses: a small network of target and prediction, as ML³ learns them."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from evomal.expressions.formula import scaled
from evomal.foundation.errors import SettingError
from evomal.losses.checks import finite_numbers, listed_numbers
from evomal.losses.criterion import IGNORED, Reduction
from evomal.losses.learned import LearnedLoss
from evomal.losses.preparing import TaskType

MAX_HIDDEN = 256


class NeuralLoss(LearnedLoss):
    r"""The loss network of ML³, taken per class (or output).

    :math:`m_\phi(y, f) = \operatorname{softplus}\big(W_3\,\mathrm{relu}(W_2\,\mathrm{relu}(W_1 [y, f]^\top))\big)`,
    without biases (D13).

    Args:
        weights: φ: W1 [hidden, 2], W2 [hidden, hidden] and W3 [1, hidden], each row by row, in one flat list; None
            means Xavier-uniform initialisation.
        task_type: ``"classification"``, ``"regression"`` or ``"multilabel"``.
        hidden: Units of each of the two hidden layers, 1 to 256.
        scale: What every value is multiplied by; never tuned.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.
        ignore_index: Class label that does not count; None saves the look.
        generator: What the initialisation is drawn from, W1 first; None means a new generator with seed 0, so that
            two such losses are alike and torch's own generator stays as it was.

    Attributes:
        first: W1 as a parameter, in the default dtype.
        second: W2.
        last: W3.
        info: Where the loss came from and what it was tuned for; saved with it.

    Raises:
        SettingError: The weights are not finite or of the wrong number, or another setting is odd.

    Example:
        >>> criterion = NeuralLoss(task_type="classification", generator=torch.Generator().manual_seed(3))
        >>> criterion(torch.tensor([[2.0, 0.0]]), torch.tensor([0])) > 0
        tensor(True)
        >>> criterion.formula()
        'softplus network 2–50–50–1 of y and f (2,650 weights)'

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
        if type(hidden) is not int or not 1 <= hidden <= MAX_HIDDEN:
            raise SettingError(f"hidden is {hidden!r}; give a whole number from 1 to {MAX_HIDDEN}")
        shapes = ((hidden, 2), (hidden, hidden), (1, hidden))
        if weights is None:
            draw = torch.Generator().manual_seed(0) if generator is None else generator
            matrices = [_xavier(shape, draw) for shape in shapes]
        else:
            sizes = [rows * columns for rows, columns in shapes]
            numbers = finite_numbers(weights, sum(sizes), f"a neural loss with hidden = {hidden}")
            matrices = [part.reshape(shape) for part, shape in zip(numbers.split(sizes), shapes, strict=True)]
        self.first, self.second, self.last = (nn.Parameter(matrix.clone()) for matrix in matrices)

    @property
    def hidden(self) -> int:
        """Units of each hidden layer."""
        return len(self.second)

    @property
    def sizes(self) -> tuple[int, int, int, int]:
        """Units of every layer, from the pair (y, f) to the value."""
        return 2, self.hidden, self.hidden, 1

    def per_class(self, y: Tensor, f: Tensor) -> Tensor:
        """The network's values, [B, C, ...], all above zero."""
        # One product of matrices for all pairs is quicker than two scaled sums for the first layer.
        units = torch.stack([y, f], dim=-1)
        units = functional.relu(functional.linear(units, self.first.to(f.dtype)))
        units = functional.relu(functional.linear(units, self.second.to(f.dtype)))
        return functional.softplus(functional.linear(units, self.last.to(f.dtype)).squeeze(-1))

    def formula(self, digits: int | None = None) -> str:
        """What the loss is, in one line: a network of that size has no formula to read."""
        sizes = "–".join(map(str, self.sizes))
        count = sum(parameter.numel() for parameter in self.parameters())
        return scaled(f"softplus network {sizes} of y and f ({count:,} weights)", self.scale, digits)

    def entries(self) -> dict[str, Any]:
        """Hidden units and φ."""
        return {"hidden": self.hidden, "weights": self.coefficients}

    @classmethod
    def take_arguments(cls, entries: dict[str, Any]) -> dict[str, Any]:
        """Width and φ; see `LearnedLoss.take_arguments`."""
        return {"weights": listed_numbers(entries.pop("weights", None)), "hidden": entries.pop("hidden", None)}

    def untuned(self, generator: torch.Generator) -> list[float]:
        """Xavier-uniform initialisation from the generator."""
        return NeuralLoss(task_type=self.task_type, hidden=self.hidden, generator=generator).coefficients


def _xavier(shape: tuple[int, int], generator: torch.Generator) -> Tensor:
    return nn.init.xavier_uniform_(torch.empty(shape, device=generator.device), generator=generator)
