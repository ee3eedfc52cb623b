"""What a search would cost, from a short probe of each stage."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from itertools import cycle, islice, pairwise
from statistics import median
from time import perf_counter
from typing import NamedTuple

from evomal.config import LearnSettings
from evomal.engines.genome import Formula, Genome
from evomal.engines.warm_start import resolved
from evomal.evaluation.batched_stages import judge_in_lanes, train_in_lanes, tune_in_lanes
from evomal.evaluation.filters import FilterProbe
from evomal.evaluation.lane_count import small_networks
from evomal.evaluation.probing import probed
from evomal.evaluation.stages import judge_stage, train_stage
from evomal.expressions import parse
from evomal.local_search import tune
from evomal.search.methods import make_method
from evomal.search.prices import Price, StagePrice, steps_of_trainings, tuning_steps
from evomal.store.resuming import PreviousRun, with_lanes
from evomal.tasks import Task, TaskSet
from evomal.training.optimizers import fitted_settings

FORMULAS = 4
META_STEPS = 6
REJECTION_STEPS = 40
BASE_STEPS = 20

Shorter = Callable[[int], LearnSettings]
"""Settings of a stage with so many steps."""

# Cheap, sound, and trained by every task: what a stage costs hardly depends on the formula.
PLAIN = Formula(parse("square(sub(y, f))"))


def price(task: Task | Sequence[Task], settings: LearnSettings) -> Price:
    """Estimate the wall time of a search by a few steps of each stage; nothing is written.

    Args:
        task: The task, or several; probed as before a search.
        settings: All settings of the search.

    Returns:
        The price, as a range.

    Raises:
        EvomalError: The task cannot be learned on.

    Example:
        >>> from evomal.config import learn_settings
        >>> from evomal.tasks import named_task
        >>> cost = price(named_task("iris", "linear"), learn_settings("quick"))
        >>> 0 < cost.least < cost.most
        True
    """
    start = perf_counter()
    tasks = TaskSet.of(task)
    settings = fitted_settings(resolved(settings, tasks.task_type), (each.own for each in tasks))
    settings = with_lanes(settings, PreviousRun(), tasks)
    tasks = tasks.for_search(settings.fitness_share)
    probes = probed(tasks, settings)
    method = make_method(settings)
    drawn = [proposed.genome for proposed in method.engine(tasks, probes).ask()]
    lanes = min(settings.lanes, settings.population)
    if lanes > 1:
        costs = _lane_costs(tasks, settings, probes, drawn, method.shares)
    else:
        tuned = _tune_cost(tasks, settings, drawn)
        costs = Costs(*tuned, _filter_cost(tasks, settings, probes), _train_cost(tasks, settings))
    stages = stages_of(settings, method.shares, costs, len(tasks))
    return Price(stages, settings.evaluations, perf_counter() - start, method.shares, lanes)


class Costs(NamedTuple):
    """What single parts of a search cost, in seconds.

    Attributes:
        tuned: The local search of a candidate.
        fixed: What a generation's local search costs beside that, whatever the number of candidates.
        judged: The inner filters of a candidate.
        trained: The partial training of a candidate, its evaluation included, at every rate.
        alone: The same where finals train one at a time, though candidates are trained in lanes; None if that is so
            for both, or neither.
    """

    tuned: float
    fixed: float
    judged: float
    trained: float
    alone: float | None = None


def stages_of(
    settings: LearnSettings, shares: tuple[float, float, float], costs: Costs, tasks: int = 1
) -> tuple[StagePrice, ...]:
    """How many candidates reach each stage of a search, and what that costs.

    Args:
        settings: All settings of the search.
        shares: The method's, see `evomal.search.Method.shares`.
        costs: What each part costs.
        tasks: How many tasks are learned on; `costs` are those of all together.

    Example:
        >>> from evomal.config import learn_settings
        >>> stages = stages_of(learn_settings("paper-mnist"), (0.9, 0.25, 0.5), Costs(1.0, 0.0, 0.1, 2.0))
        >>> [(stage.name, stage.least, stage.most) for stage in stages]
        [('tune', 1125, 1125), ('filter', 1125, 1125), ('train', 312, 625)]
    """
    generations, workers = settings.generations, partial(_at_work, settings)
    fresh, few, many = (round(share * settings.evaluations) for share in shares)
    heat: tuple[StagePrice, ...] = ()
    racing = settings.racing
    if racing.racing:
        # The filter of a heat has all its steps; how many reach its training is left open as elsewhere.
        effort = racing.racing_effort
        each = effort * costs.tuned + costs.judged + effort * costs.trained
        heat = (StagePrice("heat", fresh, fresh, each, effort * costs.fixed, generations, workers(fresh)),)
        fresh = math.ceil(racing.racing_keep * fresh)
        few, many = min(few, fresh), min(many, fresh)
    stages = (
        *heat,
        StagePrice("tune", fresh, fresh, costs.tuned, costs.fixed, generations, workers(fresh)),
        StagePrice("filter", fresh, fresh, costs.judged, 0.0, generations, workers(fresh)),
        StagePrice("train", few, many, costs.trained, 0.0, generations, workers(many)),
    )
    if not settings.finals.finals:
        return stages
    tuned = fresh * tuning_steps(settings)
    taken = [(count * steps_of_trainings(1, settings) + tuned) * tasks for count in (few, many)]
    trained = costs.trained if costs.alone is None else costs.alone
    return (*stages, _finals_price(settings, trained, taken, tasks))


def _at_work(settings: LearnSettings, count: int) -> int:
    """Workers that have something to do in a stage that so many candidates reach: a group of lanes is one job."""
    if settings.lanes == 1:
        return settings.workers
    return max(1, min(settings.workers, math.ceil(count / settings.generations / settings.lanes)))


def _finals_price(settings: LearnSettings, each_trained: float, taken: Sequence[float], tasks: int) -> StagePrice:
    """Finals cost what was given for them, or so many times the base steps that the search takes."""
    finals = settings.finals
    step = each_trained / (steps_of_trainings(1, settings) * tasks)
    few, many = (round(finals.base_steps(each) / finals.steps) for each in taken)
    return StagePrice("finals", few, many, step * finals.steps, 0.0, 1, settings.workers)


def _tune_cost(tasks: TaskSet, settings: LearnSettings, drawn: Sequence[Genome]) -> tuple[float, float]:
    """Seconds for each candidate, and for each generation: at a meta step all candidates share one pass."""
    steps = settings.tuning.meta_steps
    if steps == 0:
        return 0.0, 0.0
    tunable = [genome for genome in drawn if genome.loss(tasks, settings).tunable]
    genomes = tunable[:FORMULAS] or [PLAIN]
    _step_cost(tasks, settings, genomes[:1])  # what torch does at its first use only
    starting, one = _step_cost(tasks, settings, genomes[:1])
    if len(genomes) == 1:
        return steps * one, starting
    _, all_of_them = _step_cost(tasks, settings, genomes)
    each = max(all_of_them - one, 0.0) / (len(genomes) - 1)
    shared = max(one - each, 0.0)
    return steps * each, starting + steps * shared


def _step_cost(tasks: TaskSet, settings: LearnSettings, genomes: Sequence[Genome]) -> tuple[float, float]:
    """Seconds until the tuning is under way, and for each meta step."""
    losses = [genome.loss(tasks, settings) for genome in genomes]
    local = settings.local_search.model_copy(update={"meta_steps": META_STEPS})
    times = [perf_counter()]
    tune(losses, tasks, local, settings.base, settings.seed, lambda step: times.append(perf_counter()))
    step = median(after - before for before, after in pairwise(times[1:]))
    return max(times[1] - times[0] - step, 0.0), step


def _filter_cost(tasks: TaskSet, settings: LearnSettings, probes: Sequence[FilterProbe]) -> float:
    """Seconds for the inner filters of one candidate."""
    loss = PLAIN.loss(tasks, settings)

    def seconds(steps: int) -> float:
        filters = settings.filters.model_copy(update={"rejection_steps": steps})
        return judge_stage(tasks, settings.model_copy(update={"filters": filters}), probes, loss).seconds

    return _extrapolated(seconds, REJECTION_STEPS, settings.filters.rejection_steps)


def _train_cost(tasks: TaskSet, settings: LearnSettings) -> float:
    """Seconds for one partial training, its evaluation included, at every rate."""
    loss = PLAIN.loss(tasks, settings)

    def seconds(steps: int) -> float:
        return train_stage(tasks, settings.model_copy(update={"partial_steps": steps}), loss).seconds

    return _extrapolated(seconds, BASE_STEPS, settings.partial_steps)


def _lane_costs(
    tasks: TaskSet,
    settings: LearnSettings,
    probes: Sequence[FilterProbe],
    drawn: Sequence[Genome],
    shares: tuple[float, float, float],
) -> Costs:
    """Seconds for each candidate, done by the functions of a run in groups as large as there they are on average."""
    tunable = [genome for genome in drawn if genome.loss(tasks, settings).tunable] or [PLAIN]

    def each(stage: Callable[..., object], share: float, few: int, most: int, shorter: Shorter, *more: object) -> float:
        if most == 0:
            return 0.0
        group = list(islice(cycle(tunable), group_size(share * settings.population, settings.lanes)))
        items = group if stage is tune_in_lanes else [genome.loss(tasks, settings) for genome in group]

        def seconds(steps: int) -> float:
            start = perf_counter()
            stage(tasks, shorter(steps), *more, items)
            return perf_counter() - start

        return _extrapolated(seconds, few, most) / len(group)

    def within(stage: str, name: str) -> Shorter:
        known = getattr(settings, stage)
        return lambda steps: settings.model_copy(update={stage: known.model_copy(update={name: steps})})

    new, low, high = shares
    meta, rejection = settings.tuning.meta_steps, settings.filters.rejection_steps
    tuned = each(tune_in_lanes, new, META_STEPS, meta, within("local_search", "meta_steps"))
    judged = each(judge_in_lanes, new, REJECTION_STEPS, rejection, within("filters", "rejection_steps"), probes)
    trained = each(
        train_in_lanes,
        (low + high) / 2,
        BASE_STEPS,
        settings.partial_steps,
        lambda steps: settings.model_copy(update={"partial_steps": steps}),
    )
    finals_alone = settings.finals.finals and not small_networks(tasks, settings)
    return Costs(tuned, 0.0, judged, trained, _train_cost(tasks, settings) if finals_alone else None)


def group_size(count: float, lanes: int) -> int:
    """How large groups of lanes are on average, of so many candidates.

    Example:
        >>> group_size(22.5, 12), group_size(9.4, 12), group_size(0.4, 12)
        (11, 9, 1)
    """
    return max(1, round(count / math.ceil(count / lanes)))


def _extrapolated(seconds: Callable[[int], float], few: int, all_of_them: int) -> float:
    """Time of a loop from the times of one step and of a few: what each step adds, and what comes on top once."""
    seconds(1)  # what torch does at its first use only
    one = median(seconds(1) for _ in range(3))
    step = max(median(seconds(1 + few) for _ in range(3)) - one, 0.0) / few
    return max(one - step, 0.0) + step * all_of_them
