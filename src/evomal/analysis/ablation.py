"""Which parts of a formula can be cut without changing what it does: each is taken out, and the losses compared."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from evomal.analysis.gradients import OutputsAndTargets, distance, response
from evomal.expressions import TERMINALS, Expression, evaluate, to_formula
from evomal.foundation.errors import EvomalError
from evomal.losses import SymbolicLoss

NOTHING = 0.01  # of the gradients: a change below it is none
MOST = 120  # subtrees: formulas are that long at worst, and each is compared at some hundred predictions
Cut = tuple[Expression, tuple[float, ...]]
Leaves = dict[str, Tensor]


@dataclass(frozen=True, slots=True)
class Subtree:
    """A subtree, and what becomes of the loss without it.

    Args:
        node: Its number in pre-order.
        text: The subtree as it is computed, its own weight apart.
        change: How different the gradients are where the subtree is replaced by a constant, its mean, apart from scale:
            0 for no difference, 1 for nothing in common; None where the rest would lack y or f.
    """

    node: int
    text: str
    change: float | None

    @property
    def idle(self) -> bool:
        """Whether it can be cut."""
        return self.change is not None and self.change < NOTHING


@dataclass(frozen=True, slots=True)
class Ablation:
    """Every subtree of a formula, and the formula that is left when all that is idle is cut.

    Args:
        parts: The subtrees but for the root and single constants, in pre-order.
        shortest: What is left; the formula itself if nothing can be cut.
        left: Nodes of it.
        of: Nodes of the formula.
        change: How different the gradients of what is left are, apart from scale.
    """

    parts: tuple[Subtree, ...]
    shortest: str
    left: int
    of: int
    change: float


def ablation(loss: SymbolicLoss, predictions: OutputsAndTargets) -> Ablation:
    """Take out every subtree of a formula, one at a time, and then all that nothing depends on.

    Args:
        loss: The loss.
        predictions: Where gradients are compared.

    Example:
        >>> from evomal.analysis.gradients import typical_predictions
        >>> loss = SymbolicLoss("add(square(sub(y, f)), abs(tanh(square(y))))", task_type="regression")
        >>> found = ablation(loss, typical_predictions("regression", 1))
        >>> [part.text for part in found.parts if part.idle][:2], found.shortest
        (['abs(tanh(y²))', 'tanh(y²)'], '(y - f)²')
    """
    if loss.task_type != "regression":
        loss = loss.at_classes(predictions.outputs.shape[1])
    whole = (loss.expression, tuple(loss.coefficients))
    base = response(loss, *predictions).gradients
    parts = []
    for node in range(1, min(loss.expression.size, MOST)):
        subtree = loss.expression.at(node)
        if subtree.children or TERMINALS[subtree.symbol].constant is None:
            own = whole[1][node : node + subtree.edges]
            parts.append(
                Subtree(node, to_formula(subtree, own, digits=3), _change(loss, whole, node, predictions, base))
            )
    short = _shortened(loss, whole, predictions, base) if loss.expression.size <= MOST else whole
    left = loss if short == whole else _with(loss, short)
    change = 0.0 if left is loss else distance(base, response(left, *predictions).gradients)
    return Ablation(tuple(parts), left.formula(digits=3), short[0].size, loss.expression.size, change)


def _change(loss: SymbolicLoss, cut: Cut, node: int, predictions: OutputsAndTargets, base: Tensor) -> float | None:
    try:
        other = _with(loss, _without(cut, node, _leaves(loss, predictions)))
    except EvomalError:  # without y or f it is no loss
        return None
    return distance(base, response(other, *predictions).gradients)


def _shortened(loss: SymbolicLoss, whole: Cut, predictions: OutputsAndTargets, base: Tensor) -> Cut:
    """The formula without what nothing depends on, apart from scale; large parts go first."""
    leaves, cut, before = _leaves(loss, predictions), whole, None
    while cut != before:
        before, node = cut, 0
        while node < cut[0].size:
            tried = next(_working(loss, _shorter(cut, node, leaves), predictions, base), None)
            cut, node = (cut, node + 1) if tried is None else (tried, node)
    return cut


def _working(loss: SymbolicLoss, tries: Iterator[Cut], predictions: OutputsAndTargets, base: Tensor) -> Iterator[Cut]:
    """Those of the formulas that do what the whole one does."""
    for tried in tries:
        try:
            other = _with(loss, tried)
        except EvomalError:  # without y or f it is no loss
            continue
        if distance(base, response(other, *predictions).gradients) < NOTHING:
            yield tried


def _shorter(cut: Cut, node: int, leaves: Leaves) -> Iterator[Cut]:
    """A formula with a constant, or one of its own arguments, in the place of a subtree."""
    subtree = cut[0].at(node)
    if node and subtree.children:
        yield _without(cut, node, leaves)
    place = node + 1
    for child in subtree.children:
        yield _lifted(cut, node, place)
        place += child.size


def _lifted(cut: Cut, node: int, child: int) -> Cut:
    """A formula in which a node gives way to one of its arguments; their weights are multiplied."""
    expression, weights = cut
    argument, size = expression.at(child), expression.at(node).size
    own = weights[child : child + argument.edges]
    if node == 0:
        return argument, own
    factor = weights[node - 1] * weights[child - 1]
    kept = (*weights[: node - 1], factor, *own, *weights[node + size - 1 :])
    return expression.replace(node, argument), kept


def _without(cut: Cut, node: int, leaves: Leaves) -> Cut:
    """A formula in which a subtree is a constant: the mean of what it gives."""
    expression, weights = cut
    subtree = expression.at(node)
    below = weights[node : node + subtree.edges]
    mean = float(evaluate(subtree, weights=below, **leaves).mean())
    constant = weights[node - 1] * mean
    kept = (*weights[: node - 1], constant, *weights[node + subtree.edges :])
    return expression.replace(node, Expression("1")), kept


def _leaves(loss: SymbolicLoss, predictions: OutputsAndTargets) -> Leaves:
    f = predictions.outputs.softmax(1) if loss.task_type != "regression" else predictions.outputs
    return {"y": predictions.targets, "f": f} | {name: torch.as_tensor(v) for name, v in loss.extras(f).items()}


def _with(loss: SymbolicLoss, cut: Cut) -> SymbolicLoss:
    expression, weights = cut
    other = SymbolicLoss(
        expression,
        weights,
        task_type=loss.task_type,
        output_activation=loss.output_activation,
        scale=loss.scale,
        prior=loss.prior if "prior" in expression.extras else None,
    )
    other.progress = loss.progress
    return other
