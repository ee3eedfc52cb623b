"""The race: full trainings fold by fold; whoever is significantly worse than the leader leaves, and so do rates."""

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import product

from evomal.evaluation.finals.ledger import Follow, Ledger, Trial
from evomal.evaluation.finals.plan import LEAST_RACE, Entrant
from evomal.evaluation.finals.standings import Places, Runner
from evomal.evaluation.statistics import behind

LEVEL = 0.05  # of the test that sends home: one-sided, each by itself; see `behind`
TWO_RATES = 2  # folds on which losses are trained at both of their best rates; on the second only the better half
RACE_SHARE = 0.55  # of what the screening has left; the rest is for the re-test
FEWEST = 4  # who goes on even if far behind
RIVALS = 2  # the best that people wrote, which go on as long as there is room
MANY, AT_THE_END, FEW = 8, 4, 3  # in the last fold: if everybody has had a first one, as a rule, if budgets are small


def race(runners: Sequence[Runner], entrants: Sequence[Entrant], ledger: Ledger, places: Places) -> list[Runner]:
    """Send everybody through the folds.

    After each fold those leave whose training failed, and those that `behind` finds at the level of `LEVEL` if a few
    better ones are left. Beside that, no more go on than the budget allows for. The task loss, the best of the losses
    that the search did not find and the best that it found always stay: the verdict is about them.

    Args:
        runners: After the screening.
        entrants: All entrants.
        ledger: Has trials measured.
        places: Told of those that leave.

    Returns:
        Those that are left, with one rate each; fewer than two if there is no race to be had for the budget.
    """
    field = places.without_failed(runners)
    sizes = planned_sizes(len(field), ledger.plan.race_splits, int(RACE_SHARE * ledger.left) // ledger.plan.steps)
    if not sizes:
        return field
    for fold, size in enumerate(sizes):
        field = _cut(field, size, entrants, places)
        if fold == 1:
            for runner in _ranked(field)[math.ceil(len(field) / 2) :]:
                runner.lrs = runner.lrs[:1]
        _run_fold(field, fold, ledger, _surely_next(field, sizes))
        field = places.without_failed(field)
        if fold == TWO_RATES - 1 or fold == len(sizes) - 1:
            for runner in field:
                runner.lrs = runner.lrs[:1]
        if fold:
            field = _without_those_behind(field, fold + 1, entrants, ledger, places)
    return _ranked(field)


def planned_sizes(count: int, folds: int, trainings: int) -> list[int]:
    """How many take part in each fold: half as many each time, down to a few; as many as the budget buys.

    Args:
        count: Who could take part.
        folds: Folds, at most.
        trainings: Full trainings that the race may cost.

    Returns:
        A number for each fold; fewer folds where the budget is small, none where it does not suffice for two. More
        stay to the end where the budget suffices for all on the first fold.

    Example:
        >>> planned_sizes(36, 5, 60), planned_sizes(36, 5, 35), planned_sizes(20, 5, 13), planned_sizes(20, 5, 8)
        ([16, 8, 4, 4, 4], [8, 4, 4, 4, 4], [3, 3], [])
        >>> planned_sizes(36, 5, 200), planned_sizes(36, 5, 120)
        ([36, 18, 9, 8, 8], [36, 18, 9, 6, 6])
    """
    few = min(FEW, count)
    wide = [(last, count) for last in range(min(MANY, count), AT_THE_END, -1)]
    for last, first in [*wide, *product(range(min(AT_THE_END, count), few - 1, -1), range(count, few - 1, -1))]:
        sizes = [max(last, math.ceil(first / 2**fold)) for fold in range(folds)]
        if last <= first and _cost(sizes) <= trainings:
            return sizes
    for number in range(folds, LEAST_RACE - 1, -1):
        if _cost([few] * number) <= trainings:
            return [few] * number
    return []


def _cost(sizes: Sequence[int]) -> int:
    """Trainings: at two rates on the first fold, on the second only for the better half."""
    return sum(sizes) + sum(sizes[:1]) + sum(math.ceil(size / 2) for size in sizes[1:2])


def _run_fold(field: Sequence[Runner], fold: int, ledger: Ledger, follow: Follow) -> None:
    """Train everybody on a fold at the rates that are open, and sort these."""
    steps = ledger.plan.steps
    ledger.run([Trial(runner.number, lr, fold, steps) for runner in field for lr in runner.lrs], follow)
    for runner in field:
        means = {lr: ledger.mean(runner.number, lr, range(fold + 1), steps) for lr in runner.lrs}
        runner.lrs = sorted(runner.lrs, key=lambda lr: (means[lr], runner.lrs.index(lr)))
        runner.mean, runner.folds = means[runner.lr], fold + 1


def _surely_next(field: Sequence[Runner], sizes: Sequence[int]) -> Follow:
    """What follows a training: where so few are left that only those leave who fail, the same on the next fold."""
    few = len(field) <= min(FEWEST, sizes[-1])
    sure = {runner.number for runner in field if few and len(runner.lrs) == 1}

    def follow(trial: Trial, value: float) -> list[Trial]:
        goes_on = trial.entrant in sure and math.isfinite(value) and trial.split + 1 < len(sizes)
        return [replace(trial, split=trial.split + 1)] if goes_on else []

    return follow


def _without_those_behind(
    field: Sequence[Runner], folds: int, entrants: Sequence[Entrant], ledger: Ledger, places: Places
) -> list[Runner]:
    rows = [ledger.values(runner.number, runner.lr, range(folds), ledger.plan.steps) for runner in field]
    # A leader may turn out unsteady in the re-test: a few others are to be there then.
    staying = needed(field, entrants) | dict.fromkeys(runner.number for runner in _ranked(field)[:FEWEST])
    leaving = [field[place] for place in behind(rows, LEVEL) if field[place].number not in staying]
    places.leave(leaving)
    return [runner for runner in field if runner not in leaving]


def _cut(field: Sequence[Runner], size: int, entrants: Sequence[Entrant], places: Places) -> list[Runner]:
    """The best `size`, with those that always stay among them."""
    staying = needed(field, entrants)
    # One that leads after a fold may be lucky, and if it falls back a rival to the learned losses must be there.
    rivals = [r.number for r in _ranked(field) if entrants[r.number].kind in ("handcrafted", "known")][:RIVALS]
    staying |= dict.fromkeys([number for number in rivals if number not in staying][: max(0, size - len(staying))])
    ranked = sorted(field, key=lambda runner: (runner.number not in staying, *runner.rank))
    places.leave(ranked[max(size, len(staying)) :])
    return ranked[: max(size, len(staying))]


def _ranked(field: Sequence[Runner]) -> list[Runner]:
    return sorted(field, key=lambda runner: runner.rank)


def needed(field: Sequence[Runner], entrants: Sequence[Entrant]) -> dict[int, None]:
    """The numbers of those that the verdict is about: the best on either side, and the task loss."""
    ranked = _ranked(field)
    sides = [[r.number for r in ranked if entrants[r.number].learned == side] for side in (True, False)]
    task = [runner.number for runner in ranked if entrants[runner.number].kind == "task"]
    return dict.fromkeys([*sides[0][:1], *sides[1][:1], *task])
