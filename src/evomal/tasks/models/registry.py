"""The table of models; another one is another row."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol

import torch
from torch import nn

from evomal.foundation.errors import unknown_name
from evomal.tasks.models.lenet5 import LeNet5
from evomal.tasks.models.simple import MLP, Linear


class ModelClass(Protocol):
    """What builds a registered model from shapes."""

    def __call__(self, input_shape: tuple[int, ...], outputs: int) -> nn.Module:
        """A network from instances of `input_shape` to `outputs` numbers."""


class Shapes(Protocol):
    """What a model needs to know of a data set."""

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one instance."""

    @property
    def outputs(self) -> int:
        """Number of classes, or of targets."""


MODELS: Mapping[str, ModelClass] = MappingProxyType({"linear": Linear, "mlp": MLP, "lenet5": LeNet5})


@dataclass(frozen=True)
class ModelFactory:
    """Builds a registered model; plain data, so it can be sent to another process.

    Args:
        name: A name in `MODELS`.
        input_shape: Shape of one instance.
        outputs: Number of classes, or of targets.

    Example:
        >>> ModelFactory("linear", (3,), 2)()
        Linear(
          (layer): Linear(in_features=3, out_features=2, bias=True)
        )
    """

    name: str
    input_shape: tuple[int, ...]
    outputs: int

    def __call__(self) -> nn.Module:
        return MODELS[self.name](self.input_shape, self.outputs)


def make_factory(name: str, data: Shapes) -> ModelFactory:
    """The factory of a registered model for a data set.

    Args:
        name: A name in `MODELS`.
        data: Anything with `input_shape` and `outputs`, such as `Data`.

    Returns:
        The factory.

    Raises:
        UnknownNameError: There is no such model.
        ModelError: The model does not take inputs of this shape.

    Example:
        >>> make_factory("mlp", ModelFactory("", (8,), 3))
        ModelFactory(name='mlp', input_shape=(8,), outputs=3)
    """
    if name not in MODELS:
        raise unknown_name("model", name, MODELS)
    factory = ModelFactory(name, tuple(data.input_shape), data.outputs)
    with torch.device("meta"):  # a misfit shows at once, without memory or random numbers
        factory()
    return factory
