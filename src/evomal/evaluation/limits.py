"""When a search ends: after its last generation, or earlier at one of its limits."""

from collections.abc import Mapping
from time import perf_counter
from types import MappingProxyType
from typing import Literal

from evomal.config import LimitSettings
from evomal.evaluation.candidate import Candidate

Ended = Literal["generations", "target", "patience", "evaluations", "time", "interrupt"]
FINISHED: tuple[Ended, ...] = ("generations", "target", "patience", "evaluations")
"""Endings after which nothing is left to do; they depend on the run alone, not on the machine."""

ENDINGS: Mapping[Ended, str] = MappingProxyType(
    {
        "generations": "",
        "target": "at its target fitness",
        "patience": "without a better fitness for some generations",
        "evaluations": "at its limit of evaluations",
        "time": "at its time limit",
        "interrupt": "early",
    }
)


class LimitReached(Exception):
    """A search ends here.

    Args:
        ended: Which limit it is.
    """

    def __init__(self, ended: Ended) -> None:
        super().__init__(ended)
        self.ended = ended


class Limits:
    """Looks at the limits of a search; whoever runs it says when.

    All but the wall time depend on results alone, so they end a run at the same candidate whatever runs in parallel
    and however often it was interrupted. The wall time is looked at between stages and candidates.

    Args:
        settings: The limits.

    Attributes:
        begun: When this call began, by `time.perf_counter`.

    Example:
        >>> limits = Limits(LimitSettings(max_evaluations=10))
        >>> limits.left(7), Limits(LimitSettings()).left(7)
        (3, None)
    """

    def __init__(self, settings: LimitSettings) -> None:
        self.settings = settings
        self.begun = perf_counter()

    def left(self, evaluated: int) -> int | None:
        """How many candidates may still be evaluated; None without a limit."""
        most = self.settings.max_evaluations
        return None if most is None else max(most - evaluated, 0)

    def check_time(self) -> None:
        """Look at the wall time of this call.

        Raises:
            LimitReached: It is over.
        """
        most = self.settings.max_time
        if most is not None and perf_counter() - self.begun >= most:
            raise LimitReached("time")

    def check_best(self, best: Candidate | None) -> None:
        """Look at the best candidate so far.

        Raises:
            LimitReached: It is good enough.
        """
        target = self.settings.target_fitness
        if target is not None and best is not None and best.fitness <= target:
            raise LimitReached("target")

    def check_generation(self, number: int, best: Candidate | None, evaluated: int) -> None:
        """Look at a search whose generation is complete.

        Raises:
            LimitReached: No generation follows.
        """
        patience = self.settings.patience
        last = -1 if best is None else best.generation
        if patience is not None and number - last >= patience:
            raise LimitReached("patience")
        if self.left(evaluated) == 0:
            raise LimitReached("evaluations")
