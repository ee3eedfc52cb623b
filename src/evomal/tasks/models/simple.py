"""Small models: linear and MLP, which take inputs of any shape, and LeNet-5 as the paper's experiments use it."""

import itertools
import math

from torch import Tensor, nn

from evomal.foundation.errors import ModelError
from evomal.tasks.models.images import scaled, turned

INPUT_SHAPE = (1, 28, 28)


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


class LeNet5(nn.Module):
    """LeNet-5 without padding: tanh, average pooling, 6–16–120–84; 44,426 parameters for ten classes.

    Convolutions 5×5 turn 28×28 into 24×24, pooled to 12×12, then 8×8, pooled to 4×4: 16 · 4 · 4 = 256
    features. Every map of the second convolution sees all six of the first, and the output layer is linear.

    Args:
        input_shape: Must be (1, 28, 28).
        outputs: Number of classes, or of targets.
        width: Factor on all channels and hidden units.

    Raises:
        ModelError: Inputs have another shape.

    Example:
        >>> sum(parameter.numel() for parameter in LeNet5((1, 28, 28), 10).parameters())
        44426

    Source: LeCun, Bottou, Bengio, Haffner, "Gradient-based learning applied to document recognition", 1998.
    """

    def __init__(self, input_shape: tuple[int, ...], outputs: int, width: float = 1.0) -> None:
        super().__init__()
        if tuple(input_shape) != INPUT_SHAPE:
            raise ModelError(
                f"model 'lenet5' takes greyscale images of shape {list(INPUT_SHAPE)}, but instances have "
                f"shape {list(input_shape)}; {turned(input_shape)}"
            )
        first, second, third, fourth = (scaled(count, width) for count in (6, 16, 120, 84))
        self.features = nn.Sequential(
            nn.Conv2d(1, first, kernel_size=5),
            nn.Tanh(),
            nn.AvgPool2d(2),
            nn.Conv2d(first, second, kernel_size=5),
            nn.Tanh(),
            nn.AvgPool2d(2),
        )
        self.classifier = nn.Sequential(
            nn.Flatten(),
            nn.Linear(16 * second, third),
            nn.Tanh(),
            nn.Linear(third, fourth),
            nn.Tanh(),
            nn.Linear(fourth, outputs),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Outputs [B, outputs] of images x [B, 1, 28, 28]."""
        result: Tensor = self.classifier(self.features(x))
        return result
