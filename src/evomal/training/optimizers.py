"""The optimiser of a training: one that settings name, or the task's own, which goes before what settings say."""

from collections.abc import Iterable

from torch import Tensor
from torch.optim import Optimizer

from evomal.config import SCHEDULE, BaseSettings, LearnSettings, given, lacking
from evomal.foundation.errors import SettingError
from evomal.tasks.factories import NOTHING_OWN, UserOptimizer
from evomal.training.named_optimizers import NAMED
from evomal.training.optimizer import BaseOptimizer, Rates, State, Tensors, moved


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
        return moved(parameters, gradients, scaling), state

    @property
    def first_rate(self) -> float:
        """1: the factors hold the learning rate."""
        return 1.0


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
        >>> from torch.optim import SGD
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
