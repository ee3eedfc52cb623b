"""What all engines have in common: they ask, are told fitnesses, and go on from a state; and the one that asks once.

A state is data that may come from anywhere. What reads one of its values raises an ordinary exception, which whoever
reads the whole state turns into one sentence.
"""

import math
import random
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from evomal.engines.genome import Genome
from evomal.foundation.errors import EvomalError, one_line
from evomal.foundation.serialization import cleaned

ODD = (KeyError, TypeError, ValueError, OverflowError, EvomalError)
"""What a damaged state may raise while it is read."""
MOST_GENERATIONS = 1_000_000
_WORDS, _WORD = 624, 2**32  # of the standard library's generator


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


def damaged(engine: str, reason: BaseException | str) -> EvomalError:
    """The error for a state that an engine could not have written.

    Example:
        >>> str(damaged("genetic engine", "it has no rng"))
        'the state of the genetic engine is damaged (it has no rng); start the search again'
    """
    if isinstance(reason, KeyError):
        reason = f"it has no {reason}"
    elif isinstance(reason, BaseException):
        reason = str(reason) if isinstance(reason, ValueError | EvomalError) else one_line(reason)
    return EvomalError(f"the state of the {engine} is damaged ({cleaned(reason)}); start the search again")


def whole(value: Any, most: int) -> int:
    """A whole number from 0 to `most`.

    Raises:
        ValueError: It is something else.
    """
    if type(value) is not int or not 0 <= value <= most:
        raise ValueError(f"a whole number from 0 to {most} is missing")
    return value


def number(value: Any) -> float:
    """A finite number.

    Raises:
        ValueError: It is something else.
    """
    if type(value) not in (int, float) or not abs(value) <= sys.float_info.max:
        raise ValueError("a finite number is missing")
    return float(value)


def fitness(value: Any) -> float:
    """A fitness; None stands for the worst.

    Raises:
        ValueError: It is neither a finite number nor None.
    """
    return math.inf if value is None else number(value)


def listed(value: Any, count: int | None = None) -> list[Any]:
    """A list, of `count` values if that is given.

    Raises:
        ValueError: It is something else.
    """
    if type(value) is not list or (count is not None and len(value) != count):
        raise ValueError("a list is missing" if count is None else f"a list of {count} is missing")
    return value


def plain_rng(state: tuple[Any, ...]) -> list[Any]:
    """What `random.Random.getstate` gives, as plain values that `read_rng` takes."""
    version, words, gauss = state
    return [version, list(words), gauss]


def read_rng(value: Any) -> tuple[Any, ...]:
    """What `random.Random.setstate` takes.

    Raises:
        ValueError: No generator was ever in that state.

    Example:
        >>> state = random.Random(3).getstate()
        >>> read_rng(plain_rng(state)) == state
        True
    """
    version, words, gauss = listed(value, 3)
    if type(version) is not int or version != random.Random.VERSION:
        raise ValueError("its random numbers are of another version of Python")
    *state, place = listed(words, _WORDS + 1)
    numbers = tuple(whole(word, _WORD - 1) for word in state)
    # Of the first word only the highest bit counts; from zeros alone nothing but zeros comes, for ever.
    if numbers[0] < _WORD // 2 and not any(numbers[1:]):
        raise ValueError("its random numbers are all zero")
    return version, (*numbers, whole(place, _WORDS)), None if gauss is None else number(gauss)
