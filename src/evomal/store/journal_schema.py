"""Finished candidates from the lines of a journal."""

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from evomal.config import LearnSettings, Settings
from evomal.config.fields import CountOrZero, NotNegative
from evomal.engines.genome import Formula, Genome, Network, Polynomial
from evomal.evaluation.candidate import Candidate, Outcome
from evomal.expressions import parse
from evomal.foundation.errors import EvomalError


class Line(Settings, extra="ignore"):
    """A line of a journal, checked."""

    generation: CountOrZero
    index: CountOrZero
    family: Literal["symbolic", "taylor", "neural"]
    expression: str = ""
    hidden: Annotated[int, Field(ge=1, le=256)] = 1
    start: tuple[float, ...] | None = None
    origin: str
    parents: tuple[CountOrZero, ...]
    outcome: Outcome
    fitness: float | None
    heat: float | None = None
    fitness_lr: float = 1.0
    tie: float | None = None
    score: float | None
    signature: str | None
    same_as: tuple[CountOrZero, CountOrZero] | None
    weights: list[float] | None
    scale: float = 1.0
    tuned_steps: CountOrZero
    trainings: CountOrZero
    reason: str | None
    seconds: dict[str, NotNegative]

    @property
    def genome(self) -> Genome:
        """What the loss was made of, as it was proposed."""
        if self.family == "symbolic":
            return Formula(parse(self.expression), self.start)
        return Network(self.hidden) if self.family == "neural" else Polynomial(self.start or ())

    def true_score(self, rejection: bool) -> float | None:
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


def recalled(record: Mapping[str, Any], settings: LearnSettings) -> Candidate:
    """A finished candidate from its line of the journal.

    Args:
        record: The line, as `Candidate.record` made it.
        settings: The settings of its search.

    Returns:
        The candidate; only `formula` is not known again.

    Raises:
        ValueError: The line is no such record.

    Example:
        >>> from evomal.config import learn_settings
        >>> from evomal.expressions import parse
        >>> settings = learn_settings()
        >>> one = Candidate(0, 3, Formula(parse("mul(f, y)")), "initial", outcome="trained", fitness=0.25)
        >>> recalled(one.record("classification", settings), settings) == one
        True
    """
    try:
        line = Line.model_validate(record)
        genome = line.genome
    except (ValidationError, EvomalError) as error:
        raise ValueError("no record of a candidate") from error
    return Candidate(
        generation=line.generation,
        index=line.index,
        genome=genome,
        origin=line.origin,
        parents=line.parents,
        weights=line.weights,
        scale=line.scale,
        outcome=line.outcome,
        fitness=math.inf if line.fitness is None else line.fitness,
        heat=line.heat,
        fitness_lr=line.fitness_lr,
        tie=line.tie,
        score=line.true_score(settings.filters.rejection),
        signature=line.signature,
        same_as=line.same_as,
        tuned_steps=line.tuned_steps,
        trainings=line.trainings,
        reason=line.reason,
        seconds=dict(line.seconds),
    )
