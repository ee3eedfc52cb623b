"""What every optimiser of base networks is: PyTorch's own for a single network, and the same step as a function.

A function changes nothing in place. So it serves local search, which differentiates through it, and networks in lanes,
whose parameters are stacked: every step is taken number by number, so that [N, ...] is as good as [...].
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor
from torch.optim import Optimizer

from evomal.config import BaseSettings

Tensors = Sequence[Tensor]
Rates = float | Tensors
State = tuple[list[Tensor], ...]


class BaseOptimizer(ABC):
    """One way to train base networks.

    Args:
        settings: Its rate and all else that it has.
    """

    adaptive: ClassVar[bool] = False
    """Whether each weight has a scale of its own, which local search takes as fixed."""

    def __init__(self, settings: BaseSettings) -> None:
        self.settings = settings

    @abstractmethod
    def make(self, parameters: Tensors, lr: float) -> Optimizer:
        """PyTorch's optimiser for the parameters of one network."""

    def start(self, parameters: Tensors) -> State:
        """The state before the first step: lists of a tensor for each parameter."""
        return ()

    @abstractmethod
    def update(
        self, parameters: Tensors, gradients: Tensors, state: State, rates: Rates, scaling: Tensors | None = None
    ) -> tuple[list[Tensor], State]:
        """One step, outside anything in place: the new parameters and the new state.

        Args:
            parameters: Of one network, or of several, [N, ...] each.
            gradients: One for each.
            state: From `start` or from the step before.
            rates: The learning rate; or for each parameter a tensor that can be broadcast to it.
            scaling: Of an adaptive optimiser: the fixed factors of each weight, in place of those that follow from the
                gradients.
        """

    def update_in_place(self, parameters: Tensors, gradients: Tensors, state: State, rates: Tensors) -> None:
        """The same step in place, outside any graph; the gradients may be overwritten."""
        found, after = self.update(parameters, gradients, state, rates)
        for old, new in zip((parameters, *state), (found, *after), strict=True):
            torch._foreach_copy_(list(old), list(new))

    def scaling(self, optimizer: Optimizer, parameters: Tensors) -> list[Tensor]:
        """The factors of each weight after some steps of `make`'s optimiser; 0 where there were no gradients."""
        raise NotImplementedError

    @property
    def first_rate(self) -> float:
        """What the (scaled) gradient is multiplied by in the first step from rest."""
        return self.settings.lr

    def _decayed(self, parameters: Tensors, gradients: Tensors) -> list[Tensor]:
        """Gradients with the weight decay that is a part of them."""
        decay = self.settings.weight_decay
        return list(torch._foreach_add(list(gradients), list(parameters), alpha=decay) if decay else gradients)


def moved(parameters: Tensors, directions: Tensors, rates: Rates) -> list[Tensor]:
    """Parameters after a step against given directions."""
    changes = torch._foreach_mul(list(directions), rates if isinstance(rates, float) else list(rates))
    return list(torch._foreach_sub(list(parameters), changes))
