"""Racing: a short heat that all new candidates take, and after which only the best of them are evaluated in full.

A heat is the evaluation itself with a part of its steps: local search, rejection filter, partial training. So what is
hopeless is rejected before most of its local search, and what others beat is dropped before most of its training.
"""

import math
from collections.abc import Sequence

from evomal.config import LearnSettings
from evomal.evaluation.candidate import Candidate
from evomal.evaluation.course import promising
from evomal.evaluation.stages import Judgement, Partial
from evomal.local_search import Tuned
from evomal.losses import LearnedLoss
from evomal.losses.preparing import TaskType


def heat_settings(settings: LearnSettings) -> LearnSettings:
    """The settings of a heat: fewer steps, and no look at equivalence, which is a matter of tuned losses.

    Example:
        >>> from evomal.config import learn_settings
        >>> heat = heat_settings(learn_settings(racing=True, racing_effort=0.1))
        >>> heat.tuning.meta_steps, heat.partial_steps
        (25, 50)
    """
    effort = settings.racing.racing_effort
    changes = {
        "partial_steps": max(1, round(effort * settings.partial_steps)),
        "filters": settings.filters.model_copy(update={"gradient_equivalence": False}),
    }
    meta_steps = math.ceil(effort * settings.local_search.meta_steps - 1e-9)
    changes["local_search"] = settings.local_search.model_copy(update={"meta_steps": meta_steps})
    return settings.model_copy(update=changes)


class Heat:
    """What becomes of a candidate in a heat: `Candidate.heat` is its metric, or the outcome says why there is none.

    Args:
        settings: Those of the search; the heat's are made of them.
        task_type: Of the tasks.
    """

    trains = True

    def __init__(self, settings: LearnSettings, task_type: TaskType) -> None:
        self.settings, self._task_type = heat_settings(settings), task_type

    def tuned(self, candidate: Candidate, loss: LearnedLoss, outcome: Tuned) -> bool:
        """Keep φ, until the full evaluation begins anew."""
        candidate.weights, candidate.scale = loss.coefficients, loss.scale
        candidate.tuned_steps, candidate.seconds["heat"] = outcome.steps, outcome.seconds
        return _goes_on(candidate, outcome.reason)

    def judged(self, candidate: Candidate, judgement: Judgement) -> bool:
        """Apply D8."""
        candidate.score = judgement.score
        candidate.seconds["heat"] += judgement.seconds
        return _goes_on(candidate, judgement.reason) and promising(candidate, self._task_type, self.settings)

    def trained(self, candidate: Candidate, partial: Partial) -> None:
        """Take the metric."""
        candidate.seconds["heat"] += partial.seconds
        candidate.trainings, candidate.fitness_lr = partial.trainings, partial.rate
        if _goes_on(candidate, partial.reason):
            candidate.heat = partial.fitness


def _goes_on(candidate: Candidate, reason: str | None) -> bool:
    """Note why a candidate failed, if it did."""
    candidate.reason = reason
    candidate.outcome = "failed" if reason else None
    return reason is None


def drop_losers(
    candidates: Sequence[Candidate], finished: Sequence[Candidate], settings: LearnSettings
) -> list[Candidate]:
    """Drop those whose heat was not good enough; their fitness is what they reached in it.

    Args:
        candidates: New members of a generation after their heat.
        finished: Others that took it in an earlier call.
        settings: Those of the search.

    Returns:
        Those that were dropped.
    """
    taking_part = [*candidates, *finished]
    order = sorted((m for m in taking_part if m.heat is not None), key=lambda m: (m.heat, m.genome.size, m.place))
    count = math.ceil(settings.racing.racing_keep * len(taking_part) - 1e-9)  # 0.28 · 25 is a little above 7
    kept = {member.place for member in order[:count]}
    dropped = [member for member in candidates if member.heat is not None and member.place not in kept]
    for member in dropped:
        assert member.heat is not None
        member.fitness, member.outcome = member.heat, "dropped"
    return dropped
