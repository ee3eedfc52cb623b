"""What the lines of a search's journal say: a kind of line is one class (`Row`), by which it is written and read."""

import math
from collections.abc import Mapping
from dataclasses import fields
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, ValidationError

from evomal.config import LearnSettings, Settings
from evomal.config.fields import CountOrZero, NotNegative
from evomal.engines.genome import Formula, Genome, Network, Polynomial
from evomal.evaluation.candidate import Candidate, Outcome
from evomal.expressions import parse
from evomal.foundation.errors import EvomalError
from evomal.foundation.serialization import finite_or_none


class Row(Settings, extra="ignore"):
    """A line of a journal: its entries, their types, and the order in which they are written.

    Their version is that of the folder that the journal lies in. An entry with a default is one that older lines lack,
    or that is left out where it would say nothing; what a later version has more is passed over.
    """

    what: ClassVar[str] = "a line"
    """What it is a record of."""

    @classmethod
    def read(cls, record: Mapping[str, Any]) -> Self:
        """A line as it was read.

        Raises:
            ValueError: It is no such line.
        """
        try:
            return cls.model_validate(record)
        except ValidationError as error:
            raise ValueError(f"no record of {cls.what}") from error

    def record(self) -> dict[str, Any]:
        """The line as plain values, without entries that it was not given."""
        return self.model_dump(mode="json", exclude_unset=True)


class CandidateRow(Row):
    """A finished member of a generation: a line of ``journal.jsonl``; `Candidate` says what its entries mean.

    Example:
        >>> from evomal.config import learn_settings
        >>> settings = learn_settings()
        >>> one = Candidate(0, 3, Formula(parse("mul(f, y)")), "initial", outcome="trained", fitness=0.25)
        >>> record = CandidateRow.of(one, "classification", settings).record()
        >>> record["expression"], CandidateRow.read(record).candidate(settings) == one
        ('mul(f, y)', True)
    """

    what = "a candidate"

    generation: CountOrZero
    index: CountOrZero
    task_type: str = ""
    family: Literal["symbolic", "taylor", "neural"]
    expression: str = ""
    output_activation: str = "identity"
    hidden: Annotated[int, Field(ge=1, le=256)] = 1
    origin: str
    parents: tuple[CountOrZero, ...]
    after: CountOrZero | None = None
    outcome: Outcome
    fitness: float | None
    heat: float | None = None
    fitness_lr: float = 1.0
    tie: float | None = None
    score: float | None
    signature: str | None
    same_as: tuple[CountOrZero, CountOrZero] | None
    start: tuple[float, ...] | None = None
    weights: list[float] | None
    scale: float = 1.0
    tuned_steps: CountOrZero
    trainings: CountOrZero
    reason: str | None
    seed: CountOrZero = 0
    seconds: dict[str, NotNegative]

    @classmethod
    def of(cls, candidate: Candidate, task_type: str, settings: LearnSettings) -> Self:
        """The line of a finished candidate; the worst fitness, which JSON does not hold, is None.

        Args:
            candidate: The candidate.
            task_type: Of the tasks of its search.
            settings: Of its search.
        """
        known = {name: getattr(candidate, name) for name in ALIKE}
        finite = {name: finite_or_none(known[name]) for name in ("fitness", "heat", "tie", "score")}
        silent = {name for name in ("heat", "tie", "after") if known[name] is None}
        silent |= {"fitness_lr"} if settings.fitness_lrs == (1.0,) else set()
        silent |= {"scale"} if candidate.scale == 1 else set()
        start = {} if candidate.genome.start is None else {"start": candidate.genome.start}
        other = {
            "task_type": task_type,
            "seed": settings.seed,
            "seconds": {stage: round(value, 4) for stage, value in candidate.seconds.items()},
        }
        values = known | finite | candidate.genome.entries(settings) | start | other
        return cls.model_validate({name: value for name, value in values.items() if name not in silent})

    def candidate(self, settings: LearnSettings) -> Candidate:
        """The candidate of a line; only its `formula` is not known again.

        Args:
            settings: The settings of its search.

        Raises:
            ValueError: What it was made of cannot be read.
        """
        known = {name: getattr(self, name) for name in ALIKE}
        fitness = math.inf if self.fitness is None else self.fitness
        score, seconds = self._score(settings.filters.rejection), dict(self.seconds)
        try:
            genome = self._genome
        except EvomalError as error:
            raise ValueError(f"no record of {self.what}") from error
        return Candidate(**known | {"genome": genome, "fitness": fitness, "score": score, "seconds": seconds})

    @property
    def _genome(self) -> Genome:
        """What the loss was made of, as it was proposed."""
        if self.family == "symbolic":
            return Formula(parse(self.expression), self.start)
        return Network(self.hidden) if self.family == "neural" else Polynomial(self.start or ())

    def _score(self, rejection: bool) -> float | None:
        """JSON holds neither infinity (nothing could be improved, which passes) nor NaN (which does not)."""
        if self.score is not None or not rejection:
            return self.score
        if self.outcome == "rejected":
            return math.nan
        if "filter" in self.seconds:
            passed = self.outcome in ("trained", "equivalent") or "train" in self.seconds
        else:
            passed = "heat" in self.seconds and self.trainings > 0  # the heat's filter let it train
        return math.inf if passed else None


ALIKE = tuple(field.name for field in fields(Candidate) if field.name in CandidateRow.model_fields)
"""What a candidate and its line call by one name."""
