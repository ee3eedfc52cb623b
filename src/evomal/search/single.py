"""The engine of a method that does not search: one proposal."""

from collections.abc import Sequence
from dataclasses import dataclass

from evomal.search.genome import Genome


@dataclass(frozen=True, slots=True)
class Only:
    """The one member of each generation.

    Args:
        genome: What the loss is made of.
        origin: ``initial``.
        parents: None.
    """

    genome: Genome
    origin: str = "initial"
    parents: tuple[int, ...] = ()


class SingleEngine:
    """Proposes one genome, whatever it is told.

    Args:
        genome: The genome.

    Example:
        >>> from evomal.search.genome import Network
        >>> [proposed.genome.key for proposed in SingleEngine(Network(50)).ask()]
        ['neural 50']
    """

    def __init__(self, genome: Genome) -> None:
        self._only = Only(genome)

    def ask(self) -> list[Only]:
        """The one proposal."""
        return [self._only]

    def tell(self, fitnesses: Sequence[float]) -> None:
        """Nothing is learned from it."""
