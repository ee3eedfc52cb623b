"""What every loss shares: the contract of a PyTorch criterion, from raw outputs to one number."""

from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn
from torch.nn.modules.module import _has_any_global_hook as _has_global_hooks

from evomal.foundation.errors import DataError, SettingError
from evomal.foundation.later_rooms import carried_out
from evomal.losses.checks import call_arguments, checked_label, first_place

TaskType = Literal["classification", "regression", "multilabel"]
TASK_TYPES: tuple[str, ...] = get_args(TaskType)
Reduction = Literal["none", "mean", "sum"]
LossFunction = Callable[[Tensor, Tensor], Tensor]
"""What every loss is called as: ``(outputs, targets) -> scalar``."""

STAGES = (0.0, 0.5, 1.0)
"""Progress at which losses are compared, where one of them changes over a training."""

SOFT_SUM = 0.01
"""By how much soft labels may miss a sum of 1: they may have been computed in half precision."""
IGNORED = -100
"""PyTorch's label for "does not count"."""


class Prepared(NamedTuple):
    """Outputs and targets brought to one form."""

    outputs: Tensor  # [B, C, ...] logits, or [B, K, ...] values
    targets: Tensor  # the same shape: one-hot or soft labels, or values
    kept: Tensor | None  # [B, ...] False where the label is ignored; None where nothing can be


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

    def plot(self, what: str = "loss", classes: int = 10, ax: Any = None) -> Any:
        """A figure of what the loss does, beside cross-entropy or squared error.

        Args:
            what: ``"loss"`` or ``"gradient"``: against the probability of the true class, or against the residual.
            classes: How many classes there are, for a loss for classification.
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
            raise _misfit("regression needs equal shapes", outputs, target)
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


def untouched(module: nn.Module, nested: bool = False) -> bool:
    """Whether a module computes what its class says: no hook, no method replaced, no parameter made anew or hooked.

    Args:
        module: The module; what it holds is not looked at.
        nested: Whether it may hold others.

    Example:
        >>> layer = nn.Linear(1, 1)
        >>> before, layer.forward = untouched(layer), torch.neg
        >>> before, untouched(layer)
        (True, False)
    """
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    if _has_global_hooks() or any(getattr(module, name) for name in hooks):
        return False
    if any(callable(value) and hasattr(type(module), name) for name, value in module.__dict__.items()):
        return False
    own = [parameter for parameter in module._parameters.values() if parameter is not None]
    alone = nested or not module._modules
    return alone and all(type(p) is nn.Parameter and not p._backward_hooks for p in own)


def full_precision(outputs: Tensor) -> Tensor:
    """Outputs in float32 where they are of half precision, as under autocast; else as they are."""
    return outputs.float() if outputs.dtype in (torch.float16, torch.bfloat16) else outputs


def prepare(outputs: Tensor, targets: Tensor, task_type: TaskType, ignore_index: int | None) -> Prepared:
    """Outputs and targets in one form, whatever of the accepted shapes and types they came in."""
    if outputs.dim() == 0 or targets.dim() == 0:
        raise _misfit("both need a batch dimension, or neither has one", outputs, targets)
    outputs = full_precision(outputs)
    if task_type == "regression":
        return Prepared(*_regression(outputs, targets), None)
    if task_type == "multilabel":
        if targets.shape != outputs.shape:
            raise _misfit("several labels need targets in the outputs' shape", outputs, targets)
        if outputs.dim() == 1:
            outputs, targets = outputs.unsqueeze(1), targets.unsqueeze(1)
        # Each label is a class of its own beside its absence: two probabilities of one logit, in a further dimension.
        return _one_logit(outputs.unsqueeze(1), targets.unsqueeze(1), ignore_index)
    if outputs.dim() == 1 or outputs.shape[1] == 1:
        return _one_logit(outputs, targets, ignore_index)
    if targets.is_floating_point():
        if targets.shape != outputs.shape:
            raise _misfit("soft labels must have the outputs' shape", outputs, targets)
        if _can_look(targets):
            _require_distributions(targets)
        return Prepared(outputs, targets.to(outputs.dtype), None)
    if targets.shape != outputs.shape[:1] + outputs.shape[2:]:
        raise _misfit("class labels must have the outputs' shape without dimension 1", outputs, targets)
    return _labelled(outputs, targets, ignore_index)


def _regression(outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    f = outputs.unsqueeze(1) if outputs.dim() == 1 else outputs
    y = targets.unsqueeze(1) if targets.dim() == 1 else targets
    if f.shape != y.shape:
        raise _misfit("regression needs equal shapes, where [B] means [B, 1]", outputs, targets)
    return f, y.to(f.dtype)


def _one_logit(outputs: Tensor, targets: Tensor, ignore_index: int | None) -> Prepared:
    """One logit z stands for the probabilities [1-σ(z), σ(z)], the softmax of [0, z] (D2)."""
    z = outputs.unsqueeze(1) if outputs.dim() == 1 else outputs
    t = targets if targets.dim() == z.dim() else targets.unsqueeze(1)
    if t.shape != z.shape:
        raise _misfit("one output needs one target for each", outputs, targets)
    logits = torch.cat([torch.zeros_like(z), z], dim=1)
    if not t.is_floating_point():
        return _labelled(logits, t.squeeze(1), ignore_index)
    if _can_look(t):
        _require_probabilities(t)
    t = t.to(z.dtype)
    return Prepared(logits, torch.cat([1 - t, t], dim=1), None)


def _can_look(targets: Tensor) -> bool:
    """Whether the values of targets can be looked at without waiting for a device, or stopping a trace."""
    if targets.device.type != "cpu" or torch.compiler.is_compiling() or torch._C._get_tracing_state() is not None:
        return False
    return targets.numel() > 0 and not torch._C._functorch.is_functorch_wrapped_tensor(targets)


def _require_probabilities(targets: Tensor) -> None:
    odd = ~((targets >= 0) & (targets <= 1))
    if bool(odd.any()):
        raise DataError(
            f"targets hold {float(targets[odd][0]):g} ({first_place(odd)}), but a yes-or-no answer is 0, 1 or a "
            "probability between them; mend the targets, or give a loss for regression"
        )


def _require_distributions(targets: Tensor) -> None:
    _require_probabilities(targets)
    sums = targets.sum(1)
    odd = (sums - 1).abs() > SOFT_SUM
    if bool(odd.any()):
        raise DataError(
            f"soft labels sum to {float(sums[odd][0]):g} ({first_place(odd)}) over the classes, not to 1; give shares "
            "of one label, or for several labels at once a loss with task_type='multilabel'"
        )


def _labelled(outputs: Tensor, labels: Tensor, ignore_index: int | None) -> Prepared:
    labels = labels.long()  # first, as bytes hold no -100: they would compare with 156
    kept = None if ignore_index is None else labels != ignore_index
    return Prepared(outputs, _one_hot(labels, outputs, kept), kept)


def _one_hot(labels: Tensor, outputs: Tensor, kept: Tensor | None) -> Tensor:
    """Labels as one 1 among zeros; all zeros where they are ignored, so that no class counts, not even a masked one."""
    empty = torch.zeros_like(outputs)
    try:
        if kept is None:
            return empty.scatter_(1, labels.unsqueeze(1), 1.0)
        labels = torch.where(kept, labels, 0)
        return empty.scatter_(1, labels.unsqueeze(1), kept.to(outputs.dtype).unsqueeze(1))
    except (RuntimeError, IndexError) as error:
        classes = outputs.shape[1]
        odd = (labels < 0) | (labels >= classes)
        if not bool(odd.any()):
            raise DataError(f"class labels {list(labels.shape)} cannot be read ({error}); give integers") from None
        low, high, label = int(labels.min()), int(labels.max()), int(labels[odd][0])
        raise DataError(
            f"targets hold labels from {low} to {high} (label {label} first {first_place(odd)}) but the outputs are "
            f"for {classes} classes; labels must lie in 0…{classes - 1}: mend them, or set the loss's ignore_index to "
            "a label that does not count"
        ) from None


def shaped_weight(weight: Tensor, values: Tensor) -> Tensor:
    """Weights of instances in the shape of their values [B, ...].

    Raises:
        DataError: They have another shape.
    """
    if weight.shape != values.shape and weight.shape != values.shape[:1]:
        fitting = " or ".join(str(list(shape)) for shape in dict.fromkeys((values.shape[:1], values.shape)))
        raise DataError(f"sample_weight has shape {list(weight.shape)}; give {fitting}")
    weight = weight.to(values.dtype)
    return weight.reshape(-1, *[1] * (values.dim() - 1)).expand_as(values) if weight.dim() == 1 else weight


def _misfit(rule: str, outputs: Tensor, targets: Tensor) -> DataError:
    return DataError(
        f"targets {list(targets.shape)} ({targets.dtype}) do not fit outputs {list(outputs.shape)}: {rule}"
    )
