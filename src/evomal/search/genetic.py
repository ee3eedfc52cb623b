"""The genetic search over formulas: an engine that is asked for a generation and told its fitnesses.

It never trains: who evaluates the proposals, where and how many at a time, is not its business.
"""

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from evomal.config import GeneticSettings
from evomal.errors import EvomalError, ExpressionError, SettingError, one_line
from evomal.expressions import (
    Expression,
    canonical,
    crossover,
    finished,
    mutate,
    parse,
    ramped_half_and_half,
    repair,
)
from evomal.expressions.tree import shortened
from evomal.search.genome import Formula

Origin = Literal["initial", "crossover", "mutation", "reproduction", "elite"]


@dataclass(frozen=True, slots=True)
class FormulaProposal:
    """One member of a generation that waits for its fitness.

    Attributes:
        expression: The formula: canonical, complete, within the height limit.
        origin: The operation that was drawn for it; a child that was too high is a copy of its first parent.
        parents: Where its parents stood in the previous generation.
    """

    expression: Expression
    origin: Origin
    parents: tuple[int, ...] = ()

    @property
    def genome(self) -> Formula:
        """The formula, its coefficients still to be found."""
        return Formula(self.expression)


class GeneticEngine:
    """Genetic programming with tournaments, subtree crossover, uniform mutation and elitism (D5).

    Args:
        settings: Population, rates and limits.
        rng: Where all randomness comes from; the engine advances it.
        initial: Formulas to start from, put first in the initial population.

    Raises:
        SettingError: The depths are out of reach, or there are more formulas to start from than places.
        ExpressionError: A formula to start from lacks `y` or `f`, or is too high.

    Example:
        >>> engine = GeneticEngine(GeneticSettings(population_size=8), random.Random(0))
        >>> for _ in range(5):
        ...     engine.tell([proposal.expression.size for proposal in engine.ask()])
        >>> engine.generation, engine.ask()[0].origin, engine.ask()[0].expression.size
        (5, 'elite', 3)

    Source: Raymond et al. 2023, Section 3.1.2.
    """

    def __init__(self, settings: GeneticSettings, rng: random.Random, initial: Sequence[Expression] = ()) -> None:
        self.settings = settings
        self._rng = rng
        self._initial = _checked_initial(settings, initial)
        self._generation = 0
        self._told: list[tuple[Expression, float]] = []
        self._asked: list[FormulaProposal] | None = None

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
            self._asked = self._bred() if self._told else self._first()
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
        self._told = [(asked.expression, value) for asked, value in zip(self._asked, values, strict=True)]
        self._asked = None
        self._generation += 1

    def state_dict(self) -> dict[str, Any]:
        """All that the search depends on besides its settings, as plain JSON values.

        Returns:
            The state, from which `load_state_dict` goes on to the bit; an infinite fitness is None.
        """
        version, numbers, gauss = self._rng.getstate()
        asked = (
            None
            if self._asked is None
            else [
                {"expression": str(p.expression), "origin": p.origin, "parents": list(p.parents)} for p in self._asked
            ]
        )
        return {
            "generation": self._generation,
            "rng": [version, list(numbers), gauss],
            "told": [[str(tree), value if math.isfinite(value) else None] for tree, value in self._told],
            "asked": asked,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state written by `state_dict`.

        Args:
            state: The state, as it came back from JSON.

        Raises:
            EvomalError: The state is damaged; the engine is then as it was before.
        """
        try:
            version, numbers, gauss = state["rng"]
            rng_state = (version, tuple(numbers), gauss)
            random.Random().setstate(rng_state)
            generation = int(state["generation"])
            told = [(parse(text), math.inf if v is None else float(v)) for text, v in state["told"]]
            asked = None if state["asked"] is None else [_proposal(record) for record in state["asked"]]
        except (KeyError, TypeError, ValueError, ExpressionError) as error:
            raise EvomalError(
                f"the state of the genetic engine is damaged ({one_line(error)}); start the search again"
            ) from None
        self._rng.setstate(rng_state)
        self._generation, self._told, self._asked = generation, told, asked

    def _first(self) -> list[FormulaProposal]:
        settings = self.settings
        drawn = ramped_half_and_half(
            self._rng, settings.population_size - len(self._initial), settings.min_depth, settings.max_depth
        )
        trees = [*self._initial, *(self._fitting(tree) for tree in drawn)]
        return [FormulaProposal(tree, "initial") for tree in trees]

    def _fitting(self, tree: Expression) -> Expression:
        """The tree repaired and canonical; drawn anew until repair keeps it within the height limit."""
        settings = self.settings
        while True:
            try:
                done = canonical(repair(tree, self._rng))
            except ExpressionError:
                done = None
            if done is not None and done.height <= settings.max_height:
                return done
            tree = ramped_half_and_half(self._rng, 1, settings.min_depth, settings.max_depth)[0]

    def _bred(self) -> list[FormulaProposal]:
        size = len(self._told)
        ranking = sorted(range(size), key=self._rank)
        elites = ranking[: max(1, round(self.settings.elitism_rate * size))]
        bred = [FormulaProposal(self._told[index][0], "elite", (index,)) for index in elites]
        return bred + [self._child() for _ in range(size - len(bred))]

    def _child(self) -> FormulaProposal:
        settings = self.settings
        draw = self._rng.random()
        first = self._tournament()
        parent = self._told[first][0]
        if draw < settings.crossover_rate:
            second = self._tournament()
            child = crossover(parent, self._told[second][0], self._rng)
            return self._proposed(child, parent, "crossover", (first, second))
        if draw < settings.crossover_rate + settings.mutation_rate:
            child = mutate(parent, self._rng, settings.mutation_depth)
            return self._proposed(child, parent, "mutation", (first,))
        return FormulaProposal(parent, "reproduction", (first,))

    def _proposed(
        self, child: Expression, parent: Expression, origin: Origin, parents: tuple[int, ...]
    ) -> FormulaProposal:
        return FormulaProposal(finished(child, parent, self._rng, self.settings.max_height), origin, parents)

    def _tournament(self) -> int:
        entrants = [self._rng.randrange(len(self._told)) for _ in range(self.settings.tournament_size)]
        return min(entrants, key=self._rank)

    def _rank(self, index: int) -> tuple[float, int, int]:
        tree, fitness = self._told[index]
        return fitness, tree.size, index


def _checked_initial(settings: GeneticSettings, initial: Sequence[Expression]) -> tuple[Expression, ...]:
    if len(initial) > settings.population_size:
        raise SettingError(
            f"setting 'population_size': {settings.population_size} places cannot hold "
            f"{len(initial)} formulas to start from"
        )
    for tree in initial:
        if not tree.complete:
            raise ExpressionError(f"'{shortened(str(tree))}' cannot start a search: it must contain both y and f")
        if tree.height > settings.max_height:
            raise ExpressionError(
                f"'{shortened(str(tree))}' cannot start a search: its height {tree.height} is above "
                f"max_height {settings.max_height}"
            )
    return tuple(canonical(tree) for tree in initial)


def _proposal(record: Mapping[str, Any]) -> FormulaProposal:
    if record["origin"] not in get_args(Origin):
        raise ValueError(f"unknown origin {record['origin']!r}")
    return FormulaProposal(parse(record["expression"]), record["origin"], tuple(map(int, record["parents"])))
