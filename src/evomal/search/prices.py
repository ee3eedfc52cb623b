"""What a search costs: base steps, which are known, and seconds, as plain values."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from evomal.config import LearnSettings
from evomal.evaluation.candidate import Candidate
from evomal.evaluation.racing import heat_settings


@dataclass(frozen=True, slots=True)
class StagePrice:
    """What one stage would cost.

    Args:
        name: ``heat``, ``tune``, ``filter``, ``train`` or ``finals``.
        least: Candidates that reach it, at least; for finals, the full trainings that they have.
        most: Candidates that reach it, at most.
        each: Seconds for one candidate, on one worker.
        fixed: Seconds for one generation, whatever the number of candidates and workers.
        generations: Number of generations.
        workers: Processes that share the candidates, as far as there is something for them.
    """

    name: str
    least: int
    most: int
    each: float
    fixed: float
    generations: int
    workers: int

    def seconds(self, count: int) -> float:
        """Wall time of the stage over the whole run, for that many candidates."""
        return self.generations * self.fixed + count * self.each / self.workers


@dataclass(frozen=True, slots=True)
class Price:
    """What a run would cost.

    Args:
        stages: Each stage.
        candidates: Population size times generations.
        probe_seconds: How long the probe took.
        shares: Of the candidates, those that are new, and those that are trained, at least and at most.
        lanes: How many candidates are evaluated at a time by a worker, at most.
    """

    stages: tuple[StagePrice, ...]
    candidates: int
    probe_seconds: float
    shares: tuple[float, float, float]
    lanes: int = 1

    @property
    def least(self) -> float:
        """Wall time in seconds if few candidates are trained."""
        return sum(stage.seconds(stage.least) for stage in self.stages)

    @property
    def most(self) -> float:
        """Wall time in seconds if many candidates are trained."""
        return sum(stage.seconds(stage.most) for stage in self.stages)

    @property
    def assumption(self) -> str:
        """What the range rests on."""
        new, low, high = self.shares
        race = any(stage.name == "heat" for stage in self.stages)
        trained = f"{low:.0%} to {high:.0%} {'would be trained without a race' if race else 'are trained'}"
        alone = "each is evaluated by itself"
        together = f"up to {self.lanes} are evaluated at once (lanes), and were so in the probe"
        return (
            f"of {self.candidates} candidates {new:.0%} are new, {trained}; {alone if self.lanes == 1 else together}; "
            "stages run one after the other, candidates of a stage on all workers"
        )

    def as_dict(self) -> dict[str, Any]:
        """Everything as plain values."""
        stages = [
            asdict(s) | {"least_seconds": s.seconds(s.least), "most_seconds": s.seconds(s.most)} for s in self.stages
        ]
        return {
            "candidates": self.candidates,
            "lanes": self.lanes,
            "stages": stages,
            "least_seconds": self.least,
            "most_seconds": self.most,
            "assumption": self.assumption,
            "probe_seconds": self.probe_seconds,
        }


def steps_taken(members: Sequence[Candidate], settings: LearnSettings, tasks: int = 1) -> int:
    """Base steps that the candidates of a search were given: partial trainings, and those of local search.

    A meta step counts as its base steps and one more, for the task loss after them, on every task. A training that
    ended early counts in full, so that the number is the same on every machine.

    Args:
        members: All members of all generations.
        settings: Those of the search.
        tasks: How many tasks it learned on.

    Example:
        >>> from evomal.config import learn_settings
        >>> from evomal.expressions import parse
        >>> from evomal.engines.genome import Formula
        >>> one = Candidate(0, 0, Formula(parse("mul(y, f)")), "initial", outcome="trained", trainings=1, tuned_steps=9)
        >>> steps_taken([one], learn_settings(partial_steps=200))
        218
        >>> steps_taken([one], learn_settings(partial_steps=200), tasks=3)
        254
    """
    own = [member for member in members if member.own]
    tuning = sum(member.tuned_steps for member in own) * (settings.local_search.base_steps + 1) * tasks
    return tuning + sum(_training_steps(member, settings) for member in own)


def _training_steps(member: Candidate, settings: LearnSettings) -> int:
    if not settings.racing.racing:
        return round(member.trainings * _each(settings))
    short = _each(heat_settings(settings))
    if member.heat is None or member.outcome not in ("trained", "failed"):  # the heat's trainings were all it had
        return round(member.trainings * short)
    return round(member.trainings * (short + _each(settings)) / 2)


def steps_of_trainings(count: int, settings: LearnSettings) -> float:
    """Base steps of the partial trainings of so many candidates, at every rate, on one task."""
    rates = len(settings.fitness_lrs)
    return count * _each(settings) * (rates if settings.trial is settings else rates + 1)


def tuning_steps(settings: LearnSettings) -> int:
    """What the local search of a candidate counts, see `steps_taken`."""
    return settings.tuning.meta_steps * (settings.local_search.base_steps + 1)


def _each(settings: LearnSettings) -> float:
    """Steps of a training on average: with `fitness_trial` most are short."""
    if settings.trial is settings:
        return settings.partial_steps
    rates = len(settings.fitness_lrs)
    return (rates * settings.trial.partial_steps + settings.partial_steps) / (rates + 1)
