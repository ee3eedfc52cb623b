"""What losses in lanes share: values, slopes and derivatives of several learned losses all at once."""

import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.autograd import grad

from evomal.losses.criterion import Reduction
from evomal.losses.learned import LearnedLoss
from evomal.losses.preparing import TaskType, full_precision, prepare
from evomal.losses.untouched import untouched


class BatchingError(RuntimeError):
    """These losses, or this model, cannot be computed in lanes; one at a time they can. Never shown to a user."""


@contextmanager
def only_batching_errors(what: str) -> Iterator[None]:
    """Within the block every error but that of a full memory becomes a `BatchingError`.

    Args:
        what: What cannot be had in lanes then; one at a time it works, or says what is wrong.
    """
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "There is a performance drop")  # torch's own gaps in vmap
            yield
    except (BatchingError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        raise BatchingError(f"{what} in lanes") from error


def finite_lanes(values: Tensor, slopes: Sequence[Tensor]) -> Tensor:
    """Which lanes' values [N] and slopes, [N, ...] each, are all finite, bool [N]."""
    total = values.detach() + torch.stack([slope.detach().flatten(1).sum(1) for slope in slopes]).sum(0)
    return total.isfinite()


def formed(outputs: Tensor, task_type: TaskType) -> Tensor:
    """Outputs [N, B, ...] as [N, B, C, ...], what `prepare` does to those of one lane."""
    outputs = full_precision(outputs)
    outputs = outputs.unsqueeze(2) if outputs.dim() == 2 else outputs
    outputs = outputs.unsqueeze(2) if task_type == "multilabel" else outputs
    if task_type != "regression" and outputs.shape[2] == 1:
        outputs = torch.cat([torch.zeros_like(outputs), outputs], dim=2)
    return outputs


def reduced(values: Tensor, kept: Tensor | None, reduction: Reduction) -> Tensor:
    """The losses [N] of values [N, B, ...], as `Criterion.reduce` makes one of [B, ...]."""
    if kept is not None:  # `where`, as what is ignored may be not finite
        values = torch.where(kept, values, 0.0)
    totals = values.flatten(1).sum(1)
    if reduction == "sum":
        return totals
    return totals / (values[0].numel() if kept is None else kept.sum())


def _by_class(kind: type[LearnedLoss]) -> bool:
    """Whether losses of a class are nothing but their values by class, and what all learned losses make of these."""
    names = ("forward", "per_instance", "reduce", "__call__")
    return all(getattr(kind, name) is getattr(LearnedLoss, name) for name in names)


class BatchedLosses(ABC):
    r"""N learned losses :math:`\mathcal{M}_{\phi_1} \dots \mathcal{M}_{\phi_N}` over one batch.

    Args:
        losses: At least one, all alike in task type, reduction (not ``"none"``), ignored label, class counts and
            device.

    Attributes:
        lanes: N.
        device: Where they live.

    Raises:
        BatchingError: They are not alike.
    """

    def __init__(self, losses: Sequence[LearnedLoss]) -> None:
        if len({(loss.task_type, loss.reduction, loss.ignore_index, loss.class_counts) for loss in losses}) != 1:
            raise BatchingError("losses in lanes must be alike in task type, reduction, ignored label and class counts")
        if not all(untouched(loss) and _by_class(type(loss)) for loss in losses):
            raise BatchingError("a loss is not computed class by class")
        if losses[0].reduction == "none":
            raise BatchingError("a loss without reduction has no slope")
        self.losses = tuple(losses)
        self.lanes = len(losses)
        first = losses[0]
        self.task_type, self.reduction, self.ignore_index = first.task_type, first.reduction, first.ignore_index
        self.device = next(first.parameters()).device
        self._progress: Tensor | None = None
        self.sizes = [sum(p.numel() for p in loss.parameters()) for loss in losses]
        scales = [loss.scale for loss in losses]
        self._scales = None if set(scales) == {1.0} else torch.tensor(scales, dtype=torch.float64, device=self.device)

    @property
    def sees_progress(self) -> bool:
        """Whether any of the losses looks at the progress of a training."""
        return self._progress is not None

    def set_progress(self, share: float) -> None:
        """Say what share of a training's steps is done, as for a single loss; without a look at the device."""
        if self._progress is not None:
            self._progress.fill_(share)

    @abstractmethod
    def per_class(self, y: Tensor, f: Tensor, phi: Tensor) -> Tensor:
        """What `LearnedLoss.per_class` gives, for all lanes.

        Args:
            y: Targets [B, C, ...], of all lanes.
            f: Predictions [N, B, C, ...].
            phi: Coefficients [N, E].

        Returns:
            [N, B, C, ...].
        """

    def coefficients(self) -> Tensor:
        """φ of every loss, [N, E], padded with zeros; a copy outside any graph."""
        rows = [torch.cat([p.detach().reshape(-1) for p in loss.parameters()]) for loss in self.losses]
        return nn.utils.rnn.pad_sequence(rows, batch_first=True)

    def write(self, phi: Tensor) -> None:
        """Give every loss its φ from [N, E]."""
        with torch.no_grad():
            for loss, row, size in zip(self.losses, phi.detach(), self.sizes, strict=True):
                parameters = list(loss.parameters())
                parts = row[:size].split([p.numel() for p in parameters])
                for parameter, part in zip(parameters, parts, strict=True):
                    parameter.copy_(part.reshape(parameter.shape))

    def values(self, outputs: Tensor, targets: Tensor, phi: Tensor) -> Tensor:
        """The losses of a batch, as `Criterion.forward` reduces them.

        Args:
            outputs: Of a model per lane, [N, B, ...].
            targets: Of all lanes, as a single loss takes them.
            phi: Coefficients [N, E].

        Returns:
            [N], with a graph to whatever has one.

        Raises:
            DataError: Shapes do not fit, or a label has no class.
        """
        with torch.autocast(outputs.device.type, enabled=False):
            _, y, kept = prepare(outputs[0].detach(), targets, self.task_type, self.ignore_index)
            f = formed(outputs, self.task_type)
            f = torch.softmax(self.losses[0].shifted(f, dim=2), dim=2) if self.task_type != "regression" else f
            values = self.per_class(y, f, phi).sum(dim=2)
            if self._scales is not None:
                values = values * self._scales.to(values.dtype).reshape(-1, *[1] * (values.dim() - 1))
            return reduced(values, kept, self.reduction)

    def slopes(
        self, outputs: Tensor, targets: Tensor, phi: Tensor, *, create_graph: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Values and slopes ∂M/∂outputs of all lanes.

        Args:
            outputs: [N, B, ...]; whatever graph they have is left alone.
            targets: Of all lanes.
            phi: Coefficients [N, E].
            create_graph: Let the slopes have a graph to φ, through the formulas only.

        Returns:
            Values [N] outside any graph, and slopes of the outputs' shape.
        """
        with torch.enable_grad():
            leaf = outputs.detach().requires_grad_()
            values = self.values(leaf, targets, phi)
            if not values.requires_grad:  # every f stands below a sign
                return values, torch.zeros_like(leaf)
            # Lanes are independent, so the gradient of their sum is that of each.
            (slope,) = grad(values.sum(), leaf, create_graph=create_graph, materialize_grads=True)
        return values.detach(), slope

    @staticmethod
    def slope_gradients(slopes: Tensor, directions: Tensor, phi: Tensor) -> Tensor:
        r"""How the slopes along directions change with the coefficients.

        :math:`\frac{\partial}{\partial\phi}\big\langle\frac{\partial\mathcal{M}_\phi}{\partial f}, u\big\rangle`
        of every lane, by one backward pass over the formulas' own gradient.

        Args:
            slopes: From `slopes` with ``create_graph=True``.
            directions: u, of the same shape.
            phi: What the slopes were computed with.

        Returns:
            [N, E].
        """
        if not slopes.requires_grad:
            return torch.zeros_like(phi)
        (gradient,) = grad((slopes * directions).sum(), phi, materialize_grads=True)
        return gradient
