"""Settings of a search and of meta-testing, made of those of their stages."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, field_serializer, field_validator, model_validator

from evomal.config.base_settings import SCHEDULE, BaseSettings
from evomal.config.fields import Count, CountOrZero, Positive, Rate, Settings, flat, setting
from evomal.config.methods import REGISTRY, MethodEntry, method_entry
from evomal.config.stages import (
    CmaSettings,
    ExecutionSettings,
    FilterSettings,
    FinalsSettings,
    GeneticSettings,
    LimitSettings,
    LocalSearchSettings,
    NeuralSettings,
    RacingSettings,
)


def _once(values: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(dict.fromkeys(values))


def _frozen(value: Any) -> Any:
    """A value that can be hashed: lists become tuples."""
    return tuple(map(_frozen, value)) if isinstance(value, list | tuple) else value


class LearnSettings(Settings):
    """All settings of one search; `learn_settings` builds it from flat names."""

    method: str = setting(
        "evomal",
        "how the loss is learned, or a class of your own as my_module.py:Mine (runs that file)",
        needs="nothing",
        names=lambda: REGISTRY,
    )
    seed: CountOrZero = setting(0, "the run is a function of its seed", needs="nothing")
    partial_steps: Count = setting(500, "base steps of the partial training that gives the fitness", needs="training")
    output_activation: Literal["identity", "softplus"] = setting(
        "identity", "softplus keeps the loss above zero", needs="nothing"
    )
    scale_control: bool = setting(
        False, "rescale tuned losses so that their first gradient is as long as the task loss's", off=False
    )
    fitness_lrs: tuple[Positive, ...] = setting(
        (1.0,),
        "multiples of the base learning rate; the fitness is that at the best",
        needs="training",
        off=(1.0,),
        min_length=1,
    )
    fitness_trial: Annotated[float, Field(gt=0, lt=1)] | None = setting(
        None,
        "share of partial_steps after which only the best of several fitness_lrs is trained in full",
        needs="training",
        none="all are",
    )
    fitness_share: Annotated[float, Field(gt=0, lt=1)] | None = setting(
        None,
        "share of training and validation data that the search validates on, of no more than 5,000",
        needs="training",
        none="the task's own split",
    )
    log_prior: bool = setting(
        False, "where classes are uneven, formulas see the softmax of logits plus log prior", needs="training"
    )
    break_ties: bool = setting(
        False, "of equal fitnesses prefer the lower task loss on validation data", needs="training", off=False
    )
    workers: Count = setting(
        1, "processes that evaluate candidates, one thread each", needs="training", results=False, changes="freely"
    )
    base: BaseSettings = BaseSettings()
    genetic: GeneticSettings = GeneticSettings()
    cma: CmaSettings = CmaSettings()
    neural: NeuralSettings = NeuralSettings()
    local_search: LocalSearchSettings = LocalSearchSettings()
    filters: FilterSettings = FilterSettings()
    racing: RacingSettings = RacingSettings()
    finals: FinalsSettings = FinalsSettings()
    execution: ExecutionSettings = ExecutionSettings()
    limits: LimitSettings = LimitSettings()

    own: tuple[tuple[str, Any], ...] = setting((), "settings that the method alone has, by name")

    _each_once = field_validator("fitness_lrs")(_once)

    @field_validator("method")
    @classmethod
    def _is_known(cls, method: str) -> str:
        if method not in REGISTRY:
            raise ValueError(
                f"setting 'method': there is no method '{method}' here; name its file, as `method='my_module.py:Mine'`"
            )
        return method

    @field_validator("own", mode="before")
    @classmethod
    def _as_pairs(cls, own: Any) -> Any:
        return tuple((name, _frozen(value)) for name, value in own.items()) if isinstance(own, dict) else own

    @field_serializer("own")
    def _as_dict(self, own: tuple[tuple[str, Any], ...]) -> dict[str, Any]:
        return dict(own)

    @model_validator(mode="after")
    def _own_fit_the_method(self) -> Self:
        kind = self._entry.own
        if kind is None and self.own:
            raise ValueError(f"setting '{self.own[0][0]}': method {self.method} does not have it; leave it out")
        try:
            if kind is not None:
                kind.model_validate(dict(self.own))
        except ValidationError as error:
            first = error.errors()[0]
            raise ValueError(f"setting '{first['loc'][-1]}' of method {self.method}: {first['msg']}") from None
        return self

    @model_validator(mode="after")
    def _is_the_methods_own(self) -> Self:
        values = flat(self)
        for name, value in self._entry.fixed.items():
            if values[name] != value:
                raise ValueError(
                    f"method {self.method} has {name} {value}, not {values[name]!r}; take its settings from "
                    f"learn_settings(method={self.method!r})"
                )
        return self

    @model_validator(mode="after")
    def _engine_can_learn(self) -> Self:
        size, least = self.genetic.population_size, self._entry.least_population
        if size < least:
            raise ValueError(
                f"setting 'population_size': method {self.method} needs {least} members or more, not {size}; give more"
            )
        return self

    @model_validator(mode="after")
    def _nobody_waits(self) -> Self:
        if self.genetic.asynchronous and self.racing.racing:
            raise ValueError("setting 'asynchronous': candidates race within a generation; leave out racing")
        if self.genetic.asynchronous and self.lanes > 1:
            raise ValueError("setting 'asynchronous': lanes are of candidates that wait for one another; give lanes=1")
        return self

    @property
    def _entry(self) -> MethodEntry:
        return method_entry(self.method)

    @property
    def trial(self) -> "LearnSettings":
        """Settings of the trainings that choose a rate: shorter ones, or these where every rate is trained in full."""
        if self.fitness_trial is None or len(self.fitness_lrs) == 1:
            return self
        steps = max(1, round(self.fitness_trial * self.partial_steps))
        return self.model_copy(update={"partial_steps": steps, "fitness_trial": None})

    @property
    def lanes(self) -> int:
        """Candidates that are evaluated as one batched program."""
        return self.execution.lanes or 1

    @property
    def tuning(self) -> LocalSearchSettings:
        """How the method tunes a loss: ML³ has steps of its own."""
        steps = self._entry.instead.get("meta_steps")
        if steps is None:
            return self.local_search
        return self.local_search.model_copy(update={"meta_steps": flat(self)[steps]})

    @property
    def generations(self) -> int:
        """Generations in all, of one phase after the other: GLO adds those of CMA-ES, ML³ has a single one."""
        values = flat(self)
        return sum(values[phase] for phase in self._entry.phases) or 1

    @property
    def population(self) -> int:
        """Members of a generation; ML³ trains one loss."""
        return self.genetic.population_size if "population" in self._entry.parts else 1

    @property
    def settled(self) -> frozenset[str]:
        """Settings that a run may change as it goes on, but not this one.

        Phases follow one another, so all but the last keep their length. Who races or shares lanes with whom depends
        on how many may still be evaluated.
        """
        together = {"max_evaluations"} if self.racing.racing or self.lanes > 1 else set()
        return frozenset({*self._entry.phases[:-1], *together})

    @property
    def evaluations(self) -> int:
        """Candidates: the members of all generations."""
        return self.generations * self.population


def with_schedule_in_base(values: Any) -> Any:
    """Settings of meta-testing with the schedule among those of the base model; older files have it beside them.

    Example:
        >>> with_schedule_in_base({"steps": 9, "schedule": "cosine", "base": {"lr": 0.1}})
        {'steps': 9, 'base': {'lr': 0.1, 'schedule': 'cosine'}}
    """
    moved = {name: values[name] for name in SCHEDULE if name in values} if isinstance(values, dict) else {}
    if not moved:
        return values
    base = values.get("base", {})
    base = base.model_dump() if isinstance(base, BaseSettings) else base
    if not isinstance(base, dict):
        return values
    return {name: value for name, value in values.items() if name not in moved} | {"base": {**base, **moved}}


class TrainSettings(Settings):
    """Meta-testing: fresh networks trained with a finished loss (Section 4; D4)."""

    steps: Count = setting(10_000, "base steps of a full training")
    seeds: tuple[CountOrZero, ...] = setting((0,), "one fresh network for each seed", changes="more", min_length=1)
    lrs: tuple[Rate, ...] = setting(
        (0.01,),
        "base learning rates; of several the best on validation is taken",
        changes="more",
        min_length=1,
    )
    base: BaseSettings = BaseSettings()

    @model_validator(mode="before")
    @classmethod
    def _of_an_older_file(cls, values: Any) -> Any:
        return with_schedule_in_base(values)

    # A seed counted twice would make the spread over seeds look smaller than it is.
    _each_once = field_validator("seeds", "lrs")(_once)

    def base_at(self, lr: float) -> BaseSettings:
        """The base optimiser at one of the learning rates."""
        return self.base.model_copy(update={"lr": lr})
