"""Settings of each stage: one frozen, validated class each.

Every number is the paper's (Section 3 and 4) unless its description says otherwise. All classes here are plain data:
they can be written as YAML, compared, and sent to another process. What a field says beside its default and its help
is explained by `evomal.config.fields.Meaning`.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from evomal.config.fields import (
    Count,
    CountOrZero,
    Duration,
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


FORMULAS = Meaning(part="formulas", needs="nothing")
GRADIENTS, REJECTION, NETWORK = Meaning(part="gradients"), Meaning(part="rejection"), Meaning(part="network")
HEAT = Meaning(part="population", needs="training", only=("racing", (True,)))
LIMIT = Meaning(needs="nothing", changes="freely")
ANYWHERE = Meaning(needs="training", results=False, changes="freely")


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


SCHEDULE = ("schedule", "milestones", "gamma", "warmup")


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


class GeneticSettings(Settings):
    """The outer search over formulas (Section 3.1.2; D5)."""

    operators: tuple[str, ...] = setting(
        ("add", "sub", "mul", "div", "min", "max", "sign", "square", "abs", "log", "sqrt", "tanh"),
        "operators that formulas are made of, the paper's unless told otherwise",
        FORMULAS,
        min_length=1,
    )
    terminals: tuple[str, ...] = setting(
        ("y", "f", "1", "-1"),
        "leaves of formulas; beside the paper's four there are prior (the class's share of the training labels) and "
        "progress (the share of a training's steps that are done)",
        FORMULAS,
        min_length=1,
    )
    population_size: Annotated[int, Field(ge=2)] = setting(
        25, "formulas in a generation", part="population", needs="nothing"
    )
    generations: Count = setting(
        50, "generations, the initial population counted", part="population", needs="nothing", changes="freely"
    )
    min_depth: Count = setting(2, "least depth of an initial formula", FORMULAS)
    max_depth: Annotated[int, Field(ge=1, le=12)] = setting(4, "greatest depth of an initial formula", FORMULAS)
    tournament_size: Count = setting(4, "formulas that compete to become a parent", FORMULAS)
    crossover_rate: Probability = setting(0.70, "share of children made by crossover", FORMULAS)
    mutation_rate: Probability = setting(0.25, "share of children made by mutation", FORMULAS)
    mutation_depth: Annotated[int, Field(ge=0, le=12)] = setting(
        2, "greatest depth of the subtree that mutation grows", FORMULAS
    )
    elitism_rate: Probability = setting(0.05, "share of the best kept unchanged, at least one", FORMULAS)
    max_height: Annotated[int, Field(ge=1, le=64)] = setting(
        10, "greatest height of a formula, checked after repair", FORMULAS
    )
    asynchronous: bool = setting(
        False,
        "breed a child whenever a worker is free, from who is finished by then; what comes out depends on timing",
        part="formulas",
        needs="training",
        off=False,
    )
    known_start: Probability = setting(
        0.0, "share of the first generation that may be known formulas; they go on to the finals too", FORMULAS
    )
    start_from: tuple[str, ...] = setting(
        (), "losses to begin with: names of handcrafted ones, formulas, or loss files", FORMULAS
    )

    @field_validator("operators", mode="before")
    @classmethod
    def _by_name(cls, operators: Any) -> Any:
        """An operator that a user has registered may stand for its name."""
        if not isinstance(operators, list | tuple):
            return operators
        return tuple(each if isinstance(each, str) else getattr(each, "name", each) for each in operators)

    @model_validator(mode="after")
    def _ranges_fit(self) -> Self:
        if self.min_depth > self.max_depth:
            raise ValueError(f"min_depth {self.min_depth} is above max_depth {self.max_depth}")
        if self.max_depth > self.max_height:
            raise ValueError(f"max_depth {self.max_depth} is above max_height {self.max_height}")
        if self.crossover_rate + self.mutation_rate > 1 + 1e-9:
            raise ValueError("crossover_rate and mutation_rate add up to more than 1")
        return self


class CmaSettings(Settings):
    """CMA-ES over coefficients: all of TaylorGLO, the second phase of GLO (D12, D14)."""

    sigma: Annotated[float, Field(ge=1e-6, le=1e6)] = setting(
        1.2, "initial standard deviation of CMA-ES", part="cma", needs="nothing"
    )
    cma_generations: Count = setting(
        10, "generations of CMA-ES, after those of the formulas", part="second phase", needs="nothing", changes="freely"
    )


class NeuralSettings(Settings):
    """The neural loss of ML³ and its training (D13)."""

    hidden: Annotated[int, Field(ge=1, le=256)] = setting(50, "units in each of two hidden layers", NETWORK)
    neural_steps: Count = setting(500, "meta gradient steps", NETWORK)


class LocalSearchSettings(Settings):
    """Tuning of φ by gradients through base steps (Algorithm 1; D4)."""

    meta_steps: CountOrZero = setting(250, "meta gradient steps; 0 leaves φ = 1", GRADIENTS)
    base_steps: Count = setting(1, "base steps that each meta gradient goes through", GRADIENTS)
    meta_lr: Rate = setting(1e-3, "meta learning rate η of Adam on φ", GRADIENTS)
    task_loss_batch: Literal["valid", "train"] = setting(
        "valid", "batch that the task loss is taken on: a validation batch, or the training batch", GRADIENTS
    )


class FilterSettings(Settings):
    """The filters inside the evaluation of a candidate (Section 3.4; D8, D9)."""

    rejection: bool = setting(True, "reject formulas that do not improve predictions", off=False)
    rejection_instances: Count = setting(100, "instances B that both filters look at", needs="nothing")
    rejection_steps: Count = setting(1000, "Adam steps on the predictions", REJECTION)
    rejection_lr: Rate = setting(0.01, "rate of these steps, times max(1, std of the logits)", REJECTION)
    rejection_threshold: NotNegative = setting(0.6, "share of the possible improvement to reach", REJECTION)
    gradient_equivalence: bool = setting(True, "take over the fitness of equal gradients", needs="nothing")


class LimitSettings(Settings):
    """When a search ends before its last generation; None means no such limit."""

    max_time: Duration | None = setting(
        None,
        "wall time of the search in this call: seconds, or such as 90s, 45m, 2h30m",
        needs="training",
        changes="freely",
    )
    max_evaluations: Count | None = setting(None, "candidates to evaluate; known ones cost nothing", LIMIT)
    target_fitness: float | None = setting(None, "fitness to be content with", LIMIT)
    patience: Count | None = setting(None, "generations without a better fitness", LIMIT)


class RacingSettings(Settings):
    """A heat before the evaluation: hopeless candidates are dropped after a part of it. Off: the paper's way."""

    racing: bool = setting(
        False, "evaluate in full only what does well in a short heat", part="population", needs="training", off=False
    )
    racing_effort: Annotated[float, Field(gt=0, lt=1)] = setting(
        0.1, "steps of the heat, as a share of meta_steps and of partial_steps", HEAT
    )
    racing_keep: Annotated[float, Field(gt=0, le=1)] = setting(
        0.15, "share of a generation's new candidates that is evaluated in full, at least one", HEAT
    )


