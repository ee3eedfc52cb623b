"""The genetic search over formulas: an engine that is asked for a generation and told its fitnesses.

It never trains: who evaluates the proposals, where and how many at a time, is not its business.
"""

import math
import random
from collections.abc import Mapping, Sequence
from typing import Any

from evomal.config import GeneticSettings
from evomal.engines.breeding import Breeding, copy_of
from evomal.engines.genetic_state import FormulaProposal, GeneticState
from evomal.engines.genome import Formula
from evomal.expressions import vocabulary
from evomal.expressions.tree import shortened
from evomal.foundation.errors import EvomalError, ExpressionError, SettingError


class GeneticEngine:
    """Genetic programming with tournaments, subtree crossover, uniform mutation and elitism (D5).

    Args:
        settings: Population, rates and limits.
        rng: Where all randomness comes from; the engine advances it.
        initial: Formulas to start from, put first in the initial population; see `evomal.engines.warm_start.starts`.
            Coefficients that they bring along stay with them for as long as they are copied.

    Raises:
        SettingError: There are more formulas to start from than places.
        ExpressionError: A formula to start from lacks `y` or `f`, or is too high.

    Example:
        >>> engine = GeneticEngine(GeneticSettings(population_size=8), random.Random(0))
        >>> for _ in range(5):
        ...     engine.tell([proposal.expression.size for proposal in engine.ask()])
        >>> engine.generation, engine.ask()[0].origin, engine.ask()[0].expression.size
        (5, 'elite', 3)

    Source: Raymond et al. 2023, Section 3.1.2.
    """

    def __init__(self, settings: GeneticSettings, rng: random.Random, initial: Sequence[Formula] = ()) -> None:
        self.settings = settings
        self._words = vocabulary(settings.operators, settings.terminals)
        self._rng = rng
        self._initial = checked_initial(settings, initial)
        self._generation = 0
        self._told: tuple[tuple[Formula, float], ...] = ()
        self._asked: tuple[FormulaProposal, ...] | None = None

    @property
    def initial(self) -> tuple[Formula, ...]:
        """The formulas that it starts from."""
        return self._initial

    @property
    def generation(self) -> int:
        """Number of generations told."""
        return self._generation

    def ask(self) -> list[FormulaProposal]:
        """The next generation; the same one again until it is told.

        Returns:
            `population_size` proposals, elites first.
        """
        if self._asked is None:
            self._asked = tuple(self._bred() if self._told else self._first())
        return list(self._asked)

    def tell(self, fitnesses: Sequence[float]) -> None:
        """Hand in the fitnesses of the generation that was asked for.

        Args:
            fitnesses: One number per proposal, in their order; the lower the better, and whatever is not
                finite counts as the worst.

        Raises:
            EvomalError: No generation is waiting, or the number of fitnesses differs from its size.
        """
        if self._asked is None:
            raise EvomalError("tell() came before ask(): ask for a generation, evaluate it, then tell")
        if len(fitnesses) != len(self._asked):
            raise EvomalError(
                f"tell() got {len(fitnesses)} fitnesses for {len(self._asked)} proposals: give one for each"
            )
        values = [float(fitness) if math.isfinite(fitness) else math.inf for fitness in fitnesses]
        self._told = tuple((asked.genome, value) for asked, value in zip(self._asked, values, strict=True))
        self._asked = None
        self._generation += 1

    def state_dict(self) -> dict[str, Any]:
        """All that the search depends on besides its settings, as plain JSON values.

        Returns:
            The state, from which `load_state_dict` goes on to the bit; an infinite fitness is None.
        """
        return GeneticState(self._generation, self._rng.getstate(), self._told, self._asked).plain()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state written by `state_dict`.

        Args:
            state: The state, as it came back from JSON.

        Raises:
            EvomalError: The state is damaged; the engine is then as it was before.
        """
        read = GeneticState.read(state, self.settings)
        self._rng.setstate(read.rng)
        self._generation, self._told, self._asked = read.generation, read.told, read.asked

    def _first(self) -> list[FormulaProposal]:
        drawn = self._breeding.newcomers(self.settings.population_size - len(self._initial))
        return [copy_of(formula, "initial") for formula in (*self._initial, *drawn)]

    def _bred(self) -> list[FormulaProposal]:
        breeding = self._breeding
        elites = breeding.elites()
        return [*elites, *(breeding.child() for _ in range(len(self._told) - len(elites)))]

    @property
    def _breeding(self) -> Breeding:
        return Breeding(self.settings, self._words, self._rng, self._told)


def checked_initial(settings: GeneticSettings, initial: Sequence[Formula]) -> tuple[Formula, ...]:
    """Formulas that a search starts from, canonical.

    Raises:
        SettingError: There are more than places.
        ExpressionError: A formula lacks `y` or `f`, or is too high.
    """
    if len(initial) > settings.population_size:
        raise SettingError(
            f"setting 'population_size': {settings.population_size} places cannot hold "
            f"{len(initial)} formulas to start from"
        )
    for formula in initial:
        if fault := formula.fault(settings.max_height):
            raise ExpressionError(f"'{shortened(formula.key)}' cannot start a search: it {fault}")
    return tuple(formula.canonical() for formula in initial)
