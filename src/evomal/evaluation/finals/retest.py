"""The re-test: the best few at their chosen rates, on fresh splits. Only its numbers decide."""

from collections.abc import Sequence

from evomal.evaluation.finals.ledger import Ledger, Trial
from evomal.evaluation.finals.plan import LEAST_RETEST, Entrant
from evomal.evaluation.finals.race import needed
from evomal.evaluation.finals.standings import Runner

MOST = 8  # losses in a re-test
SPECIALISTS = 2  # the best that the search did not find, which take part beside the task loss


def retest(field: Sequence[Runner], entrants: Sequence[Entrant], ledger: Ledger) -> dict[int, tuple[float, ...]]:
    """Train the best few once more.

    Args:
        field: Who is left of the race, the best first.
        entrants: All entrants.
        ledger: Has trials measured.

    Returns:
        For each that took part, its metric on every split; nothing where the budget buys too little.
    """
    runners, splits = planned_retest(field, entrants, ledger)
    steps = ledger.plan.steps
    ledger.run([Trial(runner.number, runner.lr, split, steps) for split in splits for runner in runners])
    return {runner.number: tuple(ledger.values(runner.number, runner.lr, splits, steps)) for runner in runners}


def planned_retest(field: Sequence[Runner], entrants: Sequence[Entrant], ledger: Ledger) -> tuple[list[Runner], range]:
    """Who is tested again, and on which splits: two rounds or more if the budget allows, with three losses or more."""
    plan = ledger.plan
    ordered = _by_claim(field, entrants)
    must = len(needed(field, entrants))
    trainings = max(ledger.left, 0) // plan.steps
    # Several rounds tell more of each; with too few losses the winner may be missing.
    for rounds, fewest in ((2, 3), (1, 3), (2, must), (1, must)):
        rounds = min(rounds, plan.retests)
        for count in range(min(MOST, len(ordered)), max(fewest, must) - 1, -1):
            if count and trainings >= count * plan.folds * rounds:
                times = min(plan.retests, trainings // (count * plan.folds))
                return ordered[:count], _fresh(plan.race_splits, times * plan.folds)
    few = trainings // must if must else 0
    if few < LEAST_RETEST:
        return [], range(0)
    return ordered[:must], _fresh(plan.race_splits, min(few, plan.folds))


def _fresh(first: int, count: int) -> range:
    return range(first, first + count)


def _by_claim(field: Sequence[Runner], entrants: Sequence[Entrant]) -> list[Runner]:
    """Those first that the verdict is about, then the best of all and of those that nobody learned, then the others."""
    ranked = sorted(field, key=lambda runner: runner.rank)
    claims = needed(field, entrants)
    others = [runner for runner in ranked if not entrants[runner.number].learned]
    claims |= dict.fromkeys(runner.number for runner in ranked[:SPECIALISTS])
    claims |= dict.fromkeys(runner.number for runner in others[:SPECIALISTS])
    claims |= dict.fromkeys(runner.number for runner in ranked)
    by_number = {runner.number: runner for runner in ranked}
    return [by_number[number] for number in claims]
