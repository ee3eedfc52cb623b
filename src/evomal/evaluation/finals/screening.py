"""The screening: every entrant in short trainings at every rate, so that rates that lose cost no folds."""

import math
from collections.abc import Mapping, Sequence

from evomal.evaluation.finals.ledger import Ledger, Trial
from evomal.evaluation.finals.plan import (
    LEAST_TRAININGS,
    VARIED_SHARE,
    Entrant,
    FinalsPlan,
    by_kind,
    least_budget,
    short_trainings,
    shortest,
)
from evomal.evaluation.finals.standings import Places, Runner

SHARE, MOST_SHARE = 0.3, 0.45  # of the budget: without and with rates beyond the edges
EXTENSION = 1.3  # rates beyond the edges, on average
LONGEST = 4  # a screening takes a quarter of the steps, or fewer
BEYOND = 3  # further rates on each side, at most
FEW = 4  # candidates that take part however small the budget is


def screening_steps(plan: FinalsPlan, entrants: int) -> int:
    """Steps of a training in the screening: a quarter of the full number, fewer if many share a small budget.

    Example:
        >>> plan = FinalsPlan(1000, (0.025, 0.1, 0.4), 5, 1, 3, 150_000, 0.25)
        >>> [screening_steps(plan, entrants) for entrants in (10, 100)]
        [250, 115]
    """
    spare = plan.common - LEAST_TRAININGS * plan.steps
    affordable = min(SHARE * plan.common / EXTENSION, spare) / (max(entrants, 1) * short_trainings(plan))
    return max(shortest(plan.steps), min(plan.steps // LONGEST, int(affordable)))


def admitted(entrants: Sequence[Entrant], plan: FinalsPlan) -> list[int]:
    """Who may take part: all but variants, or fewer candidates, the last in the ranking of the search left out.

    Args:
        entrants: All, candidates in the order of their ranking.
        plan: Budget and rates.
    """
    others, found = by_kind(entrants, learned=False), by_kind(entrants, learned=True)
    while len(found) > FEW and least_budget(plan, len(others) + len(found)) > plan.budget:
        found.pop()
    return sorted([*others, *found])


def screen(numbers: Sequence[int], ledger: Ledger) -> list[Runner]:
    """Short trainings on the first split at every rate, then at the best one on a few more splits.

    Rates are those of the grid, and beyond it where the best lies at an edge.

    Args:
        numbers: Who takes part.
        ledger: Has trials measured.

    Returns:
        Everybody, with the best two rates; without any where every training failed.
    """
    plan = ledger.plan
    steps = screening_steps(plan, len(numbers))
    return _screened(dict.fromkeys(numbers, plan.lrs), steps, BEYOND, MOST_SHARE * plan.common, ledger)


def screen_variants(
    runners: Sequence[Runner], entrants: Sequence[Entrant], ledger: Ledger, places: Places
) -> list[Runner]:
    """Other hyper-parameters of the best few losses, in trainings as short, at the rates that those are best at.

    Args:
        runners: After the screening.
        entrants: All entrants.
        ledger: Has trials measured.
        places: Told of those that leave: of a loss with its variants the best goes on; the task loss always.

    Returns:
        All that go on.
    """
    steps = screening_steps(ledger.plan, len(runners))
    chosen = _varied(runners, entrants, steps, ledger)
    if not chosen:
        return list(runners)
    limit = ledger.spent + VARIED_SHARE * ledger.plan.common
    everybody = places.without_failed([*runners, *_screened(chosen, steps, 1, limit, ledger)])
    staying, groups = list[Runner](), set[str]()
    for runner in sorted(everybody, key=lambda runner: runner.rank):
        entrant = entrants[runner.number]
        if entrant.kind == "task" or entrant.group not in groups:
            staying.append(runner)
            groups.add(entrant.group)
    places.leave([runner for runner in everybody if runner not in staying])
    return staying


def _varied(
    runners: Sequence[Runner], entrants: Sequence[Entrant], steps: int, ledger: Ledger
) -> dict[int, tuple[float, ...]]:
    """The variants that are tried, with the rates to begin with: those of the best losses that have any."""
    plan, chosen = ledger.plan, dict[int, tuple[float, ...]]()
    spare = min(VARIED_SHARE * plan.common, ledger.left - LEAST_TRAININGS * plan.steps)
    count = 0
    for runner in sorted(runners, key=lambda runner: runner.rank):
        name = entrants[runner.number].name
        numbers = [number for number, entrant in enumerate(entrants) if entrant.variant_of == name]
        cost = (len(chosen) + len(numbers)) * (len(runner.lrs) + plan.looks) * steps
        if not numbers or not runner.lrs or count == plan.varied or cost > spare:
            continue
        count += 1
        chosen |= dict.fromkeys(numbers, tuple(sorted(runner.lrs)))
    return chosen


def _screened(
    rates: Mapping[int, Sequence[float]], steps: int, beyond: int, limit: float, ledger: Ledger
) -> list[Runner]:
    """Short trainings of entrants at their rates and a few beyond them, as long as no more than a limit is spent."""
    plan = ledger.plan
    ledger.run([Trial(number, lr, 0, steps) for number, lrs in rates.items() for lr in lrs])
    for _ in range(beyond):
        further = [Trial(number, lr, 0, steps) for number in rates for lr in _beyond(number, steps, ledger)]
        cost = (len(further) + len(rates) * (plan.looks - 1)) * steps
        dear = ledger.spent + cost > limit or ledger.left - cost < LEAST_TRAININGS * plan.steps
        if not further or dear:
            break
        ledger.run(further)
    runners = [_runner(number, steps, ledger) for number in rates]
    _look_again([runner for runner in runners if runner.lrs], steps, ledger)
    return runners


def _look_again(runners: Sequence[Runner], steps: int, ledger: Ledger) -> None:
    """Train everybody at its better rate on further splits: of few instances, one split tells little."""
    splits = range(min(ledger.plan.looks, ledger.plan.race_splits))
    trials = [Trial(runner.number, runner.lr, split, steps) for split in splits[1:] for runner in runners]
    if len(trials) * steps > ledger.left - LEAST_TRAININGS * ledger.plan.steps:
        return
    ledger.run(trials)
    for runner in runners:
        runner.mean = ledger.mean(runner.number, runner.lr, splits, steps)


def _beyond(number: int, steps: int, ledger: Ledger) -> list[float]:
    """The next rate, if the best so far is the least or the greatest of several."""
    tried, best = ledger.tried(number), _by_score(number, steps, ledger)
    if not best or len(tried) < 2:
        return []
    if best[0] == tried[-1]:
        return [tried[-1] * ledger.plan.factor]
    return [tried[0] / ledger.plan.factor] if best[0] == tried[0] else []


def _by_score(number: int, steps: int, ledger: Ledger) -> list[float]:
    """The rates at which the training did not fail, the best first; of equal ones the one next to the grid's middle."""
    lrs = ledger.plan.lrs
    middle = math.sqrt(lrs[0] * lrs[-1])
    scores = {lr: ledger.scores[Trial(number, lr, 0, steps)] for lr in ledger.tried(number)}
    passed = [lr for lr, score in scores.items() if math.isfinite(score)]
    return sorted(passed, key=lambda lr: (scores[lr], abs(math.log(lr / middle)), lr))


def _runner(number: int, steps: int, ledger: Ledger) -> Runner:
    lrs = _by_score(number, steps, ledger)[:2]
    score = ledger.scores[Trial(number, lrs[0], 0, steps)] if lrs else math.inf
    return Runner(number, lrs, mean=score)
