"""What a comparison comes to, and what must be known to read its table rightly."""

from collections.abc import Iterator, Sequence
from math import isclose, isfinite

from evomal.comparison.contenders import Contender
from evomal.comparison.results import Results, Row
from evomal.evaluation.statistics import PairedTest, holm, paired_test

LEVEL = 0.05  # below it, a corrected p is called significant
ENOUGH = 5  # seeds
NOTHING = 0.1  # of the gain at the fixed rate: an interval that ends below it leaves nothing worth the name


def notes_of(comparison: Results) -> list[str]:
    """Remarks on a comparison, one sentence each.

    Args:
        comparison: The comparison.

    Returns:
        Remarks on few seeds, other versions, search times, fruitless searches, losses from files or for other rates,
        diverged trainings, best rates at the edge of those tried, tests that are not defined, and gains that are step
        size. Names in them are as given: clean them before printing.

    Example:
        >>> from evomal.comparison import Comparison, Contender
        >>> from evomal.training import TrainingRun
        >>> focal = Contender("focal", "handcrafted", (), (TrainingRun(0.1, 0, 0.2, 0.3, 100, 1.0),))
        >>> notes_of(Comparison("iris", "error_rate", "focal", 0.1, (0.1,), (0,), (focal,), {}))
        ['with a single seed nothing tells a difference from chance; five or more are better']
    """
    rows = comparison.rows()
    notes = [
        *_few_seeds(len(comparison.seeds)),
        *comparison.origin.changes(),
        *comparison.remarks,
        *_shared_machine(comparison.contenders),
    ]
    for contender in comparison.contenders:
        notes += [*_file(contender), *_searches(contender), *_tuned(contender, comparison)]
        notes += _divergence(contender, comparison)
    for row in rows:
        notes += _edge(row, comparison.lrs)
    for row in rows:
        notes += [*_undefined(row, comparison), *_step_size(row)]
    return notes


def _few_seeds(count: int) -> Iterator[str]:
    if count == 1:
        yield "with a single seed nothing tells a difference from chance; five or more are better"
    elif count < ENOUGH:
        yield f"a paired t over {count} seeds detects only large effects; five or more are better"


def _shared_machine(contenders: Sequence[Contender]) -> Iterator[str]:
    """How times were measured, if searches had the machine not to themselves."""
    at_a_time = {each.name: max((search.workers or 1 for search in each.searches), default=1) for each in contenders}
    shared = [name for name, workers in at_a_time.items() if workers > 1]
    if shared:
        most = max(at_a_time.values())
        yield (
            f"search times of {', '.join(shared)} are wall times with up to {most} searches on the machine at a time; "
            "alone, a search may take less"
        )


def _file(contender: Contender) -> Iterator[str]:
    origin = {"file": "from a file", "found": "that a search found"}.get(contender.kind)
    if origin is not None:
        yield (
            f"{contender.name} is one loss {origin}: p speaks of this loss, not of the method that found it, which "
            "would need a search of its own for each seed"
        )


def _tuned(contender: Contender, comparison: Results) -> Iterator[str]:
    """Whether losses meet, in the first column, another rate than that which they were made for."""
    seeds_of: dict[float, list[int]] = {}
    for seed, lr in zip(comparison.seeds, contender.tuned_lrs, strict=False):
        if lr is not None and not isclose(lr, comparison.fixed_lr):
            seeds_of.setdefault(lr, []).append(seed)
    if not seeds_of:
        return
    fixed = f"not for the fixed lr {comparison.fixed_lr:g}"
    if contender.kind != "learned":
        yield f"the loss of {contender.name} was tuned or chosen for lr {next(iter(seeds_of)):g}, {fixed}"
    else:
        told = [f"lr {lr:g} ({_seeds(seeds)})" for lr, seeds in sorted(seeds_of.items())]
        yield f"losses of {contender.name} were tuned or chosen for {', '.join(told)}, {fixed}"


def _seeds(seeds: Sequence[int]) -> str:
    return f"{'seed' if len(seeds) == 1 else 'seeds'} {', '.join(map(str, seeds))}"


def _searches(contender: Contender) -> Iterator[str]:
    seeds = [search.seed for search in contender.searches if search.fitness is None]
    if seeds:
        found = f"the search of {contender.name} found nothing with {_seeds(seeds)}"
        yield f"{found}: the loss that stands for it has no fitness"
    verdicts: dict[str, list[int]] = {}
    for search in contender.searches:
        if search.verdict is not None:
            verdicts.setdefault(search.verdict, []).append(search.seed)
    if verdicts:
        told = ", ".join(f"{verdict} ({_seeds(those)})" for verdict, those in sorted(verdicts.items()))
        yield f"what the finals of {contender.name} came to: {told}"


