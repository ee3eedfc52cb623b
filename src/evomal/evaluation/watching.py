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

    def baseline(self, fitness: float) -> None:
        """The task loss's metric after partial training, which every fitness is held against, is known."""

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


class Watchers(Watcher):
    """Several watchers as one; each is told of everything, in their order.

    Example:
        >>> class Printer(Watcher):
        ...     def generation(self, number, best):
        ...         print(number)
        >>> Watchers(Printer(), Watcher(), Printer()).generation(3, None)
        3
        3
    """

    def __init__(self, *watchers: Watcher) -> None:
        self.watchers = watchers

    def baseline(self, fitness: float) -> None:
        """Tell all."""
        for watcher in self.watchers:
            watcher.baseline(fitness)

    def resumed(self, members: Sequence[Candidate], best: Candidate | None, generation: int) -> None:
        """Tell all."""
        for watcher in self.watchers:
            watcher.resumed(members, best, generation)

    def stage(self, name: str, count: int) -> None:
        """Tell all."""
        for watcher in self.watchers:
            watcher.stage(name, count)

    def member(self, candidate: Candidate, best: Candidate | None) -> None:
        """Tell all."""
        for watcher in self.watchers:
            watcher.member(candidate, best)

    def generation(self, number: int, best: Candidate | None) -> None:
        """Tell all."""
        for watcher in self.watchers:
            watcher.generation(number, best)

    def finals(self, entrants: Sequence[Entrant], plan: FinalsPlan) -> None:
        """Tell all."""
        for watcher in self.watchers:
            watcher.finals(entrants, plan)

    def final(self, entrant: Entrant, trial: Trial, value: float) -> None:
        """Tell all."""
        for watcher in self.watchers:
            watcher.final(entrant, trial, value)
