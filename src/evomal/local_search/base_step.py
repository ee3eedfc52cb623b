"""The base optimiser as a function: stochastic gradient descent with momentum, Nesterov and weight decay."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class BaseStep:
    """One step of ``torch.optim.SGD`` from rest, and the following ones, without changing anything in place.

    Args:
        lr: Base learning rate α.
        momentum: Momentum μ.
        nesterov: Nesterov momentum.
        weight_decay: Weight decay λ.
    """

    lr: float
    momentum: float = 0.0
    nesterov: bool = False
    weight_decay: float = 0.0

    @property
    def first_rate(self) -> float:
        """α′, what the gradient is multiplied by in the first step: α, or α(1+μ) for Nesterov momentum from rest."""
        return self.lr * (1 + self.momentum) if self.nesterov else self.lr

    def first(self, parameters: Sequence[Tensor], gradients: Sequence[Tensor]) -> list[Tensor]:
        """θ1 = θ0 − α′(∇M + λθ0), outside any graph."""
        kept, rate = 1 - self.first_rate * self.weight_decay, -self.first_rate
        with torch.no_grad():
            if kept == 1:
                return [torch.add(p, g, alpha=rate) for p, g in zip(parameters, gradients, strict=True)]
            return [torch.add(p * kept, g, alpha=rate) for p, g in zip(parameters, gradients, strict=True)]

    def following(
        self,
        parameters: Sequence[Tensor],
        gradients: Sequence[Tensor],
        velocity: Sequence[Tensor] | None,
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Any step, inside the graph: the new parameters and the new velocity (None stands for rest)."""
        directions = [g + self.weight_decay * p for p, g in zip(parameters, gradients, strict=True)]
        if velocity is None:
            moving = directions
        else:
            moving = [self.momentum * v + d for v, d in zip(velocity, directions, strict=True)]
        if self.nesterov:
            directions = [d + self.momentum * v for d, v in zip(directions, moving, strict=True)]
        else:
            directions = moving
        return [p - self.lr * d for p, d in zip(parameters, directions, strict=True)], moving
