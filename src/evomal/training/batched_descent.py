"""What an optimiser does for many networks at once, whose parameters are stacked: in place, a rate for each lane."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from evomal.config import BaseSettings
from evomal.tasks.factories import UserOptimizer
from evomal.training.batched_model import Lanes
from evomal.training.clipping import shortened
from evomal.training.optimizers import base_optimizer
from evomal.training.schedules import make_schedule, rates_of

Gradients = Sequence[Tensor | None]


def make_descent(lanes: Lanes, base: BaseSettings, rates: Sequence[float], steps: int, own: UserOptimizer) -> "Descent":
    """How the parameters of lanes descend.

    Args:
        lanes: The parameters are changed in place.
        base: Optimiser, schedule, clipping.
        rates: The learning rate of each lane.
        steps: Of the training.
        own: What the task brings in place of them.
    """
    if own.optimizer is not None or own.schedule is not None:
        return _OneByOne(lanes, base, rates, steps, own)
    return _Together(lanes, base, rates, steps)


class Descent(ABC):
    """Steps of an optimiser on the parameters of all lanes."""

    on_device = False
    """Whether a step is nothing but operations on tensors, which a CUDA graph can hold."""

    @property
    def state(self) -> list[Tensor]:
        """All tensors that a step changes, parameters apart."""
        return []

    def begin(self, number: int) -> None:  # noqa: B027 (most have nothing to do)
        """The step of this number is next."""

    @abstractmethod
    def __call__(self, found: Gradients) -> None:
        """One step, from a gradient [N, ...] for each parameter, None where there is none."""


class _Together(Descent):
    """The optimiser as a function, on stacked parameters."""

    on_device = True

    def __init__(self, lanes: Lanes, base: BaseSettings, rates: Sequence[float], steps: int) -> None:
        self.optimizer, self.clip = base_optimizer(base), base.clip
        self.parameters = [p.detach() for p in lanes.parameters]
        self.memory = self.optimizer.start(self.parameters)
        self.rates = [torch.tensor(rates, dtype=p.dtype, device=p.device).reshape(_lanes(p)) for p in self.parameters]
        self.plan: Tensor | None = None
        if not base.is_constant:
            known = {rate: rates_of(base, rate, steps) for rate in set(rates)}
            plan = torch.tensor([known[rate] for rate in rates], dtype=torch.float64, device=self.rates[0].device)
            self.plan = plan.T.contiguous()

    @property
    def state(self) -> list[Tensor]:
        """The memory of the optimiser."""
        return [tensor for part in self.memory for tensor in part]

    def begin(self, number: int) -> None:
        """Set the rates of this step."""
        if self.plan is not None:
            for rates in self.rates:
                rates.copy_(self.plan[number].reshape(rates.shape))

    @torch.no_grad()
    def __call__(self, found: Gradients) -> None:
        """One step."""
        # The optimiser leaves out what has no gradient, weight decay included.
        used = [number for number, gradient in enumerate(found) if gradient is not None]
        gradients = shortened([gradient for gradient in found if gradient is not None], self.clip, lanes=True)

        def of_used(tensors: Sequence[Tensor]) -> list[Tensor]:
            return [tensors[number] for number in used]

        self.optimizer.update_in_place(
            of_used(self.parameters), gradients, tuple(of_used(part) for part in self.memory), of_used(self.rates)
        )


class _OneByOne(Descent):
    """An optimiser of PyTorch for every lane, which sees its part of the stacked parameters as a network's own."""

    def __init__(
        self, lanes: Lanes, base: BaseSettings, rates: Sequence[float], steps: int, own: UserOptimizer
    ) -> None:
        maker, self.clip = base_optimizer(base, own), base.clip
        self.parameters = [[nn.Parameter(p.detach()[lane]) for p in lanes.parameters] for lane in range(len(rates))]
        self.optimizers = [maker.make(own_part, rate) for own_part, rate in zip(self.parameters, rates, strict=True)]
        self.schedulers = [make_schedule(base, optimizer, steps, own) for optimizer in self.optimizers]

    def __call__(self, found: Gradients) -> None:
        """One step of each."""
        for lane, (optimizer, scheduler) in enumerate(zip(self.optimizers, self.schedulers, strict=True)):
            for parameter, gradient in zip(self.parameters[lane], found, strict=True):
                parameter.grad = None if gradient is None else gradient[lane]
            if self.clip is not None:
                nn.utils.clip_grad_norm_(self.parameters[lane], self.clip)
            optimizer.step()
            if scheduler is not None:
                scheduler.step()


def _lanes(parameter: Tensor) -> tuple[int, ...]:
    """The shape of one number for each lane, such that it multiplies a stacked parameter."""
    return (-1, *[1] * (parameter.dim() - 1))
