"""Genetic programming without generations: a child is bred whenever there is somebody to evaluate it."""

import heapq
import math
from collections import deque
from collections.abc import Sequence

from evomal.config import GeneticSettings
from evomal.engines.breeding import Breeding, copy_of, elites_of
from evomal.engines.genetic import checked_initial
from evomal.engines.genetic_state import FormulaProposal
from evomal.engines.genome import Formula
from evomal.expressions import vocabulary
from evomal.foundation.seeds import python_random

Told = tuple[tuple[float, int, int], Formula]


class SteadyState:
    """Breeds children one by one from a population that every fitness renews.

    The population is the best formulas so far, as many as a generation has elites, and the latest others, both together
    `population_size`: so a formula is a parent for about as long as in a generation, and none stays for having been
    lucky early but for the few best. A child depends on its number and on who was told before, in this order, alone.

    Args:
        settings: Population, rates and limits.
        *seed: What its random numbers depend on, beside the number of a child.
        initial: Formulas to start from, bred first.

    Example:
        >>> engine = SteadyState(GeneticSettings(population_size=4), 0)
        >>> for number in range(40):
        ...     proposed = engine.breed(number)
        ...     engine.tell(number, proposed.genome, proposed.genome.size)
        >>> engine.told, engine.breed(40) == engine.breed(40)
        (40, True)

    Source: steady-state selection as in Syswerda, "A Study of Reproduction in Generational and Steady-State Genetic
    Algorithms", 1991; the oldest leave as in Real et al., "Regularized Evolution for Image Classifier Architecture
    Search", 2019.
    """

    def __init__(self, settings: GeneticSettings, *seed: str | int, initial: Sequence[Formula] = ()) -> None:
        self.settings, self._seed = settings, seed
        self._words = vocabulary(settings.operators, settings.terminals)
        self._elites = elites_of(settings, settings.population_size)
        self._best: list[Told] = []
        self._latest: deque[Told] = deque(maxlen=settings.population_size)
        self.told = 0
        self._first = self._initial(checked_initial(settings, initial))

    def breed(self, number: int) -> FormulaProposal:
        """The candidate of that number, from 0, as it is bred now; parents are named by their numbers.

        The first `population_size` are those that a search by generations starts with.
        """
        if number < len(self._first):
            return copy_of(self._first[number], "initial")
        rng = python_random(*self._seed, "steady", number)
        if not self.told:
            return copy_of(Breeding(self.settings, self._words, rng).newcomers(1)[0], "initial")
        population = self._population()
        told = [(formula, fitness) for (fitness, _, _), formula in population]
        child = Breeding(self.settings, self._words, rng, told).child()
        parents = tuple(population[place][0][2] for place in child.parents)
        return FormulaProposal(child.expression, child.origin, parents, child.weights)

    def tell(self, number: int, formula: Formula, fitness: float) -> None:
        """Hand in the fitness of a candidate; the lower the better, and what is not finite counts as the worst."""
        entry = ((fitness if math.isfinite(fitness) else math.inf, formula.size, number), formula)
        self._latest.append(entry)
        self._best = heapq.nsmallest(self._elites, [*self._best, entry], key=lambda told: told[0])
        self.told += 1

    def state_dict(self) -> dict[str, int]:
        """How many it was told; the journal says all the rest."""
        return {"told": self.told}

    def _initial(self, given: Sequence[Formula]) -> list[Formula]:
        rng = python_random(*self._seed)
        drawn = Breeding(self.settings, self._words, rng).newcomers(self.settings.population_size - len(given))
        return [*given, *drawn]

    def _population(self) -> list[Told]:
        kept = {rank[2] for rank, _ in self._best}
        others = [told for told in self._latest if told[0][2] not in kept]
        room = self.settings.population_size - len(self._best)
        return [*self._best, *others[max(0, len(others) - room) :]]
