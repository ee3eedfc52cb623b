"""What is known of one member of a generation."""

import math
from dataclasses import dataclass, field
from typing import Any, Literal

from evomal.expressions import Expression, to_text
from evomal.plain import finite_or_none

Outcome = Literal["elite", "archived", "failed", "rejected", "equivalent", "trained"]


@dataclass(slots=True)
class Candidate:
    """A member of a generation, from the formula to its fitness.

    Args:
        generation: Number of the generation, from 0.
        index: Place in the generation, from 0.
        expression: The formula, in canonical form.
        origin: How it came to be: initial, crossover, mutation, reproduction or elite.
        parents: Places of the parents in the generation before.
        weights: φ, tuned; None where the formula was never tuned.
        outcome: Where its evaluation ended. ``archived``: the outer filter knew it. ``rejected``, ``equivalent``: the
            inner filters (D8, D9). ``failed``: it raised, diverged or was not finite. ``trained``: partial training.
        fitness: The metric after partial training; infinite is the worst.
        score: Share of the possible improvement reached in the rejection filter (D8).
        same_as: (generation, index) of the candidate whose fitness was taken over.
        tuned_steps: Meta steps taken.
        reason: Why it failed or was rejected, or what ended its tuning.
        seconds: Time of each stage.
    """

    generation: int
    index: int
    expression: Expression
    origin: str
    parents: tuple[int, ...] = ()
    weights: list[float] | None = None
    outcome: Outcome | None = None
    fitness: float = math.inf
    score: float | None = None
    same_as: tuple[int, int] | None = None
    tuned_steps: int = 0
    reason: str | None = None
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """What the archive knows it by: the canonical text."""
        return to_text(self.expression)

    @property
    def place(self) -> tuple[int, int]:
        """(generation, index)."""
        return self.generation, self.index

    @property
    def rank(self) -> tuple[float, int, int, int]:
        """Sorting key: fitness, then size, then who came first (D5)."""
        return (self.fitness, self.expression.size, *self.place)

    def take(self, other: "Candidate", outcome: Outcome) -> None:
        """Take over tree, φ, score and fitness of an evaluated candidate (D7)."""
        self.expression, self.weights = other.expression, other.weights
        self.score, self.fitness, self.tuned_steps = other.score, other.fitness, other.tuned_steps
        self.same_as, self.outcome, self.reason = other.place, outcome, other.reason

    def record(self, seed: int, output_activation: str) -> dict[str, Any]:
        """The journal's line: plain values only, None for the worst fitness."""
        return {
            "generation": self.generation,
            "index": self.index,
            "expression": self.key,
            "output_activation": output_activation,
            "origin": self.origin,
            "parents": list(self.parents),
            "outcome": self.outcome,
            "fitness": finite_or_none(self.fitness),
            "score": finite_or_none(self.score),
            "same_as": None if self.same_as is None else list(self.same_as),
            "weights": self.weights,
            "tuned_steps": self.tuned_steps,
            "reason": self.reason,
            "seed": seed,
            "seconds": {stage: round(value, 4) for stage, value in self.seconds.items()},
        }
