"""Finals from beginning to end, on plain numbers."""

from collections.abc import Callable, Sequence
from statistics import fmean

from evomal.evaluation.finals.ledger import Follow, Ledger, Measure, Trial
from evomal.evaluation.finals.plan import Entrant, FinalsPlan, least_budget
from evomal.evaluation.finals.race import race
from evomal.evaluation.finals.retest import retest
from evomal.evaluation.finals.screening import admitted, screen, screen_variants
from evomal.evaluation.finals.standings import FinalsOutcome, Places, Runner, StandingsRow


def hold_finals(
    entrants: Sequence[Entrant], plan: FinalsPlan, measure: Measure, ahead: Callable[[Follow], None] | None = None
) -> FinalsOutcome:
    """Screening, race, re-test.

    What is asked to be measured depends on the metrics alone, so that finals that were interrupted, or shared by
    several workers, come to the same end.

    Args:
        entrants: Who takes part; candidates in the order of their ranking.
        plan: Steps, rates, splits and budget.
        measure: Gives the metric of every trial that it is handed, in their order.
        ahead: Told which trials are sure to be asked for next; None where nobody wants to know.

    Returns:
        The places, and the numbers of the re-test; nothing is measured where the budget is too small for a verdict.

    Example:
        >>> entrants = [Entrant("habit", "task"), Entrant("other", "handcrafted"), Entrant("found", "learned", 0.2)]
        >>> plan = FinalsPlan(100, (0.1, 0.4, 1.6), 5, 1, 3, 10_000, 0.25)
        >>> true = (0.3, 0.25, 0.2)
        >>> def measure(trials):
        ...     return [true[t.entrant] + 0.05 * abs(t.lr - 0.4) + 0.001 * (7 * t.split % 5) for t in trials]
        >>> outcome = hold_finals(entrants, plan, measure)
        >>> [(row.entrant.name, row.lr, len(row.retest)) for row in outcome.rows], outcome.spent <= 10_000
        ([('found', 0.4, 15), ('other', 0.4, 15), ('habit', 0.4, 15)], True)
    """
    ledger, places = Ledger(plan, measure, ahead), Places()
    numbers = admitted(entrants, plan)
    if plan.budget < least_budget(plan, len(numbers)):
        return _none_held(entrants, plan)
    runners = screen_variants(screen(numbers, ledger), entrants, ledger, places)
    field = race(runners, entrants, ledger, places)
    again = retest(field, entrants, ledger) if any(runner.folds for runner in field) else {}
    chance = _chance(entrants, plan, ledger, next(iter(again.values()), ()))
    ordered = sorted(places.final(field), key=lambda runner: runner.number not in again)
    count = len(again)
    best = sorted(ordered[:count], key=lambda runner: _decided(again[runner.number], entrants[runner.number], runner))
    rows = tuple(_row(runner, entrants, again, ledger) for runner in [*best, *ordered[count:]])
    return FinalsOutcome(rows, chance, plan, ledger.spent)


def _none_held(entrants: Sequence[Entrant], plan: FinalsPlan) -> FinalsOutcome:
    """Everybody, candidates in their ranking first, as nothing is known that was worth its cost."""
    ranked = sorted((one for one in entrants if one.variant_of is None), key=lambda entrant: not entrant.learned)
    return FinalsOutcome(tuple(StandingsRow(entrant, None, 0, None, (), ()) for entrant in ranked), (), plan, 0)


def _chance(
    entrants: Sequence[Entrant], plan: FinalsPlan, ledger: Ledger, retested: Sequence[float]
) -> tuple[float, ...]:
    """The metric of whoever has learned nothing on the splits of the re-test."""
    task = next((number for number, entrant in enumerate(entrants) if entrant.kind == "task"), 0)
    trials = [Trial(task, plan.lrs[0], plan.race_splits + place, 0) for place in range(len(retested))]
    ledger.run(trials)
    return tuple(ledger.scores[trial] for trial in trials)


_PLAIN_FIRST = ("task", "handcrafted", "known", "learned")


def _decided(values: Sequence[float], entrant: Entrant, runner: Runner) -> tuple[float, int, int]:
    """Sorting key of the re-test: the mean; of equal ones what everybody knows."""
    return fmean(values), _PLAIN_FIRST.index(entrant.kind), runner.number


def _row(
    runner: Runner, entrants: Sequence[Entrant], again: dict[int, tuple[float, ...]], ledger: Ledger
) -> StandingsRow:
    number = runner.number
    return StandingsRow(
        entrant=entrants[number],
        lr=runner.lrs[0] if runner.lrs else None,
        folds=runner.folds,
        race=None if runner.mean == float("inf") else runner.mean,
        retest=again.get(number, ()),
        lrs=tuple(ledger.tried(number)),
    )
