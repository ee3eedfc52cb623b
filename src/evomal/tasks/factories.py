"""Model factories: what builds a fresh network for every seed."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from evomal.foundation.contexts import recording
from evomal.foundation.errors import EvomalError, ModelError, one_line
from evomal.foundation.seeds import seeded

Factory = Callable[[], nn.Module]


def checked_factory(model: Any) -> Factory:
    """`model` as a factory.

    Raises:
        ModelError: It is a built network, or not callable.

    Example:
        >>> checked_factory(lambda: nn.Linear(2, 1))()
        Linear(in_features=2, out_features=1, bias=True)
    """
    if isinstance(model, nn.Module):
        kind = type(model).__name__
        raise ModelError(
            f"model is a built {kind}; give a function that builds a fresh one, such as `lambda: {kind}()`, "
            "as every loss is tried on new networks"
        )
    if not callable(model):
        raise ModelError(f"model is a {type(model).__name__}; give a function that builds and returns a network")
    factory: Factory = model
    return factory


def own_floats(factory: Factory) -> torch.dtype | None:
    """The type that a model computes in, where that is float64 though it is not the default; else None.

    Args:
        factory: Builds a network, which is thrown away.

    Example:
        >>> own_floats(lambda: nn.Linear(2, 1).double())
        torch.float64
    """
    try:
        return floats_of(build(factory, "", 0))
    except EvomalError:  # whoever needs a network will be told
        return None


def floats_of(model: nn.Module) -> torch.dtype | None:
    """As `own_floats`, of a network."""
    floats = {p.dtype for p in model.parameters() if p.is_floating_point()}
    return torch.float64 if floats == {torch.float64} != {torch.get_default_dtype()} else None


@recording()
def build(factory: Factory, name: str, seed: int) -> nn.Module:
    """A fresh network in train mode, initialised from `seed` alone; global generators are left as they were.

    Args:
        factory: Builds the network.
        name: What messages call the model.
        seed: A number in ``[0, 2**63)``.

    Returns:
        The network, where the factory puts it.

    Raises:
        ModelError: The factory fails, gives something else, or leaves parameters without values.

    Example:
        >>> one, other = (build(lambda: nn.Linear(2, 1), "tiny", seed=3) for _ in range(2))
        >>> bool((one.weight == other.weight).all())
        True
    """
    try:
        with seeded(seed):
            model = factory()
    except EvomalError:
        raise
    except Exception as error:
        raise ModelError(
            f"model '{name}' cannot be built by its factory, called without arguments: {one_line(error)}"
        ) from error
    if isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel):
        model = model.module  # one device at a time; and it cannot be called with other parameters than its own
    if not isinstance(model, nn.Module):
        raise ModelError(f"model '{name}' is a {type(model).__name__}; its factory must return a torch.nn.Module")
    if any(is_lazy(parameter) for parameter in model.parameters()):
        raise ModelError(f"model '{name}' has lazy layers without weights; state sizes, or call it once in its factory")
    return model.train()
