"""The table of models; another one is another row."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol

import torch
from torch import nn

from evomal.foundation.errors import SettingError, unknown_name
from evomal.tasks.models.convolutional import VGG16, AlexNet, AllCNNC, SqueezeNet
from evomal.tasks.models.residual import PreResNet101, PyramidNet110, ResNet18, WideResNet28
from evomal.tasks.models.simple import MLP, LeNet5, Linear


class ModelClass(Protocol):
    """What builds a registered model from shapes."""

    def __call__(self, input_shape: tuple[int, ...], outputs: int, width: float = 1.0) -> nn.Module:
        """A network from instances of `input_shape` to `outputs` numbers, with `width` times its channels or units."""


class Shapes(Protocol):
    """What a model needs to know of a data set."""

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one instance."""

    @property
    def outputs(self) -> int:
        """Number of classes, or of targets."""


MODELS: Mapping[str, ModelClass] = MappingProxyType(
    {
        "linear": Linear,
        "mlp": MLP,
        "lenet5": LeNet5,
        "alexnet": AlexNet,
        "vgg16": VGG16,
        "allcnnc": AllCNNC,
        "squeezenet": SqueezeNet,
        "resnet18": ResNet18,
        "preresnet101": PreResNet101,
        "wideresnet28-10": WideResNet28,
        "pyramidnet110": PyramidNet110,
    }
)
WIDEST = 16.0  # beyond it a mistyped width would fill the memory


@dataclass(frozen=True)
class ModelFactory:
    """Builds a registered model; plain data, so it can be sent to another process.

    Args:
        name: A name in `MODELS`.
        input_shape: Shape of one instance.
        outputs: Number of classes, or of targets.
        width: Factor on all channels or hidden units: thin networks learn, on a CPU, what wide ones would need a GPU
            for.

    Example:
        >>> ModelFactory("linear", (3,), 2)()
        Linear(
          (layer): Linear(in_features=3, out_features=2, bias=True)
        )
    """

    name: str
    input_shape: tuple[int, ...]
    outputs: int
    width: float = 1.0

    def __call__(self) -> nn.Module:
        """A fresh network."""
        return MODELS[self.name](self.input_shape, self.outputs, self.width)


def make_factory(name: str, data: Shapes, width: float = 1.0) -> ModelFactory:
    """The factory of a registered model for a data set.

    Args:
        name: A name in `MODELS`.
        data: Anything with `input_shape` and `outputs`, such as `Data`.
        width: Factor on all channels or hidden units.

    Returns:
        The factory.

    Raises:
        UnknownNameError: There is no such model.
        ModelError: The model does not take inputs of this shape, or has no width.
        SettingError: The width is out of its range.

    Example:
        >>> make_factory("mlp", ModelFactory("", (8,), 3))
        ModelFactory(name='mlp', input_shape=(8,), outputs=3, width=1.0)
    """
    if name not in MODELS:
        raise unknown_name("model", name, MODELS)
    if not 0 < width <= WIDEST:
        raise SettingError(f"width is {width}; choose a factor above 0 and up to {WIDEST:g}, such as 0.25")
    factory = ModelFactory(name, tuple(data.input_shape), data.outputs, float(width))
    with torch.device("meta"):  # a misfit shows at once, without memory or random numbers
        factory()
    return factory
