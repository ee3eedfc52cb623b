r"""The optimisers of base networks: PyTorch's own for a single network, and the same step as a function.

A function changes nothing in place. So it serves local search, which differentiates through it, and networks in lanes,
whose parameters are stacked: every step is taken number by number, so that [N, ...] is as good as [...].
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import ClassVar

import torch
from torch import Tensor
from torch.optim import SGD, Adam, AdamW, Optimizer, RMSprop

from evomal.config import SCHEDULE, BaseSettings, LearnSettings, given, lacking
from evomal.foundation.errors import SettingError
from evomal.tasks.factories import NOTHING_OWN, UserOptimizer

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


def _moved(parameters: Tensors, directions: Tensors, rates: Rates) -> list[Tensor]:
    changes = torch._foreach_mul(list(directions), rates if isinstance(rates, float) else list(rates))
    return list(torch._foreach_sub(list(parameters), changes))


def _inverse_roots(parameters: Tensors, squares: Sequence[Tensor | None], eps: float) -> list[Tensor]:
    """1 / (√v + ε) of mean squares v; 0 where the mean is, as nothing is known of such a weight."""
    return [
        torch.zeros_like(p) if v is None else torch.where(v > 0, 1 / (v.sqrt() + eps), 0.0).to(p.dtype)
        for p, v in zip(parameters, squares, strict=True)
    ]


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
        return _moved(parameters, directions, rates), state

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
        return _moved(self._shrunk(parameters, rates), directions, rates), (moments, squares, counts)

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
        return _moved(parameters, directions, rates), (squares, *rest)

    def scaling(self, optimizer: Optimizer, parameters: Tensors) -> list[Tensor]:
        """1 / (√v + ε), v freed of its start from 0: what it settles to, not the long steps of the beginning."""
        known, kept = [optimizer.state.get(p, {}) for p in parameters], self.settings.smoothing
        squares = [s["square_avg"] / (1 - kept ** float(s["step"])) if s else None for s in known]
        return _inverse_roots(parameters, squares, self.settings.eps)


class OwnOptimizer(BaseOptimizer):
    """An optimiser of the user, of which nothing is known but what it does.

    Args:
        settings: The rate, which its factory is called with.
        own: The factory.
    """

    adaptive = True

    def __init__(self, settings: BaseSettings, own: UserOptimizer) -> None:
        super().__init__(settings)
        self.own = own

    def make(self, parameters: Tensors, lr: float) -> Optimizer:
        """What the factory makes."""
        return self.own.make(parameters, lr)

    def update(
        self, parameters: Tensors, gradients: Tensors, state: State, rates: Rates, scaling: Tensors | None = None
    ) -> tuple[list[Tensor], State]:
        """A step by fixed factors, which hold the learning rate."""
        assert scaling is not None
        return _moved(parameters, gradients, scaling), state

    @property
    def first_rate(self) -> float:
        """1: the factors hold the learning rate."""
        return 1.0


NAMED: dict[str, type[BaseOptimizer]] = {
    "sgd": StochasticGradientDescent,
    "adam": AdaptiveMoments,
    "adamw": DecoupledMoments,
    "rmsprop": RootMeanSquares,
}


def base_optimizer(base: BaseSettings, own: UserOptimizer = NOTHING_OWN) -> BaseOptimizer:
    """The optimiser that settings name, or that a task brings.

    Raises:
        SettingError: Settings name the task's own, and there is none.

    Example:
        >>> base_optimizer(BaseSettings(optimizer="adamw", lr=0.003)).settings.weight_decay
        0.01
    """
    if own.optimizer is not None:
        return OwnOptimizer(base, own)
    if base.optimizer == "own":
        raise SettingError(
            "setting 'optimizer': the task brings none of its own; give Task(..., optimizer=…), or a name"
        )
    return NAMED[base.optimizer](base)


def fitted_base(base: BaseSettings, own: UserOptimizer) -> BaseSettings:
    """Settings as they hold for a task: what it brings of its own goes before what a preset or a default says.

    Args:
        base: The settings.
        own: What the task brings.

    Raises:
        SettingError: Somebody gave a setting that the task's own optimiser or schedule has no use for.

    Example:
        >>> fitted_base(BaseSettings(lr=0.1), UserOptimizer(lambda parameters, lr: SGD(parameters, lr))).optimizer
        'own'
    """
    if own.schedule is not None:
        _require_none(base, SCHEDULE, "schedule")
    if own.optimizer is None or base.optimizer == "own":
        base_optimizer(base, own)
        return base
    without = lacking("own")
    _require_none(base, ("optimizer", *without), "optimizer")
    fields = type(base).model_fields
    return base.model_copy(update={"optimizer": "own"} | {name: fields[name].default for name in without})


def _require_none(base: BaseSettings, names: Iterable[str], what: str) -> None:
    """Refuse settings that somebody gave, and of which nothing would be seen."""
    for name in names:
        if name in given(base):
            raise SettingError(
                f"setting '{name}': the task brings a{'n' * (what[0] == 'o')} {what} of its own, so that "
                f"{getattr(base, name)!r} would have no effect; leave it out"
            )


def fitted_settings(settings: LearnSettings, own: Iterable[UserOptimizer]) -> LearnSettings:
    """Settings of a search as they hold for some tasks, by what each brings of its own; see `fitted_base`."""
    base = settings.base
    for each in own:
        base = fitted_base(base, each)
    return settings if base == settings.base else settings.model_copy(update={"base": base})


def shortened(gradients: Tensors, most: float | None, lanes: bool = False) -> list[Tensor]:
    """Gradients whose norm, all of them taken together, is at most `most`: ``clip_grad_norm_`` as a function.

    Args:
        gradients: Of one network, or of several, [N, ...] each.
        most: The norm; None leaves them as they are.
        lanes: Whether there are several networks, each with a norm of its own.
    """
    if most is None:
        return list(gradients)
    factor = (most / (norm_of(gradients, lanes) + CLIP_EPS)).clamp(max=1.0)
    return [g * like(factor, g) for g in gradients]


CLIP_EPS = 1e-6  # as in PyTorch


def norm_of(gradients: Tensors, lanes: bool) -> Tensor:
    """The norm of all gradients together: 0-dim, or [N]."""
    start = 1 if lanes else 0
    parts = [g.flatten(start) if g.dim() > start else g.unsqueeze(-1) for g in gradients]
    norms = [torch.linalg.vector_norm(part, dim=-1) for part in parts]
    total: Tensor = torch.linalg.vector_norm(torch.stack([n.to(norms[0]) for n in norms], dim=-1), dim=-1)
    return total


def like(factor: Tensor, tensor: Tensor) -> Tensor:
    """A factor for each lane, or one for all, such that it multiplies a tensor [N, ...]."""
    return factor.to(tensor.dtype).reshape(factor.shape + (1,) * (tensor.dim() - factor.dim()))
