"""An optimiser and a schedule of the user, in place of those that settings name."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from evomal.foundation.errors import EvomalError, SettingError, one_line

OptimizerFactory = Callable[[list[Tensor], float], Optimizer]
ScheduleFactory = Callable[[Optimizer, int], LRScheduler]


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
