"""Models that take inputs of any shape, flattened."""

import itertools
import math

from torch import Tensor, nn

from evomal.foundation.errors import ModelError
from evomal.tasks.models.images import scaled


class Linear(nn.Module):
    """One linear layer.

    Args:
        input_shape: Shape of one instance; it is flattened.
        outputs: Number of classes, or of targets.
        width: Must be 1: there are no hidden units.

    Raises:
        ModelError: Another width is asked for.

    Example:
        >>> sum(parameter.numel() for parameter in Linear((1, 8, 8), 10).parameters())
        650
    """

    def __init__(self, input_shape: tuple[int, ...], outputs: int, width: float = 1.0) -> None:
        super().__init__()
        if width != 1:
            raise ModelError(f"model 'linear' has no hidden units, so no width of {width:g}; leave the width out")
        self.layer = nn.Linear(math.prod(input_shape), outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Outputs [B, outputs] of x [B, *input_shape]."""
        result: Tensor = self.layer(x.flatten(1))
        return result


class MLP(nn.Module):
    """A multi-layer perceptron: two hidden layers of 128 rectified linear units.

    Args:
        input_shape: Shape of one instance; it is flattened.
        outputs: Number of classes, or of targets.
        width: Factor on the units of all hidden layers.
        hidden: Units of each hidden layer.

    Example:
        >>> sum(parameter.numel() for parameter in MLP((1, 8, 8), 10).parameters())
        26122
    """

    def __init__(
        self,
        input_shape: tuple[int, ...],
        outputs: int,
        width: float = 1.0,
        *,
        hidden: tuple[int, ...] = (128, 128),
    ) -> None:
        super().__init__()
        widths = (math.prod(input_shape), *(scaled(units, width) for units in hidden))
        layers: list[nn.Module] = []
        for units, following in itertools.pairwise(widths):
            layers += [nn.Linear(units, following), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.Linear(widths[-1], outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Outputs [B, outputs] of x [B, *input_shape]."""
        result: Tensor = self.layers(x.flatten(1))
        return result
