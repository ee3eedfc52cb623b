"""The most that a search does, in words."""

from math import ceil

from evomal.config import LearnSettings


def budget_of(settings: LearnSettings, tasks: int = 1) -> str:
    """Partial trainings, at most, and how many candidates of how many generations they are for.

    Args:
        settings: All settings of the search.
        tasks: How many tasks it learns on.

    Example:
        >>> from evomal.config import learn_settings
        >>> budget_of(learn_settings(method="gplfl", population_size=4, generations=1), tasks=2)
        'at most 8 partial trainings (4 candidates in 1 generation on 2 tasks)'
    """
    extra = settings.generations - settings.genetic.generations
    rounds = f"{settings.genetic.generations} + {extra}" if extra > 0 else str(settings.generations)
    generations = "1 generation" if rounds == "1" else f"each of {rounds} generations"
    rates, on = len(settings.fitness_lrs), f" on {tasks} tasks" if tasks > 1 else ""
    each = (f" at {rates} rates" if rates > 1 else "") + on
    trainings = settings.evaluations * rates * tasks
    if settings.evaluations == 1:
        return f"{trainings} partial training{'s' if trainings > 1 else ''} (1 candidate{each})"
    candidates = f"({settings.population} candidate{'s' if settings.population > 1 else ''} in {generations}{each})"
    if settings.racing.racing:
        kept = ceil(settings.racing.racing_keep * settings.population) * settings.generations * rates * tasks
        return f"at most {trainings} heats and {kept} partial trainings {candidates}"
    return f"at most {trainings} partial trainings {candidates}"