AFTERWARDS = Meaning(only=("finals", (True,)), needs="training", changes="freely")
"""What finals have: the search before them does not depend on it."""


class FinalsSettings(Settings):
    """After the search: the best candidates and the handcrafted losses meet, cross-validated. Off: the paper's way."""

    finals: bool = setting(
        True,
        "cross-validate the best candidates and the handcrafted losses, each at its own best rate",
        needs="training",
        off=False,
        changes="freely",
    )
    finalists: Count = setting(16, "candidates that take part, at most", AFTERWARDS)
    # A comparison has full trainings of so many steps, finals or not.
    steps: Count = setting(
        10_000, "finals: base steps of a full training, as the loss will be used", needs="training", changes="freely"
    )
    folds: Annotated[int, Field(ge=2, le=100)] = setting(5, "folds of the cross-validation", AFTERWARDS)
    retests: Annotated[int, Field(ge=1, le=100)] = setting(
        3, "fresh cross-validations in which the best few are tested again, at most", AFTERWARDS
    )
    finals_budget: Count | None = setting(
        None,
        "base steps in all",
        only=("finals", (True,)),
        needs="training",
        changes="freely",
        none="what the search takes, times finals_effort",
    )
    finals_effort: Annotated[float, Field(gt=0, le=1e6)] = setting(
        1.0,
        "without a finals_budget: base steps in all, as a multiple of what the search takes",
        only=("finals", (True,)),
        needs="training",
        changes="freely",
    )

    def base_steps(self, search: float) -> int:
        """What finals may cost after a search that took so many base steps."""
        return round(self.finals_effort * search) if self.finals_budget is None else self.finals_budget

    @model_validator(mode="before")
    @classmethod
    def _nothing_else_without_finals(cls, values: Any) -> Any:
        """Without finals the rest is as it always is, so that runs do not differ by what none of them has."""
        return {"finals": False} if isinstance(values, dict) and values.get("finals") is False else values


class ExecutionSettings(Settings):
    """Where and how candidates are evaluated; but for lanes and precision no result depends on it."""

    executor: Literal["auto", "here", "processes", "ray"] = setting(
        "auto", "where candidates are evaluated; auto: here, or in processes if there are several workers", ANYWHERE
    )
    address: str | None = setting(
        None,
        "HOST:PORT of a running cluster",
        only=("executor", ("ray",)),
        needs="training",
        results=False,
        changes="freely",
        none="a cluster of its own",
    )
    object_store: Annotated[int, Field(ge=80)] = setting(
        512,
        "MiB of shared memory for data, where Ray is started here",
        only=("executor", ("ray",)),
        needs="training",
        results=False,
        changes="freely",
    )
    lanes: Count | None = setting(
        None,
        "candidates that are evaluated as one batched program",
        needs="training",
        off=1,
        none="on a CPU 12 for small networks, else 1; on a GPU what a probe finds",
    )
    precision: Literal["float32", "tf32", "bf16"] = setting(
        "float32", "on a GPU: how matrix products are computed", needs="training"
    )
