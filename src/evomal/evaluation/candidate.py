"""What is known of one member of a generation."""

import math
from dataclasses import dataclass, field
from typing import Literal

from evomal.config import LearnSettings
from evomal.engines.genome import Genome
from evomal.foundation.serialization import finite_or_none
from evomal.losses import LearnedLoss
from evomal.losses.criterion import IGNORED
from evomal.tasks import TaskSet

Outcome = Literal["elite", "archived", "failed", "rejected", "dropped", "equivalent", "trained"]


@dataclass(slots=True)
class Candidate:
    """A member of a generation, from its genome to its fitness.

    Args:
        generation: Number of the generation, from 0.
        index: Place in the generation, from 0.
        genome: What the loss is made of.
        origin: How it came to be, such as initial, crossover, mutation, reproduction, elite or cma.
        parents: Places of the parents in the generation before; in an asynchronous search, their numbers.
        after: In an asynchronous search, how many candidates were finished when it was bred.
        weights: φ, tuned; None where the loss was never tuned.
        scale: What the loss is multiplied by (1 without scale control).
        outcome: Where its evaluation ended. ``archived``: the outer filter knew it. ``rejected``, ``equivalent``: the
            inner filters (D8, D9). ``dropped``: others were better in the heat. ``failed``: it raised, diverged or was
            not finite. ``trained``: partial training.
        fitness: The metric after partial training, or after the heat for one that was dropped; infinite is the worst.
        heat: The metric after a heat; None where there was none.
        tie: The task loss on validation data, which decides between equal fitnesses; None where it does not.
        fitness_lr: The multiple of the base learning rate at which the fitness was reached.
        score: Share of the possible improvement reached in the rejection filter (D8).
        signature: What gradient-equivalent losses share (D9), as 16 hexadecimal digits; None where it was not measured.
        same_as: (generation, index) of the candidate whose fitness was taken over.
        tuned_steps: Meta steps taken, those of a heat among them.
        trainings: Partial trainings done for it, those of a heat among them.
        reason: Why it failed or was rejected, or what ended its tuning.
        seconds: Time of each stage.
        formula: The loss as it is computed, in one line; known of those that have been the best.
        short: The same with its numbers multiplied out, to be read.
    """

    generation: int
    index: int
    genome: Genome
    origin: str
    parents: tuple[int, ...] = ()
    after: int | None = None
    weights: list[float] | None = None
    scale: float = 1.0
    outcome: Outcome | None = None
    fitness: float = math.inf
    heat: float | None = None
    fitness_lr: float = 1.0
    tie: float | None = None
    score: float | None = None
    signature: str | None = None
    same_as: tuple[int, int] | None = None
    tuned_steps: int = 0
    trainings: int = 0
    reason: str | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    formula: str = ""
    short: str = ""

    @property
    def key(self) -> str:
        """What the archive knows it by."""
        return self.genome.key

    @property
    def place(self) -> tuple[int, int]:
        """(generation, index)."""
        return self.generation, self.index

    @property
    def own(self) -> bool:
        """Whether it was evaluated itself, not taken over from another member."""
        return self.outcome not in ("elite", "archived")

    @property
    def own_fitness(self) -> float | None:
        """The fitness of one that was trained itself, in full; None where there is none, or it is not finite."""
        return finite_or_none(self.fitness) if self.outcome == "trained" else None

    @property
    def rank(self) -> tuple[float, float, int, int, int]:
        """Sorting key: fitness, with `break_ties` the task loss, then size, then who came first (D5)."""
        return (self.fitness, self.tie or 0.0, self.genome.size, *self.place)

    @property
    def told(self) -> float:
        """The fitness as engines are told it: what decides between equal ones is far below what any metric resolves."""
        return self.fitness if self.tie is None else self.fitness + 1e-9 * self.tie / (1 + abs(self.tie))

    def anew(self) -> "Candidate":
        """The same member, not evaluated yet."""
        return Candidate(self.generation, self.index, self.genome, self.origin, self.parents, self.after)

    def share(self, alike: "Candidate") -> None:
        """Take over the fitness of one with the same gradients; φ stays its own (D9)."""
        self.fitness, self.fitness_lr, self.tie = alike.fitness, alike.fitness_lr, alike.tie
        self.same_as, self.outcome = alike.place, "equivalent"

    def take(self, other: "Candidate", outcome: Outcome) -> None:
        """Take over genome, φ, score and fitness of an evaluated candidate (D7)."""
        self.genome, self.weights, self.scale = other.genome, other.weights, other.scale
        self.score, self.tuned_steps = other.score, other.tuned_steps
        self.fitness, self.fitness_lr, self.tie = other.fitness, other.fitness_lr, other.tie
        self.same_as, self.outcome, self.reason = other.place, outcome, other.reason

    def write_out(self, loss: LearnedLoss) -> None:
        """Keep how its loss reads, as computed and in short."""
        self.formula, self.short = loss.formula(digits=4), loss.short()

    def finished_loss(self, tasks: TaskSet, settings: LearnSettings) -> LearnedLoss:
        """The loss as it was tuned, frozen as one that is read from a file."""
        loss = self.genome.loss(tasks, settings)
        if self.weights is not None:
            loss.coefficients = self.weights
        loss.scale = self.scale
        loss.ignore_index = IGNORED
        # Finished: nobody's optimiser shall train it by accident.
        return loss.requires_grad_(False)
