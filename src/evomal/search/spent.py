"""What a search cost, in base steps."""

from collections.abc import Sequence

from evomal.config import LearnSettings
from evomal.evaluation.candidate import Candidate
from evomal.evaluation.racing import heat_settings


def steps_taken(members: Sequence[Candidate], settings: LearnSettings) -> int:
    """Base steps that the candidates of a search were given: partial trainings, and those of local search.

    A meta step counts as its base steps and one more, for the task loss after them. A training that ended early counts
    in full, so that the number is the same on every machine.

    Args:
        members: All members of all generations.
        settings: Those of the search.

    Example:
        >>> from evomal.config import learn_settings
        >>> from evomal.expressions import parse
        >>> from evomal.engines.genome import Formula
        >>> one = Candidate(0, 0, Formula(parse("mul(y, f)")), "initial", outcome="trained", trainings=1, tuned_steps=9)
        >>> steps_taken([one], learn_settings(partial_steps=200))
        218
    """
    own = [member for member in members if member.own]
    tuning = sum(member.tuned_steps for member in own) * (settings.local_search.base_steps + 1)
    return tuning + sum(_training_steps(member, settings) for member in own)


def _training_steps(member: Candidate, settings: LearnSettings) -> int:
    if member.heat is None:
        return round(member.trainings * _each(settings))
    short = heat_settings(settings)
    if member.outcome == "dropped":
        return round(member.trainings * _each(short))
    return round(member.trainings * (_each(short) + _each(settings)) / 2)


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
