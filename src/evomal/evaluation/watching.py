"""What a search tells while it runs."""

from collections.abc import Sequence

from evomal.evaluation.candidate import Candidate
from evomal.evaluation.finals import Entrant, FinalsPlan, Trial


class Watcher:
    """Told of progress; every method may be overridden, and none has to be.

    Example:
        >>> class Printer(Watcher):
        ...     def generation(self, number, best):
        ...         print(number, best.key if best else "nothing yet")
        >>> Printer().generation(0, None)
        0 nothing yet
    """

    def resumed(self, members: Sequence[Candidate], best: Candidate | None, generation: int) -> None:
        """The search goes on with `generation`; an earlier call had finished these members."""

    def stage(self, name: str, count: int) -> None:
        """A stage (``heat``, ``tune``, ``filter``, ``train``, ``finals``) begins for `count` candidates."""

    def member(self, candidate: Candidate, best: Candidate | None) -> None:
        """The outcome of a candidate is known; `best` is the best one that was trained itself so far."""

    def generation(self, number: int, best: Candidate | None) -> None:
        """A generation is complete."""

    def finals(self, entrants: Sequence[Entrant], plan: FinalsPlan) -> None:
        """The finals begin, or go on."""

    def final(self, entrant: Entrant, trial: Trial, value: float) -> None:
        """A training of the finals is finished; its metric is infinite if it failed."""
