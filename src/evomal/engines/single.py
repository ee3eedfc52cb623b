"""The engine of a method that does not search: one proposal."""

from collections.abc import Mapping, Sequence
from typing import Any

from evomal.engines.engine import Proposal
from evomal.engines.genome import Genome
from evomal.engines.states import damaged


class SingleEngine:
    """Proposes one genome, whatever it is told.

    Args:
        genome: The genome.

    Example:
        >>> from evomal.engines.genome import Network
        >>> [proposed.genome.key for proposed in SingleEngine(Network(50)).ask()]
        ['neural 50']
    """

    def __init__(self, genome: Genome) -> None:
        self._only = Proposal(genome, "initial")

    def ask(self) -> list[Proposal]:
        """The one proposal."""
        return [self._only]

    def tell(self, fitnesses: Sequence[float]) -> None:
        """Nothing is learned from it."""

    def state_dict(self) -> dict[str, Any]:
        """Nothing."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Accept what `state_dict` gives.

        Raises:
            EvomalError: The state is another engine's.
        """
        if state != {}:
            raise damaged("engine", "it should be empty")
