"""What the stages of an evaluation make of a candidate."""

from dataclasses import dataclass
from typing import Protocol

from evomal.config import LearnSettings
from evomal.evaluation.archive import Archive
from evomal.evaluation.candidate import Candidate
from evomal.evaluation.filters import passes
from evomal.evaluation.stages import Judgement, Partial
from evomal.local_search import Tuned
from evomal.losses import LearnedLoss
from evomal.losses.preparing import TaskType


class Course(Protocol):
    """What becomes of a candidate; called in an order that may be another one each time, but for `judged`."""

    @property
    def settings(self) -> LearnSettings:
        """Of the stages."""

    @property
    def trains(self) -> bool:
        """Whether partial training is a part of it."""

    def tuned(self, candidate: Candidate, loss: LearnedLoss, outcome: Tuned) -> bool:
        """Local search is over; whether the candidate goes on."""

    def judged(self, candidate: Candidate, judgement: Judgement) -> bool:
        """The filters have measured a candidate, and with D9 all of lower index, too; whether it goes on."""

    def trained(self, candidate: Candidate, partial: Partial) -> None:
        """Partial training is over."""


@dataclass(frozen=True, slots=True)
class FullEvaluation:
    """What becomes of a candidate in local search, inner filters and partial training.

    Args:
        settings: Those of the search.
        task_type: Of the tasks.
        archive: Knows the gradients of those that passed.
        trains: Whether partial training is a part of it.
    """

    settings: LearnSettings
    task_type: TaskType
    archive: Archive
    trains: bool

    def tuned(self, candidate: Candidate, loss: LearnedLoss, outcome: Tuned) -> bool:
        """Keep φ; one that cannot be used fails."""
        candidate.weights, candidate.scale = loss.coefficients, loss.scale
        candidate.tuned_steps += outcome.steps
        candidate.seconds["tune"] = outcome.seconds
        candidate.reason = outcome.reason or outcome.note
        candidate.outcome = "failed" if outcome.reason else None
        return not outcome.reason

    def judged(self, candidate: Candidate, judgement: Judgement) -> bool:
        """Apply D8 and D9; an equivalent waits for the fitness of its like."""
        candidate.seconds["filter"], candidate.score = judgement.seconds, judgement.score
        candidate.signature = judgement.signature
        if judgement.reason:
            candidate.reason, candidate.outcome = judgement.reason, "failed"
            return False
        if not promising(candidate, self.task_type, self.settings):
            return False
        return (
            candidate.signature is None
            or self.archive.gradients.setdefault(candidate.signature, candidate) is candidate
        )

    def trained(self, candidate: Candidate, partial: Partial) -> None:
        """Partial training gives the fitness (Section 3.4.4)."""
        candidate.seconds["train"], candidate.fitness = partial.seconds, partial.fitness
        candidate.fitness_lr, candidate.tie = partial.rate, partial.tie
        candidate.trainings += partial.trainings
        candidate.reason = partial.reason or candidate.reason
        candidate.outcome = "failed" if partial.reason else "trained"


def promising(candidate: Candidate, task_type: TaskType, settings: LearnSettings) -> bool:
    """Whether a candidate passes the rejection filter (D8); one that does not is rejected, with the reason."""
    if candidate.score is None or passes(candidate.score, task_type, settings.filters):
        return True
    candidate.reason = f"improves predictions by {candidate.score:.2f} of what is possible"
    candidate.outcome = "rejected"
    return False
