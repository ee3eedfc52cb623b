"""Settings of each stage of a search: one frozen, validated class each.

Every number is the paper's (Section 3 and 4) unless its description says otherwise. All classes here are plain data:
they can be written as YAML, compared, and sent to another process. What a field says beside its default and its help
is explained by `evomal.config.fields.Meaning`.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from evomal.config.fields import (
    Count,
    CountOrZero,
    Duration,
    Meaning,
    NotNegative,
    Probability,
    Rate,
    Settings,
    setting,
)

FORMULAS = Meaning(part="formulas", needs="nothing")
GRADIENTS, REJECTION, NETWORK = Meaning(part="gradients"), Meaning(part="rejection"), Meaning(part="network")
HEAT = Meaning(part="population", needs="training", only=("racing", (True,)))
LIMIT = Meaning(needs="nothing", changes="freely")
ANYWHERE = Meaning(needs="training", results=False, changes="freely")


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
    varied: CountOrZero = setting(
        4, "handcrafted losses, the best of short trainings, of which other hyper-parameters are tried too", AFTERWARDS
    )
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
