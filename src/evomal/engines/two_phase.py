"""The engine of GLO: genetic programming for the formula, then CMA-ES for the coefficients of the best."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from evomal.engines.cma import CmaEngine, Vector
from evomal.engines.engine import ODD, Proposed, damaged, whole
from evomal.engines.genetic import GeneticEngine
from evomal.engines.genetic_state import plain_told, read_told
from evomal.engines.genome import Formula


class TwoPhaseEngine:
    """Some generations of one engine, then CMA-ES from coefficients of 1, or from those that the best formula has.

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
        self._formulas, self._generations, self._left = formulas, generations, generations
        self._sigma, self._parts = sigma, seed_parts
        self._best: tuple[Formula, float] | None = None
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
            entry = (proposal.genome, fitness if math.isfinite(fitness) else math.inf)
            if self._best is None or _rank(entry) < _rank(self._best):
                self._best = entry
        self._left -= 1
        if self._left == 0 and self._best is not None:
            self._coefficients = self._second_phase(self._best[0])

    def state_dict(self) -> dict[str, Any]:
        """Both phases, and the best formula so far."""
        return {
            "left": self._left,
            "best": None if self._best is None else plain_told(*self._best),
            "formulas": self._formulas.state_dict(),
            "coefficients": None if self._coefficients is None else self._coefficients.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state written by `state_dict`.

        Args:
            state: The state, as it came back from JSON.

        Raises:
            EvomalError: The state is damaged; the engine is then as it was before.
        """
        try:
            left = whole(state["left"], self._generations)
            told = self._generations - left
            best = read_told(state["best"], self._formulas.settings) if told else None
            formulas, second = state["formulas"], state["coefficients"]
            if formulas["generation"] != told:
                raise ValueError("its phases contradict one another")
        except ODD as error:
            raise damaged("two-phase engine", error) from None
        coefficients = None
        if best is not None and left == 0:
            coefficients = self._second_phase(best[0])
            coefficients.load_state_dict(second)
        # Last: whatever is wrong is found before anything has changed.
        self._formulas.load_state_dict(formulas)
        self._left, self._best, self._coefficients = left, best, coefficients

    def _second_phase(self, formula: Formula) -> CmaEngine:
        tree = formula.expression

        def make(weights: Vector) -> Formula:
            return Formula(tree, weights)

        population = self._formulas.settings.population_size
        start = formula.weights or [1.0] * tree.edges
        return CmaEngine(start, self._sigma, population, self._parts, make)


def _rank(entry: tuple[Formula, float]) -> tuple[float, int]:
    formula, fitness = entry
    return fitness, formula.size
