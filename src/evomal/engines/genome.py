"""What engines propose: the makings of a loss, before anything is known of its worth."""

import math
from abc import abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor

from evomal.config import LearnSettings
from evomal.expressions import Expression, canonical, to_text
from evomal.expressions.canonical import canonical_weighted
from evomal.foundation.errors import SettingError
from evomal.foundation.seeds import generator
from evomal.losses import LearnedLoss, NeuralLoss, SymbolicLoss, TaylorLoss
from evomal.tasks import TaskSet

Loss = TypeVar("Loss", bound=LearnedLoss)

UNEVEN = 1.5
"""Classes are uneven where the most frequent one has so many times the labels of the least frequent one."""

GREATEST = 1e30
"""No coefficient is larger: float32 ends at 3e38."""


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

    @property
    @abstractmethod
    def start(self) -> tuple[float, ...] | None:
        """The coefficients that it was proposed with; None if they are drawn."""

    @abstractmethod
    def entries(self, settings: LearnSettings) -> dict[str, Any]:
        """The entries of a loss file that stand for the structure, as plain values."""

    @abstractmethod
    def loss(self, tasks: TaskSet, settings: LearnSettings) -> LearnedLoss:
        """The loss before tuning: the same in every process (D3)."""


@dataclass(frozen=True)
class Formula:
    """A formula, with coefficients that are still to be found or given: by CMA-ES, or by a loss to begin with.

    Args:
        expression: The formula; in canonical form once it is a member of a generation.
        weights: φ, one number per edge in pre-order of the child node, or None. Local search begins with it.
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

    @property
    def start(self) -> tuple[float, ...] | None:
        """The coefficients that it has, or None."""
        return self.weights

    def canonical(self) -> "Formula":
        """The same loss with the arguments of commutative operators sorted, each with its coefficients (D7)."""
        if self.weights is None:
            return Formula(canonical(self.expression))
        return Formula(*canonical_weighted(self.expression, self.weights))

    def fault(self, max_height: int) -> str | None:
        """What keeps it out of a search, said of it; None if nothing does.

        Example:
            >>> from evomal.expressions import parse
            >>> Formula(parse("abs(f)")).fault(max_height=10)
            'lacks y; a loss needs both y and f'
        """
        tree, weights = self.expression, self.weights
        if not tree.complete:
            missing = " and ".join(leaf for leaf in ("y", "f") if not tree.contains(leaf))
            return f"lacks {missing}; a loss needs both y and f"
        if tree.height > max_height:
            return f"has height {tree.height}, above max_height {max_height}"
        if weights is not None and len(weights) != tree.edges:
            return f"has {tree.edges} edges and needs as many coefficients, not {len(weights)}"
        if weights is not None and not all(math.isfinite(weight) and abs(weight) <= GREATEST for weight in weights):
            return f"has a coefficient that is not finite or above {GREATEST:g}"
        return None

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
        loss = SymbolicLoss(
            self.expression,
            weights,
            task_type=tasks.task_type,
            output_activation=settings.output_activation,
            ignore_index=tasks.ignore_index,
        )
        if loss.needs_prior:
            loss.meet_classes(prior_counts(tasks))
        return _seeing_classes(loss, tasks, settings)


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

    @property
    def start(self) -> tuple[float, ...]:
        """The parameters."""
        return self.parameters

    def entries(self, settings: LearnSettings) -> dict[str, Any]:
        """The family; the parameters are its coefficients."""
        return {"family": "taylor"}

    def loss(self, tasks: TaskSet, settings: LearnSettings) -> TaylorLoss:
        """The loss."""
        loss = TaylorLoss(self.parameters, task_type=tasks.task_type, ignore_index=tasks.ignore_index)
        return _seeing_classes(loss, tasks, settings)


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

    @property
    def start(self) -> None:
        """Drawn from the seed."""
        return None

    def entries(self, settings: LearnSettings) -> dict[str, Any]:
        """Family and width."""
        return {"family": "neural", "hidden": self.hidden}

    def loss(self, tasks: TaskSet, settings: LearnSettings) -> NeuralLoss:
        """Initialised from the seed alone."""
        draw = generator(*_phi(self, tasks, settings))
        kind, ignored = tasks.task_type, tasks.ignore_index
        loss = NeuralLoss(task_type=kind, hidden=self.hidden, ignore_index=ignored, generator=draw)
        return _seeing_classes(loss, tasks, settings)


def _seeing_classes(loss: Loss, tasks: TaskSet, settings: LearnSettings) -> Loss:
    """The loss on the tasks' device; with `log_prior`, told how often each class occurs where that differs enough."""
    if settings.log_prior and len(tasks) == 1:
        counts = tasks[0].class_counts
        known = None if counts is None else counts[counts > 0]
        if counts is not None and known is not None and len(known) and int(known.max()) >= UNEVEN * int(known.min()):
            loss.class_counts = counts
    moved: Loss = loss.to(tasks.device)
    return moved


def prior_counts(tasks: TaskSet) -> Tensor:
    """Training labels of each class, which the terminal `prior` is made of.

    Raises:
        SettingError: A task cannot say, tasks differ in it, or there is none.
    """
    if not tasks:
        raise SettingError(
            "terminal 'prior' is the classes' share of the training labels, which a search without a task does not "
            "know; give `task`, or leave it out"
        )
    counts = [task.class_counts for task in tasks]
    for task, own in zip(tasks, counts, strict=True):
        if own is None:
            raise SettingError(
                f"terminal 'prior' is the classes' share of the training labels, and task '{task.name}' has no class "
                "labels to count; leave it out"
            )
    first = counts[0]
    assert first is not None
    if any(own is None or not torch.equal(own, first) for own in counts):
        raise SettingError(
            f"terminal 'prior' is the classes' share of the training labels, which the tasks {tasks.name} differ in; "
            "leave it out, or learn on one of them"
        )
    return first


def _phi(genome: Genome, tasks: TaskSet, settings: LearnSettings) -> tuple[int | str, ...]:
    return settings.seed, tasks.key, "phi", genome.key
