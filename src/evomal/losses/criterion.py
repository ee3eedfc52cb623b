"""What every loss shares: the contract of a PyTorch criterion, from raw outputs to one number."""

from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import Tensor, nn

from evomal.foundation.errors import SettingError
from evomal.foundation.later_rooms import carried_out
from evomal.losses.arguments import call_arguments
from evomal.losses.checks import checked_label
from evomal.losses.preparing import TASK_TYPES, TaskType, misfit, prepare, shaped_weight

Reduction = Literal["none", "mean", "sum"]
LossFunction = Callable[[Tensor, Tensor], Tensor]
"""What every loss is called as: ``(outputs, targets) -> scalar``."""

STAGES = (0.0, 0.5, 1.0)
"""Progress at which losses are compared, where one of them changes over a training."""

IGNORED = -100
"""PyTorch's label for "does not count"."""


class Criterion(nn.Module):
    """A loss that is used as PyTorch's are: ``criterion(outputs, targets) -> scalar``.

    Values are summed over classes (or outputs) and averaged over the batch and all further dimensions (D2). Under
    autocast, and for half-precision outputs, the loss computes in float32. PyTorch's names of the arguments, ``input``
    and ``target``, are taken too.

    Args:
        task_type: ``"classification"`` (outputs are logits), ``"regression"``, or ``"multilabel"`` (a logit for each of
            several labels, any of which may be true).
        reduction: ``"mean"``, ``"sum"`` or ``"none"``, as in PyTorch.
        ignore_index: Class label that does not count; None saves the look.

    Raises:
        SettingError: A setting is not one of the above.
    """

    def __init__(self, task_type: TaskType, reduction: Reduction = "mean", ignore_index: int | None = IGNORED) -> None:
        super().__init__()
        if task_type not in TASK_TYPES:
            raise SettingError(f"task_type is {task_type!r}; use 'classification', 'regression' or 'multilabel'")
        self.task_type: TaskType = task_type
        self.progress = 1.0
        self.reduction = reduction
        self.ignore_index = checked_label(ignore_index)

    @property
    def reduction(self) -> Reduction:
        """How values become one number; may be set."""
        return self._reduction

    @reduction.setter
    def reduction(self, reduction: Reduction) -> None:
        if reduction not in ("none", "mean", "sum"):
            raise SettingError(f"reduction is {reduction!r}; use 'mean', 'sum' or 'none'")
        self._reduction: Reduction = reduction

    @property
    def progress(self) -> float:
        """The share of the training's steps that are done, 0 to 1; may be set before each step, 1 if it never is.

        Only losses that `sees_progress` of look at it.
        """
        return self._progress

    @progress.setter
    def progress(self, share: float) -> None:
        try:
            value = float(share)
        except (TypeError, ValueError, RuntimeError):
            value = -1.0
        if not 0 <= value <= 1:
            raise SettingError(f"progress is {share!r}; give the share of steps that are done, 0 to 1, as in k / steps")
        self._progress = value

    @property
    def sees_progress(self) -> bool:
        """Whether the loss changes over a training, by its `progress`."""
        return False

    def meet_classes(self, counts: Tensor | None) -> None:
        """Take over how often each class of a task occurs, as far as the loss looks at that.

        Args:
            counts: Training labels of each class, [C]; None where a task cannot say, and nothing changes.
        """

    def plot(self, what: str = "loss", classes: int | None = None, ax: Any = None) -> Any:
        """A figure of what the loss does, beside cross-entropy or squared error.

        Args:
            what: ``"loss"`` or ``"gradient"``: against the probability of the true class, or against the residual.
            classes: How many classes there are, in classification; None: as many as it has class counts, or 10.
            ax: Axes of matplotlib to draw on; None makes a figure.

        Returns:
            The axes.

        Raises:
            UnknownNameError: There is no such figure.
        """
        return carried_out("plot_criterion", self, what, classes, ax)

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        return str(carried_out("html_of_loss", self))

    def _repr_latex_(self) -> str | None:
        """The same in LaTeX, where the loss has a formula."""
        found: str | None = carried_out("latex_of_loss", self)
        return found

    @abstractmethod
    def per_instance(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The loss of each instance, [B, ...], from outputs and targets of one shape [B, C, ...]."""

    def forward(
        self,
        outputs: Tensor | None = None,
        targets: Tensor | None = None,
        sample_weight: Tensor | None = None,
        *,
        input: Tensor | None = None,
        target: Tensor | None = None,
    ) -> Tensor:
        """The loss of a batch.

        Args:
            outputs: Classification: logits [B, C, ...], or one logit per instance as [B] or [B, 1, ...]. Regression:
                [B], [B, K] or [B, K, ...]. Several labels: logits [B, C, ...].
            targets: Classification: class labels [B, ...] (integers), or soft labels of the outputs' shape; for one
                logit, 0/1 or probabilities in the outputs' shape. Regression: the outputs' shape; [B] means [B, 1].
                Several labels: 0 and 1 (or probabilities) in the outputs' shape; the mean is over labels too.
                A single label [] or value [] goes with outputs without a batch dimension: [C] or [].
            sample_weight: Optional weights [B] or [B, ...]; the mean becomes Σwv/Σw.
            input: PyTorch's name for `outputs`.
            target: PyTorch's name for `targets`.

        Returns:
            A 0-dim tensor, or [B, ...] for ``reduction="none"`` (0 where the label is ignored).

        Raises:
            DataError: Something is no tensor of such numbers, shapes do not fit, or a label has no class.
        """
        outputs, targets, sample_weight = call_arguments(outputs, targets, sample_weight, input, target)
        if targets.dim() == 0 and outputs.dim() < 2:
            return self._of_one(outputs, targets, sample_weight)
        with torch.autocast(outputs.device.type, enabled=False):
            prepared = prepare(outputs, targets, self.task_type, self.ignore_index)
            return self.reduce(self.per_instance(*prepared[:2]), prepared.kept, sample_weight)

    def _of_one(self, outputs: Tensor, target: Tensor, weight: Tensor | None) -> Tensor:
        """The loss of a single instance without a batch dimension, as a batch of one."""
        if outputs.dim() == 1 and self.task_type == "regression":
            raise misfit("regression needs equal shapes", outputs, target)
        batch = outputs.unsqueeze(0), target.unsqueeze(0), None if weight is None else weight.reshape(1)
        value = Criterion.forward(self, *batch)
        return value.squeeze(0) if self.reduction == "none" else value

    def reduce(self, values: Tensor, kept: Tensor | None, sample_weight: Tensor | None) -> Tensor:
        """Apply ignored labels, sample weights and the reduction to values [B, ...]."""
        weight = None if kept is None else kept.to(values.dtype)
        if sample_weight is not None:
            shaped = shaped_weight(sample_weight, values)
            weight = shaped if weight is None else weight * shaped
        if weight is not None:
            # `where`, not a product: an ignored value that is not finite must not poison the rest.
            values = torch.where(weight != 0, values, 0.0) * weight
        if self.reduction == "none":
            return values
        if self.reduction == "sum":
            return values.sum()
        return values.mean() if weight is None else values.sum() / weight.sum()


@contextmanager
def told_progress(*losses: object) -> Iterator[Callable[[float], None]]:
    """Within the block some losses can be told how far a training is; afterwards they are as they were before.

    Args:
        *losses: Any; those that are none of ours, or do not look at the progress, are left alone.

    Yields:
        A function of the share of steps that are done.
    """
    looking = [loss for loss in losses if isinstance(loss, Criterion) and loss.sees_progress]
    before = [loss.progress for loss in looking]

    def tell(share: float) -> None:
        for loss in looking:
            loss.progress = share

    try:
        yield tell
    finally:
        for loss, share in zip(looking, before, strict=True):
            loss.progress = share
