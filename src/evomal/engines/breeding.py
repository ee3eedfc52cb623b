"""How formulas come to be: drawn at random, or bred from formulas whose fitnesses are known (D5)."""

import random
from collections.abc import Sequence

from evomal.config import GeneticSettings
from evomal.engines.genetic_state import FormulaProposal, Origin
from evomal.engines.genome import Formula
from evomal.expressions import Expression, canonical, crossover, finished, mutate, ramped_half_and_half, repair
from evomal.expressions.generate import Vocabulary
from evomal.foundation.errors import ExpressionError


class Breeding:
    """Newcomers, children and elites of a genetic search.

    Args:
        settings: Rates and limits.
        words: Operators and terminals of formulas.
        rng: Where all randomness comes from.
        told: Formulas with their fitnesses, the lower the better; parents are known by their place among them.

    Example:
        >>> from evomal.expressions import vocabulary
        >>> breeding = Breeding(GeneticSettings(), vocabulary(), random.Random(0))
        >>> newcomers = breeding.newcomers(4)
        >>> told = [(newcomer, newcomer.size) for newcomer in newcomers]
        >>> bred = Breeding(GeneticSettings(), vocabulary(), random.Random(0), told)
        >>> bred.elites()[0].genome.size == min(newcomer.size for newcomer in newcomers), bred.child().origin
        (True, 'mutation')

    Source: Raymond et al. 2023, Section 3.1.2.
    """

    def __init__(
        self,
        settings: GeneticSettings,
        words: Vocabulary,
        rng: random.Random,
        told: Sequence[tuple[Formula, float]] = (),
    ) -> None:
        self.settings, self._words, self._rng, self._told = settings, words, rng, told

    def newcomers(self, count: int) -> list[Formula]:
        """Random formulas, repaired and canonical, within the height limit."""
        return [Formula(self._fitting(tree)) for tree in self._drawn(count)]

    def elites(self) -> list[FormulaProposal]:
        """Copies of the best, at least one."""
        size = len(self._told)
        ranking = sorted(range(size), key=self._rank)[: elites_of(self.settings, size)]
        return [copy_of(self._told[index][0], "elite", index) for index in ranking]

    def child(self) -> FormulaProposal:
        """A child by crossover, mutation or reproduction, of parents that won a tournament."""
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
        return copy_of(parent, "reproduction", first)

    def _drawn(self, count: int) -> list[Expression]:
        return ramped_half_and_half(self._rng, count, self.settings.min_depth, self.settings.max_depth, self._words)

    def _fitting(self, tree: Expression) -> Expression:
        """The tree repaired and canonical; drawn anew until repair keeps it within the height limit."""
        while True:
            try:
                done = canonical(repair(tree, self._rng, self._words))
            except ExpressionError:
                done = None
            if done is not None and done.height <= self.settings.max_height:
                return done
            tree = self._drawn(1)[0]

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


def copy_of(formula: Formula, origin: Origin, *parents: int) -> FormulaProposal:
    """A member that is a formula as it was, its coefficients included."""
    return FormulaProposal(formula.expression, origin, parents, formula.weights)


def elites_of(settings: GeneticSettings, size: int) -> int:
    """How many of a population are kept unchanged."""
    return max(1, round(settings.elitism_rate * size))
