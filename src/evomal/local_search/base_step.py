r"""The step of the base optimiser that local search differentiates, and its pullback.

Through an adaptive optimiser the first step is a sign, :math:`g / \sqrt{g^2}`, whose derivative is zero. So the scale
of each weight is measured beforehand, by some steps with the task loss (`evomal.local_search.warm_up`), and is fixed:

.. math:: \theta_1 = \theta_0 - \alpha' D\, c(g), \qquad D = \mathrm{diag}\big(1 / (\sqrt{\hat v} + \epsilon)\big)

where c shortens gradients that are too long, and D = 1 for stochastic gradient descent.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from evomal.config import BaseSettings
from evomal.tasks.factories import NOTHING_OWN, UserOptimizer
from evomal.training.clipping import CLIP_EPS, like, norm_of, shortened
from evomal.training.optimizer import BaseOptimizer, State
from evomal.training.optimizers import base_optimizer


@dataclass(frozen=True, slots=True)
class BaseStep:
    """One step of the base optimiser from rest, and the following ones, without changing anything in place.

    The learning rate is α, whatever the schedule: meta steps stand for no certain time in a training.

    Args:
        base: Optimiser, learning rate, clipping.
        own: What the task brings in place of the optimiser.
        scaling: The fixed factor of every weight, a tensor for each parameter; an adaptive optimiser needs it.
        lanes: Whether gradients are those of many networks, [N, ...].

    Attributes:
        optimizer: The optimiser as a function.
    """

    base: BaseSettings
    own: UserOptimizer = NOTHING_OWN
    scaling: Sequence[Tensor] | None = None
    lanes: bool = False
    optimizer: BaseOptimizer = field(init=False)

    def __post_init__(self) -> None:
        """Make the optimiser."""
        object.__setattr__(self, "optimizer", base_optimizer(self.base, self.own))

    def scaled(self, scaling: Sequence[Tensor] | None) -> "BaseStep":
        """The same step with other factors."""
        return self if scaling is None else replace(self, scaling=scaling)

    @property
    def first_rate(self) -> float:
        """α′, what the gradient is multiplied by in the first step beside the factors of each weight."""
        return self.optimizer.first_rate

    def first(self, parameters: Sequence[Tensor], gradients: Sequence[Tensor]) -> list[Tensor]:
        """θ1 from θ0 and ∇M, outside any graph."""
        with torch.no_grad():
            gradients = shortened(gradients, self.base.clip, self.lanes)
            if self.optimizer.adaptive:
                state = self.optimizer.start(parameters)
                return self.optimizer.update(parameters, gradients, state, self.base.lr, self.scaling)[0]
            kept, rate = 1 - self.first_rate * self.base.weight_decay, -self.first_rate
            if kept == 1:
                return [torch.add(p, g, alpha=rate) for p, g in zip(parameters, gradients, strict=True)]
            return [torch.add(p * kept, g, alpha=rate) for p, g in zip(parameters, gradients, strict=True)]

    def pullback(self, gradients: Sequence[Tensor], directions: Sequence[Tensor]) -> Sequence[Tensor]:
        r"""The direction that belongs to ∇M as v to θ1: :math:`-(\partial\theta_1/\partial g)^T v / \alpha'`.

        Args:
            gradients: ∇M as it went into `first`.
            directions: v, the gradient at θ1.

        Returns:
            D v; where the gradient was shortened from its norm n by the factor c, c (u − g ⟨g, u⟩ / n²) with u = D v.
        """
        with torch.no_grad():
            if self.scaling is not None:
                directions = [u * d for u, d in zip(directions, self.scaling, strict=True)]
            if self.base.clip is None:
                return directions
            norm = norm_of(gradients, self.lanes)
            factor = self.base.clip / (norm + CLIP_EPS)
            pairs = zip(gradients, directions, strict=True)
            inner = sum((_inner(g, u, self.lanes) for g, u in pairs), torch.zeros_like(norm))
            across = torch.where(factor < 1, inner / (norm * (norm + CLIP_EPS)), 0.0)
            factor = factor.clamp(max=1.0)
            return [like(factor, g) * (u - like(across, g) * g) for g, u in zip(gradients, directions, strict=True)]

    def following(
        self, parameters: Sequence[Tensor], gradients: Sequence[Tensor], state: State | None
    ) -> tuple[list[Tensor], State]:
        """Any step, inside the graph: the new parameters and the new state (None stands for rest)."""
        gradients = shortened(gradients, self.base.clip, self.lanes)
        state = self.optimizer.start(parameters) if state is None else state
        return self.optimizer.update(parameters, gradients, state, self.base.lr, self.scaling)


def _inner(first: Tensor, second: Tensor, lanes: bool) -> Tensor:
    return inner_of_lanes(first, second) if lanes else (first * second).sum()


def inner_of_lanes(first: Tensor, second: Tensor) -> Tensor:
    """The inner product of each lane [N]; a lane's own part may have no dimensions."""
    return (first * second).reshape(len(first), -1).sum(1)
