"""What a comparison comes to, in a sentence."""

from math import isfinite
from typing import TYPE_CHECKING

from evomal.evaluation.statistics import holm, paired_test

if TYPE_CHECKING:
    from evomal.comparison.results import Comparison, Row

LEVEL = 0.05


def verdict_of(comparison: "Comparison") -> str:
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


def _told(row: "Row", p: float) -> str:
    return f"{row.contender.name} (p {p:.2g})"
