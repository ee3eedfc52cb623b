"""What is finished of a search: the one place that knows it."""

from collections import Counter
from collections.abc import Iterable

from evomal.evaluation.candidate import Candidate


class Archive:
    """Every finished candidate of a search, and which of them the filters know.

    A search that goes on fills it from its journal; what is evaluated fills it on.

    Args:
        members: Candidates that are finished.

    Attributes:
        members: All that are finished, by generation and index.
        best: The best of those that were trained themselves (D9); None before there is one.
        losses: What the outer filter knows, by key: evaluated, or being so, up to the generation in progress (D7).
        gradients: What the gradient filter knows, by signature, up to there (D9).

    Example:
        >>> from evomal.engines.genome import Network
        >>> archive = Archive([Candidate(0, 0, Network(3), "initial", outcome="trained", fitness=0.5)])
        >>> archive.best.place, archive.complete(1, population=1), archive.losses
        ((0, 0), True, {})
    """

    def __init__(self, members: Iterable[Candidate] = ()) -> None:
        self.members: dict[tuple[int, int], Candidate] = {}
        self.best: Candidate | None = None
        self.losses: dict[str, Candidate] = {}
        self.gradients: dict[str, Candidate] = {}
        for member in members:
            self.add(member)

    def add(self, candidate: Candidate) -> bool:
        """Take in a finished candidate; whether it is the best so far."""
        self.members[candidate.place] = candidate
        better = candidate.outcome == "trained" and (self.best is None or candidate.rank < self.best.rank)
        if better:
            self.best = candidate
        return better

    def meet(self, members: Iterable[Candidate]) -> None:
        """Finished members of generations up to that in progress: from now on the filters know them."""
        for candidate in members:
            if not candidate.own:
                continue
            self.losses[candidate.key] = candidate
            passed = candidate.outcome == "trained" or "train" in candidate.seconds
            if passed and candidate.signature is not None:
                self.gradients[candidate.signature] = candidate

    def before(self, generation: int) -> list[Candidate]:
        """Finished members of the generations before one."""
        return [member for member in self.members.values() if member.generation < generation]

    def complete(self, generation: int, population: int) -> bool:
        """Whether all generations before one are finished."""
        counts = Counter(number for number, _ in self.members)
        return all(counts[number] == population for number in range(generation))
