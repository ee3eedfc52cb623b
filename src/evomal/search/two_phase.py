"""The engine of GLO: genetic programming for the formula, then CMA-ES for the coefficients of the best."""

import math
from collections.abc import Sequence

from evomal.expressions import Expression
from evomal.search.cma import CmaEngine, Vector
from evomal.search.engine import Proposed
from evomal.search.genetic import GeneticEngine
from evomal.search.genome import Formula


class TwoPhaseEngine:
    """Some generations of one engine, then CMA-ES from coefficients of 1.

    Args:
        formulas: The genetic engine of the first phase.
        generations: Generations of the first phase.
        sigma: Initial standard deviation of the coefficients.
        seed_parts: What the random numbers of the second phase are for.

    Raises:
        SettingError: The population is too small for CMA-ES.

    Example:
        >>> import random
        >>> from evomal.config import GeneticSettings
        >>> genetic = GeneticEngine(GeneticSettings(population_size=4), random.Random(0))
        >>> engine = TwoPhaseEngine(genetic, 1, 0.3, (0, "example"))
        >>> engine.tell([proposed.genome.size for proposed in engine.ask()])
        >>> {proposed.origin for proposed in engine.ask()}
        {'cma'}

    Source:
        Gonzalez and Miikkulainen, 2020, Section III.
    """

    def __init__(
        self, formulas: GeneticEngine, generations: int, sigma: float, seed_parts: tuple[str | int, ...]
    ) -> None:
        self._formulas, self._left = formulas, generations
        self._sigma, self._parts = sigma, seed_parts
        self._best: tuple[float, int, Expression] | None = None
        self._coefficients: CmaEngine | None = None

    def ask(self) -> Sequence[Proposed]:
        """The next generation, of the phase that it is in."""
        return self._formulas.ask() if self._coefficients is None else self._coefficients.ask()

    def tell(self, fitnesses: Sequence[float]) -> None:
        """Hand in the fitnesses of the generation that was asked for."""
        if self._coefficients is not None:
            self._coefficients.tell(fitnesses)
            return
        proposals = self._formulas.ask()
        self._formulas.tell(fitnesses)
        for proposal, fitness in zip(proposals, fitnesses, strict=True):
            tree = proposal.expression
            entry = (fitness if math.isfinite(fitness) else math.inf, tree.size, tree)
            if self._best is None or entry[:2] < self._best[:2]:
                self._best = entry
        self._left -= 1
        if self._left == 0 and self._best is not None:
            self._coefficients = self._second_phase(self._best[2])

    def _second_phase(self, formula: Expression) -> CmaEngine:
        def make(weights: Vector) -> Formula:
            return Formula(formula, weights)

        population = self._formulas.settings.population_size
        return CmaEngine([1.0] * formula.edges, self._sigma, population, self._parts, make)
