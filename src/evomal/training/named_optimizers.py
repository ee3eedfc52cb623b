"""The optimisers that settings name, each once: as PyTorch's class, and as a function of the same step."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.optim import SGD, Adam, AdamW, Optimizer, RMSprop

from evomal.training.optimizer import BaseOptimizer, Rates, State, Tensors, moved


class StochasticGradientDescent(BaseOptimizer):
    r"""``torch.optim.SGD``: :math:`v \leftarrow \mu v + g + \lambda\theta,\ \theta \leftarrow \theta - \alpha v`."""

    def make(self, parameters: Tensors, lr: float) -> Optimizer:
        """PyTorch's optimiser for the parameters of one network."""
        s = self.settings
        return SGD(parameters, lr=lr, momentum=s.momentum, nesterov=s.nesterov, weight_decay=s.weight_decay)

    def start(self, parameters: Tensors) -> State:
        """The velocity, if there is momentum."""
        return ([torch.zeros_like(p) for p in parameters],) if self.settings.momentum else ()

    def update(
        self, parameters: Tensors, gradients: Tensors, state: State, rates: Rates, scaling: Tensors | None = None
    ) -> tuple[list[Tensor], State]:
        """One step."""
        directions, momentum = self._decayed(parameters, gradients), self.settings.momentum
        if momentum:
            velocity = list(torch._foreach_add(torch._foreach_mul(state[0], momentum), directions))
            state = (velocity,)
            nesterov = self.settings.nesterov
            directions = list(torch._foreach_add(directions, velocity, alpha=momentum)) if nesterov else velocity
        return moved(parameters, directions, rates), state

    def update_in_place(self, parameters: Tensors, gradients: Tensors, state: State, rates: Tensors) -> None:
        """The same step in place: every weight is read and written once."""
        directions, momentum = self._decayed(parameters, gradients), self.settings.momentum
        if momentum:
            (velocity,) = state
            torch._foreach_mul_(velocity, momentum)
            torch._foreach_add_(velocity, directions)
            nesterov = self.settings.nesterov
            directions = list(torch._foreach_add(directions, velocity, alpha=momentum)) if nesterov else velocity
        for parameter, direction, rate in zip(parameters, directions, rates, strict=True):
            parameter.addcmul_(direction, rate, value=-1.0)

    @property
    def first_rate(self) -> float:
        """α, or α(1+μ) for Nesterov momentum from rest."""
        return self.settings.lr * (1 + self.settings.momentum) if self.settings.nesterov else self.settings.lr


class AdaptiveMoments(BaseOptimizer):
    r"""``torch.optim.Adam``: :math:`\theta \leftarrow \theta - \alpha\,\hat m / (\sqrt{\hat v} + \epsilon)`.

    Source:
        Kingma and Ba, "Adam: A Method for Stochastic Optimization", 2015.
    """

    adaptive = True

    def make(self, parameters: Tensors, lr: float) -> Optimizer:
        """PyTorch's optimiser for the parameters of one network."""
        s = self.settings
        return Adam(parameters, lr=lr, betas=s.betas, eps=s.eps, weight_decay=s.weight_decay)

    def start(self, parameters: Tensors) -> State:
        """Both moments, and for each parameter the number of its steps, which corrects their bias."""
        zeros = [torch.zeros_like(p) for p in parameters]
        # In double precision: 1 - β2 is small, and lanes keep the number on their device.
        counts = [torch.zeros((), dtype=torch.float64, device=p.device) for p in parameters]
        return zeros, [torch.zeros_like(p) for p in parameters], counts

    def update(
        self, parameters: Tensors, gradients: Tensors, state: State, rates: Rates, scaling: Tensors | None = None
    ) -> tuple[list[Tensor], State]:
        """One step."""
        (first, second), (moments, squares, counts) = self.settings.betas, state
        counts = list(torch._foreach_add(counts, 1))
        gradients = self._decayed(parameters, gradients)
        moments = list(torch._foreach_add(torch._foreach_mul(moments, first), gradients, alpha=1 - first))
        if scaling is None:
            products = torch._foreach_mul(gradients, gradients)
            squares = list(torch._foreach_add(torch._foreach_mul(squares, second), products, alpha=1 - second))
            eps = self.settings.eps
            scaling = [1 / ((v / (1 - second**n)).sqrt() + eps) for v, n in zip(squares, counts, strict=True)]
        directions = [m * d / (1 - first**n) for m, d, n in zip(moments, scaling, counts, strict=True)]
        return moved(self._shrunk(parameters, rates), directions, rates), (moments, squares, counts)

    def scaling(self, optimizer: Optimizer, parameters: Tensors) -> list[Tensor]:
        """1 / (√v̂ + ε)."""
        known, second = [optimizer.state.get(p, {}) for p in parameters], self.settings.betas[1]
        squares = [s["exp_avg_sq"] / (1 - second ** float(s["step"])) if s else None for s in known]
        return _inverse_roots(parameters, squares, self.settings.eps)

    def _shrunk(self, parameters: Tensors, rates: Rates) -> Tensors:
        return parameters


