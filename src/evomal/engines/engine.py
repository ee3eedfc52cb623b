"""What all engines have in common: they ask for evaluations, are told fitnesses, and never train."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from evomal.engines.genome import Genome


class Proposed(Protocol):
    """One member of a generation, as an engine proposes it."""

    @property
    def genome(self) -> Genome:
        """What the loss is made of."""

    @property
    def origin(self) -> str:
        """How it came to be."""

    @property
    def parents(self) -> tuple[int, ...]:
        """Places of its parents in the generation before."""


class Engine(Protocol):
    """Asks for evaluations and is told fitnesses; it never trains."""

    def ask(self) -> Sequence[Proposed]:
        """The next generation; the same one again until it is told."""

    def tell(self, fitnesses: Sequence[float]) -> None:
        """Take the fitnesses of the generation that was asked for, in its order."""

    def state_dict(self) -> dict[str, Any]:
        """All that the search depends on besides the engine's arguments, as plain JSON values; none is infinite."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on, to the bit, from a state that came back from JSON.

        Raises:
            EvomalError: An engine of these arguments never wrote such a state; this one is then as it was before.
        """


@dataclass(frozen=True, slots=True)
class Proposal:
    """A member of a generation without parents.

    Args:
        genome: What the loss is made of.
        origin: How it came to be.
        parents: None.
    """

    genome: Genome
    origin: str
    parents: tuple[int, ...] = ()
