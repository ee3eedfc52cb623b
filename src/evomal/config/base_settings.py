"""How base networks are trained: which optimisers there are, and which settings each has."""

from typing import Any, Literal, Self

from pydantic import field_validator, model_validator
from pydantic_core import PydanticCustomError

from evomal.config.fields import (
    Count,
    Meaning,
    NotNegative,
    Positive,
    Probability,
    Rate,
    Settings,
    Share,
    meanings,
    setting,
)

ScheduleName = Literal["constant", "step", "cosine", "one-cycle"]

OPTIMIZERS: dict[str, dict[str, float]] = {
    "sgd": {},
    "adam": {"lr": 1e-3},
    "adamw": {"lr": 1e-3, "weight_decay": 0.01},
    "rmsprop": {"lr": 1e-3},
    "own": {},
}
"""Every base optimiser by name, with what it takes unless told otherwise; ``own`` is that which a task brings.

Presets were made for stochastic gradient descent and give way to it. Which further settings it has, these say.
"""

MOMENTA = ("adam", "adamw")
DECAYING = ("sgd", "adam", "adamw", "rmsprop")
SCHEDULE = ("schedule", "milestones", "gamma", "warmup")


def of_optimizers(*names: str) -> Meaning:
    """What a setting means that only some base optimisers have."""
    return Meaning(only=("optimizer", names))


class BaseSettings(Settings):
    """How the base model is trained, in part and in full (Equation 1; the paper: SGD at a constant rate)."""

    optimizer: str = setting(
        "sgd", "optimiser of the base model; own: that which the task brings", names=lambda: OPTIMIZERS
    )
    lr: Rate = setting(
        0.01, "base learning rate α, the greatest of the schedule (adam, adamw, rmsprop: 0.001 unless given)"
    )
    momentum: NotNegative = setting(0.0, "momentum", of_optimizers("sgd", "rmsprop"))
    nesterov: bool = setting(False, "Nesterov momentum", of_optimizers("sgd"))
    weight_decay: NotNegative = setting(
        0.0,
        "weight decay, decoupled from the gradient for adamw (which has 0.01 unless given)",
        of_optimizers(*DECAYING),
    )
    betas: tuple[Share, Share] = setting(
        (0.9, 0.999), "how much of the means of gradients and of their squares is kept", of_optimizers(*MOMENTA)
    )
    smoothing: Share = setting(0.99, "how much of the mean of squared gradients is kept", of_optimizers("rmsprop"))
    eps: Positive = setting(1e-8, "added to the root of the mean of squares", of_optimizers(*MOMENTA, "rmsprop"))
    clip: Positive | None = setting(
        None, "greatest norm of the gradient of all weights together; longer ones are shortened to it", none="none"
    )
    schedule: ScheduleName = setting("constant", "learning rate over the steps of a training, be it partial or full")
    milestones: tuple[Probability, ...] = setting(
        (2 / 3, 0.9), "where the rate is multiplied by gamma, as shares of all steps", only=("schedule", ("step",))
    )
    gamma: Positive = setting(0.1, "the factor at each milestone", only=("schedule", ("step",)))
    warmup: Share = setting(0.0, "share of all steps in which the rate first rises to lr (one-cycle: 0 means 0.3)")
    batch_size: Count = setting(128, "instances in a batch")

    @field_validator("optimizer")
    @classmethod
    def _is_known(cls, optimizer: str) -> str:
        if optimizer not in OPTIMIZERS:
            raise PydanticCustomError("unknown_name", "{names}", {"names": ", ".join(OPTIMIZERS)})
        return optimizer

    @model_validator(mode="before")
    @classmethod
    def _defaults_of_the_optimizer(cls, values: Any) -> Any:
        if not isinstance(values, dict) or not isinstance(values.get("optimizer"), str):
            return values
        return OPTIMIZERS.get(values["optimizer"], {}) | values

    @model_validator(mode="after")
    def _is_the_optimizers_own(self) -> Self:
        # Files hold all settings, so one that no other value was given to is no contradiction.
        for name in lacking(self.optimizer):
            if getattr(self, name) != type(self).model_fields[name].default:
                raise ValueError(not_had(name, self.optimizer))
        return self

    @model_validator(mode="after")
    def _nesterov_needs_momentum(self) -> Self:
        if self.nesterov and self.momentum == 0:
            raise ValueError("nesterov needs a momentum above 0")
        return self

    @property
    def is_constant(self) -> bool:
        """Whether the learning rate stays the same."""
        return self.schedule == "constant" and self.warmup == 0

    def known(self) -> dict[str, Any]:
        """The settings that matter for this optimiser and schedule, as plain values."""
        only = {name: meaning.only for name, meaning in meanings(type(self)).items() if meaning.only is not None}
        idle = {name for name, (switch, values) in only.items() if getattr(self, switch) not in values}
        idle |= set() if self.clip is not None else {"clip"}
        idle |= set(SCHEDULE) if self.is_constant else set()
        return {name: value for name, value in self.model_dump(mode="json").items() if name not in idle}


def lacking(optimizer: str) -> tuple[str, ...]:
    """The settings that a base optimiser does not have.

    Example:
        >>> lacking("adam")
        ('momentum', 'nesterov', 'smoothing')
    """
    only = {name: meaning.only for name, meaning in meanings(BaseSettings).items() if meaning.only is not None}
    return tuple(name for name, (switch, has) in only.items() if switch == "optimizer" and optimizer not in has)


def not_had(name: str, optimizer: str) -> str:
    """What is wrong with a setting that an optimiser does not have."""
    return f"setting '{name}': optimizer {optimizer} does not have it; leave it out"
