"""The genetic search over formulas: an engine that is asked for a generation and told its fitnesses.

It never trains: who evaluates the proposals, where and how many at a time, is not its business.
"""

import math
import random
from collections.abc import Mapping, Sequence
from typing import Any

from evomal.config import GeneticSettings
from evomal.engines.genetic_state import FormulaProposal, GeneticState, Origin
from evomal.engines.genome import Formula
from evomal.expressions import (
    Expression,
    canonical,
    crossover,
    finished,
    mutate,
    ramped_half_and_half,
    repair,
    vocabulary,
)
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
        self._initial = _checked_initial(settings, initial)
        self._generation = 0
        self._told: tuple[tuple[Formula, float], ...] = ()
        self._asked: tuple[FormulaProposal, ...] | None = None

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
        settings = self.settings
        drawn = self._drawn(settings.population_size - len(self._initial))
        formulas = [*self._initial, *(Formula(self._fitting(tree)) for tree in drawn)]
        return [_copy(formula, "initial") for formula in formulas]

    def _drawn(self, count: int) -> list[Expression]:
        return ramped_half_and_half(self._rng, count, self.settings.min_depth, self.settings.max_depth, self._words)

    def _fitting(self, tree: Expression) -> Expression:
        """The tree repaired and canonical; drawn anew until repair keeps it within the height limit."""
        settings = self.settings
        while True:
            try:
                done = canonical(repair(tree, self._rng, self._words))
            except ExpressionError:
                done = None
            if done is not None and done.height <= settings.max_height:
                return done
            tree = self._drawn(1)[0]

    def _bred(self) -> list[FormulaProposal]:
        size = len(self._told)
        ranking = sorted(range(size), key=self._rank)
        elites = ranking[: max(1, round(self.settings.elitism_rate * size))]
        bred = [_copy(self._told[index][0], "elite", index) for index in elites]
        return bred + [self._child() for _ in range(size - len(bred))]

    def _child(self) -> FormulaProposal:
        settings = self.settings
        draw = self._rng.random()
        first = self._tournament()
        parent = self._told[first][0]
        if draw < settings.crossover_rate:
            second = self._tournament()
            child = crossover(parent.expression, self._told[second][0].expression, self._rng)
            return self._proposed(child, parent, "crossover", (first, second))
        if draw < settings.crossover_rate + settings.mutation_rate:
            child = mutate(parent.expression, self._rng, settings.mutation_depth, self._words)
            return self._proposed(child, parent, "mutation", (first,))
        return _copy(parent, "reproduction", first)

    def _proposed(
        self, child: Expression, parent: Formula, origin: Origin, parents: tuple[int, ...]
    ) -> FormulaProposal:
        tree = finished(child, parent.expression, self._rng, self.settings.max_height, self._words)
        # What is its parent again is a copy of it; any other child finds coefficients of its own.
        weights = parent.weights if tree == parent.expression else None
        return FormulaProposal(tree, origin, parents, weights)

    def _tournament(self) -> int:
        entrants = [self._rng.randrange(len(self._told)) for _ in range(self.settings.tournament_size)]
        return min(entrants, key=self._rank)

    def _rank(self, index: int) -> tuple[float, int, int]:
        formula, fitness = self._told[index]
        return fitness, formula.size, index


def _copy(formula: Formula, origin: Origin, *parents: int) -> FormulaProposal:
    return FormulaProposal(formula.expression, origin, parents, formula.weights)


def _checked_initial(settings: GeneticSettings, initial: Sequence[Formula]) -> tuple[Formula, ...]:
    if len(initial) > settings.population_size:
        raise SettingError(
            f"setting 'population_size': {settings.population_size} places cannot hold "
            f"{len(initial)} formulas to start from"
        )
    for formula in initial:
        if fault := formula.fault(settings.max_height):
            raise ExpressionError(f"'{shortened(formula.key)}' cannot start a search: it {fault}")
    return tuple(formula.canonical() for formula in initial)