class DecoupledMoments(AdaptiveMoments):
    """``torch.optim.AdamW``: Adam whose weight decay is no part of the gradient.

    Source:
        Loshchilov and Hutter, "Decoupled Weight Decay Regularization", 2019.
    """

    def make(self, parameters: Tensors, lr: float) -> Optimizer:
        """PyTorch's optimiser for the parameters of one network."""
        s = self.settings
        return AdamW(parameters, lr=lr, betas=s.betas, eps=s.eps, weight_decay=s.weight_decay)

    def _decayed(self, parameters: Tensors, gradients: Tensors) -> list[Tensor]:
        return list(gradients)

    def _shrunk(self, parameters: Tensors, rates: Rates) -> Tensors:
        decay = self.settings.weight_decay
        if not decay:
            return parameters
        if isinstance(rates, float):
            return torch._foreach_mul(list(parameters), 1 - rates * decay)
        return torch._foreach_mul(list(parameters), [1 - rate * decay for rate in rates])


class RootMeanSquares(BaseOptimizer):
    r"""``torch.optim.RMSprop``: :math:`\theta \leftarrow \theta - \alpha\,g / (\sqrt v + \epsilon)`."""

    adaptive = True

    def make(self, parameters: Tensors, lr: float) -> Optimizer:
        """PyTorch's optimiser for the parameters of one network."""
        s = self.settings
        return RMSprop(
            parameters, lr=lr, alpha=s.smoothing, eps=s.eps, weight_decay=s.weight_decay, momentum=s.momentum
        )

    def start(self, parameters: Tensors) -> State:
        """The mean squares, and the velocity if there is momentum."""
        count = 2 if self.settings.momentum else 1
        return tuple([torch.zeros_like(p) for p in parameters] for _ in range(count))

    def update(
        self, parameters: Tensors, gradients: Tensors, state: State, rates: Rates, scaling: Tensors | None = None
    ) -> tuple[list[Tensor], State]:
        """One step."""
        squares, *rest = state
        gradients, kept = self._decayed(parameters, gradients), self.settings.smoothing
        if scaling is None:
            products = torch._foreach_mul(gradients, gradients)
            squares = list(torch._foreach_add(torch._foreach_mul(squares, kept), products, alpha=1 - kept))
            scaling = [1 / (v.sqrt() + self.settings.eps) for v in squares]
        directions = list(torch._foreach_mul(gradients, list(scaling)))
        if rest:
            directions = list(torch._foreach_add(torch._foreach_mul(rest[0], self.settings.momentum), directions))
            rest = [directions]
        return moved(parameters, directions, rates), (squares, *rest)

    def scaling(self, optimizer: Optimizer, parameters: Tensors) -> list[Tensor]:
        """1 / (√v + ε), v freed of its start from 0: what it settles to, not the long steps of the beginning."""
        known, kept = [optimizer.state.get(p, {}) for p in parameters], self.settings.smoothing
        squares = [s["square_avg"] / (1 - kept ** float(s["step"])) if s else None for s in known]
        return _inverse_roots(parameters, squares, self.settings.eps)


def _inverse_roots(parameters: Tensors, squares: Sequence[Tensor | None], eps: float) -> list[Tensor]:
    """1 / (√v + ε) of mean squares v; 0 where the mean is, as nothing is known of such a weight."""
    return [
        torch.zeros_like(p) if v is None else torch.where(v > 0, 1 / (v.sqrt() + eps), 0.0).to(p.dtype)
        for p, v in zip(parameters, squares, strict=True)
    ]


NAMED: dict[str, type[BaseOptimizer]] = {
    "sgd": StochasticGradientDescent,
    "adam": AdaptiveMoments,
    "adamw": DecoupledMoments,
    "rmsprop": RootMeanSquares,
}
