"""The members of a generation of formulas, and the state of the genetic engine as plain JSON values and back."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

from evomal.config import GeneticSettings
from evomal.engines.engine import (
    MOST_GENERATIONS,
    ODD,
    damaged,
    fitness,
    listed,
    number,
    plain_rng,
    read_rng,
    whole,
)
from evomal.engines.genome import Formula
from evomal.expressions import Expression, canonical, parse
from evomal.foundation.serialization import finite_or_none

Origin = Literal["initial", "crossover", "mutation", "reproduction", "elite"]
PARENTS: Mapping[str, int] = MappingProxyType(
    {"initial": 0, "crossover": 2, "mutation": 1, "reproduction": 1, "elite": 1}
)
"""How many parents a member of each origin has."""


@dataclass(frozen=True, slots=True)
class FormulaProposal:
    """One member of a generation that waits for its fitness.

    Attributes:
        expression: The formula: canonical, complete, within the height limit.
        origin: The operation that was drawn for it; a child that was too high is a copy of its first parent.
        parents: Where its parents stood in the previous generation.
        weights: The coefficients that a formula to start from brought along; None where they are still to be found.
    """

    expression: Expression
    origin: Origin
    parents: tuple[int, ...] = ()
    weights: tuple[float, ...] | None = None

    @property
    def genome(self) -> Formula:
        """The formula, its coefficients given or still to be found."""
        return Formula(self.expression, self.weights)


@dataclass(frozen=True, slots=True)
class GeneticState:
    """All that a genetic search depends on besides its settings and the formulas that it starts from.

    Args:
        generation: Number of generations told.
        rng: The state of the random numbers, as `random.Random.getstate` gives it.
        told: The last generation that was told, with its fitnesses; empty at first.
        asked: The generation that waits for its fitnesses, or None.
    """

    generation: int
    rng: tuple[Any, ...]
    told: tuple[tuple[Formula, float], ...]
    asked: tuple[FormulaProposal, ...] | None

    def plain(self) -> dict[str, Any]:
        """The state as plain JSON values; an infinite fitness is None."""
        return {
            "generation": self.generation,
            "rng": plain_rng(self.rng),
            "told": [plain_told(formula, value) for formula, value in self.told],
            "asked": None if self.asked is None else [_plain_member(member) for member in self.asked],
        }

    @classmethod
    def read(cls, plain: Mapping[str, Any], settings: GeneticSettings) -> "GeneticState":
        """The state that `plain` gave, once it is known that a search with these settings could have written it.

        Args:
            plain: The values, as they came back from JSON.
            settings: Of the search that goes on.

        Returns:
            The state.

        Raises:
            EvomalError: The values are damaged, or of a search with other settings.
        """
        size = settings.population_size
        try:
            generation = whole(plain["generation"], MOST_GENERATIONS)
            rng = read_rng(plain["rng"])
            told = tuple(read_told(row, settings) for row in listed(plain["told"], size if generation else 0))
            asked = None
            if plain["asked"] is not None:
                asked = tuple(_read_member(entry, settings, generation) for entry in listed(plain["asked"], size))
        except ODD as error:
            raise damaged("genetic engine", error) from None
        return cls(generation, rng, told, asked)


def plain_told(formula: Formula, value: float) -> list[Any]:
    """A formula and its fitness as plain values; None stands for the worst fitness."""
    weights = [] if formula.weights is None else [list(formula.weights)]
    return [str(formula.expression), finite_or_none(value), *weights]


def read_told(row: Any, settings: GeneticSettings) -> tuple[Formula, float]:
    """What `plain_told` was given.

    Raises:
        ValueError, ExpressionError: The row holds something that no search with these settings was told.
    """
    text, value, weights = row if len(listed(row)) == 3 else (*row, None)
    return _read_formula(text, weights, settings), fitness(value)


def _plain_member(member: FormulaProposal) -> dict[str, Any]:
    weights = {} if member.weights is None else {"weights": list(member.weights)}
    return {
        "expression": str(member.expression),
        "origin": member.origin,
        "parents": list(member.parents),
        **weights,
    }


def _read_member(entry: Mapping[str, Any], settings: GeneticSettings, generation: int) -> FormulaProposal:
    formula, origin = _read_formula(entry["expression"], entry.get("weights"), settings), entry["origin"]
    if origin not in PARENTS or (origin == "initial") != (generation == 0):
        raise ValueError("a member is of an unknown origin")
    last = settings.population_size - 1
    parents = tuple(whole(parent, last) for parent in listed(entry["parents"], PARENTS[origin]))
    return FormulaProposal(formula.expression, origin, parents, formula.weights)


def _read_formula(text: Any, weights: Any, settings: GeneticSettings) -> Formula:
    formula = Formula(parse(text), None if weights is None else tuple(map(number, listed(weights))))
    if fault := formula.fault(settings.max_height):
        raise ValueError(f"a formula {fault}")
    if formula.expression != canonical(formula.expression):
        raise ValueError("a formula is not in canonical form")
    return formula
