"""Settings of each stage: one frozen, validated class each.

Every number is the paper's (Section 3 and 4) unless its description says otherwise. All classes here are plain data:
they can be written as YAML, compared, and sent to another process.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from evomal.config.times import Duration

Positive = Annotated[float, Field(gt=0)]
Rate = Annotated[float, Field(gt=0, le=1e30)]  # float32 ends at 3e38
NotNegative = Annotated[float, Field(ge=0)]
Probability = Annotated[float, Field(ge=0, le=1)]
Share = Annotated[float, Field(ge=0, lt=1)]
Count = Annotated[int, Field(ge=1)]
CountOrZero = Annotated[int, Field(ge=0)]


class Settings(BaseModel):
    """Base of all settings: frozen, closed to unknown names, finite numbers only."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


OptimizerName = Literal["sgd", "adam", "adamw", "rmsprop", "own"]
ScheduleName = Literal["constant", "step", "cosine", "one-cycle"]

# What of the settings below an optimiser has, beside its rate, decay and clipping.
OPTIMIZERS: dict[str, tuple[str, ...]] = {
    "sgd": ("momentum", "nesterov"),
    "adam": ("betas", "eps"),
    "adamw": ("betas", "eps"),
    "rmsprop": ("momentum", "smoothing", "eps"),
    "own": (),
}
# What it takes unless told otherwise; presets were made for stochastic gradient descent and give way to it.
OPTIMIZER_DEFAULTS: dict[str, dict[str, float]] = {
    "adam": {"lr": 1e-3},
    "adamw": {"lr": 1e-3, "weight_decay": 0.01},
    "rmsprop": {"lr": 1e-3},
}
SPECIFIC = ("momentum", "nesterov", "betas", "smoothing", "eps")
SCHEDULE = ("schedule", "milestones", "gamma", "warmup")


class BaseSettings(Settings):
    """How the base model is trained, in part and in full (Equation 1; the paper: SGD at a constant rate)."""

    optimizer: OptimizerName = Field("sgd", description="optimiser of the base model; own: that which the task brings")
    lr: Rate = Field(
        0.01,
        description="base learning rate α, the greatest of the schedule (adam, adamw, rmsprop: 0.001 unless given)",
    )
    momentum: NotNegative = Field(0.0, description="sgd, rmsprop: momentum")
    nesterov: bool = Field(False, description="sgd: Nesterov momentum")
    weight_decay: NotNegative = Field(
        0.0, description="weight decay, decoupled from the gradient for adamw (which has 0.01 unless given)"
    )
    betas: tuple[Share, Share] = Field(
        (0.9, 0.999), description="adam, adamw: how much of the means of gradients and of their squares is kept"
    )
    smoothing: Share = Field(0.99, description="rmsprop: how much of the mean of squared gradients is kept")
    eps: Positive = Field(1e-8, description="adam, adamw, rmsprop: added to the root of the mean of squares")
    clip: Positive | None = Field(
        None,
        description="greatest norm of the gradient of all weights together; longer ones are shortened to it",
        json_schema_extra={"none": "none"},
    )
    schedule: ScheduleName = Field(
        "constant", description="learning rate over the steps of a training, be it partial or full"
    )
    milestones: tuple[Probability, ...] = Field(
        (2 / 3, 0.9), description="schedule step: where the rate is multiplied by gamma, as shares of all steps"
    )
    gamma: Positive = Field(0.1, description="schedule step: the factor at each milestone")
    warmup: Share = Field(
        0.0, description="share of all steps in which the rate first rises to lr (one-cycle: 0 means 0.3)"
    )
    batch_size: Count = Field(128, description="instances in a batch")

    @model_validator(mode="before")
    @classmethod
    def _defaults_of_the_optimizer(cls, values: Any) -> Any:
        if not isinstance(values, dict) or not isinstance(values.get("optimizer"), str):
            return values
        return OPTIMIZER_DEFAULTS.get(values["optimizer"], {}) | values

    @model_validator(mode="after")
    def _is_the_optimizers_own(self) -> Self:
        has = OPTIMIZERS[self.optimizer]
        for name in (*SPECIFIC, *(("weight_decay",) if self.optimizer == "own" else ())):
            if name not in has and getattr(self, name) != type(self).model_fields[name].default:
                raise ValueError(f"setting '{name}': optimizer {self.optimizer} does not have it; leave it out")
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
        idle = {name for name in SPECIFIC if name not in OPTIMIZERS[self.optimizer]}
        idle |= set() if self.clip is not None else {"clip"}
        idle |= {"weight_decay"} if self.optimizer == "own" else set()
        idle |= set(SCHEDULE) if self.is_constant else {"milestones", "gamma"} if self.schedule != "step" else set()
        return {name: value for name, value in self.model_dump(mode="json").items() if name not in idle}


