"""What engines propose: the makings of a loss, before anything is known of its worth."""

from abc import abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import torch

from evomal.config import LearnSettings
from evomal.expressions import Expression, to_text
from evomal.losses import LearnedLoss, NeuralLoss, SymbolicLoss, TaylorLoss
from evomal.seeds import generator
from evomal.tasks import TaskSet


class Genome(Protocol):
    """The makings of a loss; equal keys mean equal losses."""

    @property
    @abstractmethod
    def key(self) -> str:
        """What the archive knows it by."""

    @property
    @abstractmethod
    def size(self) -> int:
        """How large it is; of equally good ones the smallest wins."""

    @abstractmethod
    def entries(self, settings: LearnSettings) -> dict[str, Any]:
        """The entries of a loss file that stand for the structure, as plain values."""

    @abstractmethod
    def loss(self, tasks: TaskSet, settings: LearnSettings) -> LearnedLoss:
        """The loss before tuning: the same in every process (D3)."""


@dataclass(frozen=True)
class Formula:
    """A formula, with coefficients that are still to be found or, from CMA-ES, given.

    Args:
        expression: The formula in canonical form.
        weights: φ, or None.
    """

    expression: Expression
    weights: tuple[float, ...] | None = None

    @cached_property
    def key(self) -> str:
        """The canonical text, with the coefficients if they are given."""
        text = to_text(self.expression)
        return text if self.weights is None else f"{text} {list(self.weights)}"

    @property
    def size(self) -> int:
        """Nodes of the formula."""
        return self.expression.size

    def entries(self, settings: LearnSettings) -> dict[str, Any]:
        """Family, expression and output activation."""
        text = to_text(self.expression)
        return {"family": "symbolic", "expression": text, "output_activation": settings.output_activation}

    def loss(self, tasks: TaskSet, settings: LearnSettings) -> SymbolicLoss:
        """φ as given, else φ ~ N(1, 1e-3) from the seed and the formula alone; φ = 1 without meta steps (D4)."""
        edges = self.expression.edges
        weights = torch.ones(edges) if self.weights is None else torch.tensor(self.weights)
        if self.weights is None and settings.local_search.meta_steps > 0:
            weights = weights + 1e-3 * torch.randn(edges, generator=generator(*_phi(self, tasks, settings)))
        return SymbolicLoss(
            self.expression,
            weights,
            task_type=tasks.task_type,
            output_activation=settings.output_activation,
            ignore_index=tasks.ignore_index,
        ).to(tasks.device)


@dataclass(frozen=True)
class Polynomial:
    """The eight parameters of a Taylor loss.

    Args:
        parameters: θ0 … θ7 of D12.
    """

    parameters: tuple[float, ...]

    @cached_property
    def key(self) -> str:
        """The parameters."""
        return f"taylor {list(self.parameters)}"

    @property
    def size(self) -> int:
        """All are of one size."""
        return len(self.parameters)

    def entries(self, settings: LearnSettings) -> dict[str, Any]:
        """The family; the parameters are its coefficients."""
        return {"family": "taylor"}

    def loss(self, tasks: TaskSet, settings: LearnSettings) -> TaylorLoss:
        """The loss."""
        return TaylorLoss(self.parameters, task_type=tasks.task_type, ignore_index=tasks.ignore_index).to(tasks.device)


@dataclass(frozen=True)
class Network:
    """A neural loss, to be trained.

    Args:
        hidden: Units of each hidden layer.
    """

    hidden: int

    @property
    def key(self) -> str:
        """Its widths."""
        return f"neural {self.hidden}"

    @property
    def size(self) -> int:
        """Units."""
        return self.hidden

    def entries(self, settings: LearnSettings) -> dict[str, Any]:
        """Family and width."""
        return {"family": "neural", "hidden": self.hidden}

    def loss(self, tasks: TaskSet, settings: LearnSettings) -> NeuralLoss:
        """Initialised from the seed alone."""
        draw = generator(*_phi(self, tasks, settings))
        kind, ignored = tasks.task_type, tasks.ignore_index
        return NeuralLoss(task_type=kind, hidden=self.hidden, ignore_index=ignored, generator=draw).to(tasks.device)


def _phi(genome: Genome, tasks: TaskSet, settings: LearnSettings) -> tuple[int | str, ...]:
    return settings.seed, tasks.key, "phi", genome.key
