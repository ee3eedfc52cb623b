"""What users bring that is made anew for every training: a model for every seed, an optimiser, a schedule."""

import reprlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from evomal.foundation.contexts import recording
from evomal.foundation.errors import EvomalError, ModelError, SettingError, one_line
from evomal.foundation.seeds import seeded
from evomal.tasks.wrappers import without_wrappers

Factory = Callable[[], nn.Module]
OptimizerFactory = Callable[[list[Tensor], float], Optimizer]
ScheduleFactory = Callable[[Optimizer, int], LRScheduler]


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


def checked_function_of(name: str, function: Any) -> Any:
    """A function that users may give beside the model: `optimizer`, `schedule` or `outputs`; None where they do not.

    Raises:
        SettingError: It is none.
    """
    if function is None or callable(function):
        return function
    if isinstance(function, str) and name == "optimizer":
        raise SettingError(
            f"optimizer is {function!r}; name it in the settings, such as EvoMAL(optimizer={function!r})"
        )
    if name == "outputs":
        raise SettingError(
            f"outputs is a {type(function).__name__}; give a function, outputs=lambda out: out['logits']"
        )
    kind, arguments = type(function).__name__, {"optimizer": "parameters, lr", "schedule": "optimizer, steps"}[name]
    raise SettingError(f"{name} is a {kind}; give a function that makes one, {name}=lambda {arguments}: …")


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
            f"model '{name}' cannot be built by its factory, called {_arguments_of(factory)}: {one_line(error)}"
        ) from error
    model = without_wrappers(model)
    if not isinstance(model, nn.Module):
        raise ModelError(f"model '{name}' is a {type(model).__name__}; its factory must return a torch.nn.Module")
    if any(is_lazy(parameter) for parameter in model.parameters()):
        raise ModelError(f"model '{name}' has lazy layers without weights; state sizes, or call it once in its factory")
    return model.train()


def _arguments_of(factory: Factory) -> str:
    """What a factory is called with, for messages."""
    if not isinstance(factory, partial):
        return "without arguments"
    given = [reprlib.repr(value) for value in factory.args]
    given += [f"{name}={reprlib.repr(value)}" for name, value in factory.keywords.items()]
    return f"with ({', '.join(given)})"


@dataclass(frozen=True, slots=True)
class UserOptimizer:
    """What a task brings of its own to train base networks with.

    Args:
        optimizer: ``optimizer(parameters, lr)`` makes an optimiser; None takes the one that settings name.
        schedule: ``schedule(optimizer, steps)`` makes a learning-rate scheduler, stepped after every step of a training
            of so many; None takes the one that settings name.

    Example:
        >>> import torch
        >>> own = UserOptimizer(lambda parameters, lr: torch.optim.NAdam(parameters, lr))
        >>> type(own.make([torch.zeros(2, requires_grad=True)], 0.1)).__name__
        'NAdam'
    """

    optimizer: OptimizerFactory | None = None
    schedule: ScheduleFactory | None = None

    def names(self) -> dict[str, str]:
        """What there is, by the names of its functions.

        Example:
            >>> UserOptimizer(schedule=lambda optimizer, steps: None).names()
            {'schedule': 'own (<lambda>)'}
        """
        factories = {"optimizer": self.optimizer, "schedule": self.schedule}
        known = {name: factory for name, factory in factories.items() if factory is not None}
        return {name: f"own ({getattr(each, '__name__', type(each).__name__)})" for name, each in known.items()}

    def make(self, parameters: Sequence[Tensor], lr: float) -> Optimizer:
        """The optimiser of a network's trainable parameters.

        Raises:
            SettingError: The factory fails, or gives something else.
        """
        assert self.optimizer is not None
        made = _called(self.optimizer, "optimizer", "(parameters, lr)", list(parameters), lr)
        if not isinstance(made, Optimizer):
            raise SettingError(
                f"the task's optimizer gives a {type(made).__name__}; return a torch.optim.Optimizer, such as "
                "optimizer=lambda parameters, lr: torch.optim.NAdam(parameters, lr)"
            )
        return made

    def scheduler(self, optimizer: Optimizer, steps: int) -> LRScheduler:
        """The schedule of a training of so many steps.

        Raises:
            SettingError: The factory fails, or gives something else.
        """
        assert self.schedule is not None
        made = _called(self.schedule, "schedule", "(optimizer, steps)", optimizer, steps)
        if not isinstance(made, LRScheduler) or isinstance(made, ReduceLROnPlateau):
            raise SettingError(
                f"the task's schedule gives a {type(made).__name__}; return a scheduler that needs no metric, such as "
                "schedule=lambda optimizer, steps: torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)"
            )
        return made


def _called(factory: Callable[..., Any], name: str, signature: str, *arguments: Any) -> Any:
    try:
        return factory(*arguments)
    except EvomalError:
        raise
    except Exception as error:
        raise SettingError(f"the task's {name}, called as {name}{signature}, fails: {one_line(error)}") from error


NOTHING_OWN = UserOptimizer()