class GeneticSettings(Settings):
    """The outer search over formulas (Section 3.1.2; D5)."""

    operators: tuple[str, ...] = Field(
        ("add", "sub", "mul", "div", "min", "max", "sign", "square", "abs", "log", "sqrt", "tanh"),
        min_length=1,
        description="operators that formulas are made of, the paper's unless told otherwise",
    )
    terminals: tuple[str, ...] = Field(
        ("y", "f", "1", "-1"),
        min_length=1,
        description="leaves of formulas; beside the paper's four there are prior (the class's share of the training "
        "labels) and progress (the share of a training's steps that are done)",
    )
    population_size: Annotated[int, Field(ge=2)] = Field(25, description="formulas in a generation")
    generations: Count = Field(50, description="generations, the initial population counted")
    min_depth: Count = Field(2, description="least depth of an initial formula")
    max_depth: Annotated[int, Field(ge=1, le=12)] = Field(4, description="greatest depth of an initial formula")
    tournament_size: Count = Field(4, description="formulas that compete to become a parent")
    crossover_rate: Probability = Field(0.70, description="share of children made by crossover")
    mutation_rate: Probability = Field(0.25, description="share of children made by mutation")
    mutation_depth: Annotated[int, Field(ge=0, le=12)] = Field(
        2, description="greatest depth of the subtree that mutation grows"
    )
    elitism_rate: Probability = Field(0.05, description="share of the best kept unchanged, at least one")
    max_height: Annotated[int, Field(ge=1, le=64)] = Field(
        10, description="greatest height of a formula, checked after repair"
    )
    known_start: Probability = Field(
        0.0, description="share of the first generation that may be known formulas; they go on to the finals too"
    )
    start_from: tuple[str, ...] = Field(
        (), description="losses to begin with: names of handcrafted ones, formulas, or loss files"
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

    sigma: Annotated[float, Field(ge=1e-6, le=1e6)] = Field(1.2, description="initial standard deviation of CMA-ES")
    cma_generations: Count = Field(10, description="glo: generations of CMA-ES, after those of the formulas")


class NeuralSettings(Settings):
    """The neural loss of ML³ and its training (D13)."""

    hidden: Annotated[int, Field(ge=1, le=256)] = Field(50, description="ml3: units in each of two hidden layers")
    neural_steps: Count = Field(500, description="ml3: meta gradient steps")


class LocalSearchSettings(Settings):
    """Tuning of φ by gradients through base steps (Algorithm 1; D4)."""

    meta_steps: CountOrZero = Field(250, description="meta gradient steps; 0 leaves φ = 1")
    base_steps: Count = Field(1, description="base steps that each meta gradient goes through")
    meta_lr: Rate = Field(1e-3, description="meta learning rate η of Adam on φ")
    task_loss_batch: Literal["valid", "train"] = Field(
        "valid", description="batch that the task loss is taken on: a validation batch, or the training batch"
    )


class FilterSettings(Settings):
    """The filters inside the evaluation of a candidate (Section 3.4; D8, D9)."""

    rejection: bool = Field(True, description="reject formulas that do not improve predictions")
    rejection_instances: Count = Field(100, description="instances B that both filters look at")
    rejection_steps: Count = Field(1000, description="Adam steps on the predictions")
    rejection_lr: Rate = Field(0.01, description="rate of these steps, times max(1, std of the logits)")
    rejection_threshold: NotNegative = Field(0.6, description="share of the possible improvement to reach")
    gradient_equivalence: bool = Field(True, description="take over the fitness of equal gradients")


class LimitSettings(Settings):
    """When a search ends before its last generation; None means no such limit."""

    max_time: Duration | None = Field(
        None, description="wall time of the search in this call: seconds, or such as 90s, 45m, 2h30m"
    )
    max_evaluations: Count | None = Field(None, description="candidates to evaluate; known ones cost nothing")
    target_fitness: float | None = Field(None, description="fitness to be content with")
    patience: Count | None = Field(None, description="generations without a better fitness")


class RacingSettings(Settings):
    """A heat before the evaluation: hopeless candidates are dropped after a part of it. Off: the paper's way."""

    racing: bool = Field(False, description="evaluate in full only what does well in a short heat")
    racing_effort: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.1, description="racing: steps of the heat, as a share of meta_steps and of partial_steps"
    )
    racing_keep: Annotated[float, Field(gt=0, le=1)] = Field(
        0.15, description="racing: share of a generation's new candidates that is evaluated in full, at least one"
    )


class FinalsSettings(Settings):
    """After the search: the best candidates and the handcrafted losses meet, cross-validated. Off: the paper's way."""

    finals: bool = Field(
        True, description="cross-validate the best candidates and the handcrafted losses, each at its own best rate"
    )
    finalists: Count = Field(16, description="finals: candidates that take part, at most")
    steps: Count = Field(10_000, description="finals: base steps of a full training, as the loss will be used")
    folds: Annotated[int, Field(ge=2, le=100)] = Field(5, description="finals: folds of the cross-validation")
    retests: Annotated[int, Field(ge=1, le=100)] = Field(
        3, description="finals: fresh cross-validations in which the best few are tested again, at most"
    )
    finals_budget: Count | None = Field(
        None, description="finals: base steps in all", json_schema_extra={"none": "as many as the search takes"}
    )

    @model_validator(mode="before")
    @classmethod
    def _nothing_else_without_finals(cls, values: Any) -> Any:
        """Without finals the rest is as it always is, so that runs do not differ by what none of them has."""
        return {"finals": False} if isinstance(values, dict) and values.get("finals") is False else values


class ExecutionSettings(Settings):
    """Where and how candidates are evaluated; but for lanes and precision no result depends on it."""

    executor: Literal["auto", "here", "processes", "ray"] = Field(
        "auto", description="where candidates are evaluated; auto: here, or in processes if there are several workers"
    )
    address: str | None = Field(
        None, description="ray: HOST:PORT of a running cluster", json_schema_extra={"none": "a cluster of its own"}
    )
    object_store: Annotated[int, Field(ge=80)] = Field(
        512, description="ray: MiB of shared memory for data, where Ray is started here"
    )
    lanes: Count | None = Field(
        None,
        description="candidates that are evaluated as one batched program",
        json_schema_extra={"none": "1 on a CPU, on a GPU what a probe finds"},
    )
    precision: Literal["float32", "tf32", "bf16"] = Field(
        "float32", description="on a GPU: how matrix products are computed"
    )