def _divergence(contender: Contender, comparison: Results) -> Iterator[str]:
    count = len(comparison.seeds)
    values = {lr: contender.values(lr, comparison.seeds) for lr in comparison.lrs}
    bad = {lr: sum(not isfinite(test) for test in tests) for lr, tests in values.items()}
    if any(bad.values()):
        told = ", ".join(f"{number} of {count} at lr {lr:g}" for lr, number in bad.items() if number)
        yield f"{sum(bad.values())} of {count * len(bad)} trainings with {contender.name} diverged ({told})"


def _edge(row: Row, lrs: tuple[float, ...]) -> Iterator[str]:
    """Whether the best rate may lie outside those that were tried."""
    lr = row.best.lr
    if len(lrs) > 1 and lr in (min(lrs), max(lrs)) and isfinite(row.best.mean):
        further = "smaller" if lr == min(lrs) else "greater"
        yield f"the best lr {lr:g} of {row.contender.name} is at the edge of those tried; try {further} ones too"


def _undefined(row: Row, comparison: Results) -> Iterator[str]:
    cells = {f"at lr {comparison.fixed_lr:g}": row.fixed}
    if len(comparison.lrs) > 1:
        cells["at the best rates"] = row.best
    for where, cell in cells.items():
        if cell.test and cell.test.p is None:
            same = f"{row.contender.name} differs from {comparison.baseline} by the same amount at every seed {where}"
            yield f"{same}: no t test is defined"


def _step_size(row: Row) -> Iterator[str]:
    """What becomes of a gain at the fixed rate once each side has the step size that suits it.

    What is not significant is not absent. Nothing is left if the contender is no better then, and its interval ends
    below a tenth of the gain at the fixed rate; part of that gain is gone if the interval ends below the whole.
    """
    fixed, best, name = row.fixed.test, row.best.test, row.contender.name
    if not fixed or not best or best.high is None or not _is_gain(fixed) or _is_gain(best):
        return
    gain, left = f"gain of {name} at the fixed rate is step size", "left when each side has its best rate"
    if best.gain <= 0 and best.high < NOTHING * fixed.gain:
        yield f"the {gain}: none is {left}"
    elif best.high < fixed.gain:
        yield f"part of the {gain}: what is {left} is not significant"
    else:
        yield f"whether the {gain} stays open: what is {left} is not significant, yet may be as large; use more seeds"


def _is_gain(test: PairedTest) -> bool:
    return test.p_holm is not None and test.p_holm < LEVEL and test.gain > 0


def verdict_of(comparison: Results) -> str:
    """The best contender at its own best rate, and which of the others may be as good.

    The others are tested against it by the paired t test over seeds, with Holm's correction. As the test data chose
    the best, its own mean is somewhat too good.

    Args:
        comparison: The comparison.

    Returns:
        One sentence. Names in it are as given: clean them before printing.

    Example:
        >>> from evomal.comparison import Comparison, Contender
        >>> from evomal.training import TrainingRun
        >>> def trained(*tests):
        ...     return tuple(TrainingRun(0.1, seed, test, test, 100, 1.0) for seed, test in enumerate(tests))
        >>> values = {"mse": (0.30, 0.28, 0.33), "mae": (0.21, 0.20, 0.22), "huber": (0.20, 0.22, 0.23)}
        >>> contenders = tuple(Contender(name, "handcrafted", (), trained(*each)) for name, each in values.items())
        >>> verdict_of(Comparison("iris", "error_rate", "mse", 0.1, (0.1,), (0, 1, 2), contenders, {}))
        'best: mae at 0.1 (error_rate 0.21); a tie with huber (p 0.53); better than mse'
    """
    ranked = sorted((row for row in comparison.rows() if isfinite(row.best.mean)), key=lambda row: row.best.mean)
    if not ranked:
        return "nothing learned: every contender has trainings that diverged"
    best, *others = ranked
    said = f"best: {best.contender.name} at {best.best.lr:g} ({comparison.metric} {best.best.mean:.4g})"
    tests = [paired_test(other.best.values, best.best.values) for other in others]
    corrected = holm([None if test is None else test.p for test in tests])
    # Without a spread the same gain at every seed is no chance; with a single seed nothing is known.
    tied = [p if test is not None else 1.0 for p, test in zip(corrected, tests, strict=True)]
    ties = [_told(row, p) for row, p in zip(others, tied, strict=True) if p is not None and p >= LEVEL]
    worse = [row.contender.name for row, p in zip(others, tied, strict=True) if p is None or p < LEVEL]
    return "; ".join(
        [
            said,
            *([f"a tie with {', '.join(ties)}"] if ties else []),
            *([f"better than {', '.join(worse)}"] if worse else []),
        ]
    )


def _told(row: Row, p: float) -> str:
    return f"{row.contender.name} (p {p:.2g})"
