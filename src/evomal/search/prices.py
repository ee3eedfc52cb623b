"""What a search would cost, as plain values."""

from dataclasses import asdict, dataclass
from typing import Any


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
        workers: Processes that share the candidates.
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
    """

    stages: tuple[StagePrice, ...]
    candidates: int
    probe_seconds: float
    shares: tuple[float, float, float]

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
        return (
            f"of {self.candidates} candidates {new:.0%} are new, {trained}; each is evaluated by itself; "
            "stages run one after the other, candidates of a stage on all workers"
        )

    def as_dict(self) -> dict[str, Any]:
        """Everything as plain values."""
        stages = [
            asdict(s) | {"least_seconds": s.seconds(s.least), "most_seconds": s.seconds(s.most)} for s in self.stages
        ]
        return {
            "candidates": self.candidates,
            "stages": stages,
            "least_seconds": self.least,
            "most_seconds": self.most,
            "assumption": self.assumption,
            "probe_seconds": self.probe_seconds,
        }
