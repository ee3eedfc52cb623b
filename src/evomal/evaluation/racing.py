"""Racing: a short heat that all new candidates take, and after which only the best of them are evaluated in full.

A heat is the evaluation itself with a part of its steps: local search, rejection filter, partial training. So what is
hopeless is rejected before most of its local search, and what others beat is dropped before most of its training.
"""

import math
from collections.abc import Iterator, Sequence

from evomal.config import LearnSettings
from evomal.evaluation.candidate import Candidate
from evomal.evaluation.dispatch import Work
from evomal.evaluation.filters import FilterProbe, passes
from evomal.losses import LearnedLoss
from evomal.losses.criterion import TaskType


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


def run_heat(
    work: Work, settings: LearnSettings, probes: Sequence[FilterProbe], candidates: Sequence[Candidate]
) -> Iterator[Candidate]:
    """Let candidates take a heat.

    Args:
        work: Has the stages done.
        settings: Those of the search; the heat's are made of them.
        probes: Predictions for the rejection filter, for each task.
        candidates: New members of a generation.

    Returns:
        The candidates, each as soon as its heat is over: `Candidate.heat` is its metric, or the outcome says why there
        is none.
    """
    short = heat_settings(settings)
    tuned: list[tuple[Candidate, LearnedLoss]] = []
    for candidate, loss, outcome in (found for group in work.tune(short, candidates) for found in group):
        candidate.weights, candidate.scale = loss.coefficients, loss.scale
        candidate.tuned_steps, candidate.seconds["heat"] = outcome.steps, outcome.seconds
        if _ends(candidate, outcome.reason):
            yield candidate
        else:
            tuned.append((candidate, loss))
    passed: list[tuple[Candidate, LearnedLoss]] = []
    for pair, judgement in zip(tuned, work.judge(short, probes, [loss for _, loss in tuned]), strict=True):
        candidate = pair[0]
        candidate.score = judgement.score
        candidate.seconds["heat"] += judgement.seconds
        if _ends(candidate, judgement.reason) or not promising(candidate, work.tasks.task_type, settings):
            yield candidate
        else:
            passed.append(pair)
    for (candidate, _), partial in zip(passed, work.train(short, [loss for _, loss in passed]), strict=True):
        candidate.seconds["heat"] += partial.seconds
        candidate.trainings, candidate.fitness_lr = partial.trainings, partial.rate
        if not _ends(candidate, partial.reason):
            candidate.heat = partial.fitness
        yield candidate


def _ends(candidate: Candidate, reason: str | None) -> bool:
    """Note why a candidate failed, if it did."""
    candidate.reason = reason
    candidate.outcome = "failed" if reason else None
    return reason is not None


def promising(candidate: Candidate, task_type: TaskType, settings: LearnSettings) -> bool:
    """Whether a candidate passes the rejection filter (D8); one that does not is rejected, with the reason."""
    if candidate.score is None or passes(candidate.score, task_type, settings.filters):
        return True
    candidate.reason = f"improves predictions by {candidate.score:.2f} of what is possible"
    candidate.outcome = "rejected"
    return False


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
