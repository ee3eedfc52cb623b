"""Several learned losses as one program, a lane for each: formulas by depth and operator, other families by vmap."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call

from evomal.losses.array_formulas import ArrayFormulas, knows
from evomal.losses.batched import BatchedLosses, BatchingError, formed
from evomal.losses.batched_formulas import Levels
from evomal.losses.batched_handcrafted import StackedHandcrafted, stackable
from evomal.losses.criterion import Criterion, LossFunction
from evomal.losses.fused_formulas import FusedFormulas, can_fuse, in_table
from evomal.losses.learned import LearnedLoss
from evomal.losses.preparing import prepare
from evomal.losses.slopes import slope
from evomal.losses.symbolic import SymbolicLoss

MOST = 2**28  # numbers that a kernel of all formulas may write down between instructions


class StackedLoss(BatchedLosses):
    """Symbolic losses of different formulas as one program.

    Args:
        losses: The losses; their formulas may differ in everything.

    Raises:
        BatchingError: They are not alike in task type, reduction and ignored label.

    Example:
        >>> formulas = ("square(sub(y, f))", "abs(sub(y, f))")
        >>> both = StackedLoss([SymbolicLoss(text, task_type="regression") for text in formulas])
        >>> outputs = torch.tensor([[1.0, 3.0], [1.0, 3.0]])
        >>> both.values(outputs, torch.tensor([1.0, 1.0]), both.coefficients()).tolist()
        [2.0, 1.0]
    """

    def __init__(self, losses: Sequence[SymbolicLoss]) -> None:
        super().__init__(losses)
        expressions = [loss.expression for loss in losses]
        self._levels = Levels(expressions, self.device)
        fused = all(map(in_table, expressions)) and can_fuse(self.device)
        self._fused = FusedFormulas(expressions, self.device) if fused else None
        on_cpu = self.device.type == "cpu" and not fused
        self._arrays = ArrayFormulas(expressions) if on_cpu and all(map(knows, expressions)) else None
        self._take_extras(losses)
        soft = [loss.output_activation == "softplus" for loss in losses]
        self._soft = torch.tensor(soft, device=self.device) if any(soft) else None

    def per_class(self, y: Tensor, f: Tensor, phi: Tensor) -> Tensor:
        """The formulas' values, [N, B, C, ...]."""
        values = self._levels(y, f, phi, self._extras(f))
        if self._soft is None:
            return values
        soft = self._soft.reshape(-1, *[1] * (values.dim() - 1))
        return torch.where(soft, nn.functional.softplus(values), values)

    def _take_extras(self, losses: Sequence[SymbolicLoss]) -> None:
        """What the formulas look at beside y and f must be the same for all."""
        looking = [loss for loss in losses if loss.needs_prior]
        if len({loss.prior for loss in looking}) > 1:
            raise BatchingError("losses in lanes must be of one prior")
        self._of_classes = looking[0] if looking else None
        self._wanted = {name for loss in losses for name in loss.expression.extras}
        if any(loss.sees_progress for loss in losses):
            # A tensor, which a CUDA graph reads at every step.
            self._progress = torch.tensor(losses[0].progress, dtype=torch.float64, device=self.device)

    def _extras(self, f: Tensor) -> dict[str, Tensor]:
        """Values of further terminals, for predictions [N, B, C, ...]."""
        found = {name: f.new_ones(()) for name in self._wanted}
        if self._progress is not None:
            found["progress"] = self._progress.to(f.dtype)
        if self._of_classes is not None:
            found["prior"] = torch.as_tensor(self._of_classes.extras(f, dim=2)["prior"])
        return found

    def slopes(
        self, outputs: Tensor, targets: Tensor, phi: Tensor, *, create_graph: bool = False
    ) -> tuple[Tensor, Tensor]:
        """See `BatchedLosses.slopes`; of formulas of the paper by forward mode along f, on a GPU in one kernel."""
        fused = self._fused is not None and outputs.numel() * self._fused.slots <= MOST
        if self._arrays is None and not fused:
            return super().slopes(outputs, targets, phi, create_graph=create_graph)
        with torch.autocast(outputs.device.type, enabled=False), torch.set_grad_enabled(create_graph):
            _, y, kept = prepare(outputs[0].detach(), targets, self.task_type, self.ignore_index)
            shared = len(outputs) > 1 and outputs.stride(0) == 0
            logits = formed(outputs[:1].detach() if shared else outputs.detach(), self.task_type)
            f = logits
            if self.task_type != "regression":
                f = _softmax(self.losses[0].shifted(logits, dim=2))
            f = f.expand(self.lanes, *f.shape[1:]) if shared else f
            values, slope = self._activated(*self._dual(y, f, phi))
            totals, slope = self._reduced(values.detach(), slope, kept)
            if self.task_type != "regression":
                slope = f * (slope - (f * slope).sum(2, keepdim=True))
                one = outputs.dim() == 2 or outputs.shape[2] == 1 or self.task_type == "multilabel"
                slope = slope[:, :, 1:] if one else slope  # one logit is two
            return totals, slope.reshape(outputs.shape).to(outputs.dtype)

    def _dual(self, y: Tensor, f: Tensor, phi: Tensor) -> tuple[Tensor, Tensor]:
        """The formulas' values and their derivative along f."""
        if self._arrays is not None:
            return self._arrays(y, f, phi, self._extras(f))
        assert self._fused is not None
        return self._fused(y, f, phi)

    def _activated(self, values: Tensor, slope: Tensor) -> tuple[Tensor, Tensor]:
        """Values and their derivative along f after output activation and scale."""
        shape = (-1, *[1] * (values.dim() - 1))
        if self._soft is not None:
            soft = self._soft.reshape(shape)
            slope = torch.where(soft, slope * values.sigmoid(), slope)
            values = torch.where(soft, nn.functional.softplus(values), values)
        if self._scales is not None:
            scales = self._scales.to(values.dtype).reshape(shape)
            values, slope = values * scales, slope * scales
        return values, slope

    def _reduced(self, values: Tensor, slope: Tensor, kept: Tensor | None) -> tuple[Tensor, Tensor]:
        """The losses [N] from values [N, B, C, ...], and what slopes of that shape count in them."""
        count: Tensor | int = 1
        if kept is not None:
            values, slope = (torch.where(kept.unsqueeze(1), each, 0.0) for each in (values, slope))
        if self.reduction == "mean":
            count = values[0, :, 0].numel() if kept is None else kept.sum()
        return values.flatten(1).sum(1) / count, slope / count


def _softmax(logits: Tensor) -> Tensor:
    """The softmax over dimension 2 of logits [N, B, C, ...]; on a CPU the last dimension is the slow one."""
    if logits.dim() > 3 or logits.device.type != "cpu":
        return torch.softmax(logits, dim=2)
    return torch.softmax(logits.transpose(1, 2).contiguous(), dim=1).transpose(1, 2).contiguous()


class StackedFamily(BatchedLosses):
    """Losses of one family that differ in their coefficients alone, by `torch.func.vmap` over these.

    Args:
        losses: Polynomials, or networks of one size.

    Raises:
        BatchingError: They are not alike.

    Example:
        >>> from evomal.losses import TaylorLoss
        >>> both = StackedFamily([TaylorLoss([0, 0, k, 0, 0, 0, 0, 0], task_type="regression") for k in (1.0, 2.0)])
        >>> both.values(torch.tensor([[3.0], [3.0]]), torch.tensor([1.0]), both.coefficients()).tolist()
        [3.0, 6.0]
    """

    def __init__(self, losses: Sequence[LearnedLoss]) -> None:
        super().__init__(losses)
        shapes = [[(name, p.shape) for name, p in loss.named_parameters()] for loss in losses]
        if len({type(loss) for loss in losses}) != 1 or any(other != shapes[0] for other in shapes):
            raise BatchingError("losses in lanes must be of one family and size")
        if any(loss.sees_progress for loss in losses):
            raise BatchingError("a loss of its own kind may look at the progress of a training in ways of its own")
        self._module = _PerClass(losses[0])
        self._names = [f"loss.{name}" for name, _ in shapes[0]]
        self._shapes = [shape for _, shape in shapes[0]]

    def per_class(self, y: Tensor, f: Tensor, phi: Tensor) -> Tensor:
        """The values of `LearnedLoss.per_class` at each lane's coefficients."""

        def one(row: Tensor, predictions: Tensor) -> Tensor:
            parts = row.split([shape.numel() for shape in self._shapes])
            shaped = (part.reshape(shape) for part, shape in zip(parts, self._shapes, strict=True))
            values: Tensor = functional_call(
                self._module, dict(zip(self._names, shaped, strict=True)), (y, predictions)
            )
            return values

        return torch.vmap(one)(phi, f)


class MixedLosses:
    """Losses of any kind in lanes, for training alone: formulas as one program, handcrafted ones as another.

    All others are computed one after the other.

    Args:
        losses: Learned losses, handcrafted ones, functions; at least one.

    Attributes:
        lanes: How many there are.

    Raises:
        BatchingError: A loss that is no formula looks at the progress of a training; or formulas are not alike.

    Example:
        >>> mixed = MixedLosses([nn.functional.mse_loss, SymbolicLoss("square(sub(y, f))", task_type="regression")])
        >>> values, slopes = mixed.slopes(torch.tensor([[3.0], [3.0]]), torch.tensor([1.0]), mixed.coefficients())
        >>> values.tolist(), slopes.tolist()
        ([4.0, 4.0], [[4.0], [4.0]])
    """

    def __init__(self, losses: Sequence[LossFunction]) -> None:
        self.lanes = len(losses)
        formulas = {lane: loss for lane, loss in enumerate(losses) if type(loss) is SymbolicLoss}
        known = {lane: loss for lane, loss in enumerate(losses) if stackable(loss)}
        self._others = {lane: loss for lane, loss in enumerate(losses) if lane not in formulas and lane not in known}
        if any(isinstance(loss, Criterion) and loss.sees_progress for loss in self._others.values()):
            raise BatchingError("a loss of its own kind may look at the progress of a training in ways of its own")
        self._formulas = StackedLoss(list(formulas.values())) if formulas else None
        self._known = StackedHandcrafted(list(known.values())) if known else None
        self._of_formulas, self._of_known = torch.tensor(list(formulas)), torch.tensor(list(known))

    def coefficients(self) -> Tensor:
        """φ of the formulas, as `BatchedLosses.coefficients`."""
        return torch.zeros(0) if self._formulas is None else self._formulas.coefficients()

    def set_progress(self, share: float) -> None:
        """Say what share of a training's steps is done."""
        if self._formulas is not None:
            self._formulas.set_progress(share)

    def slopes(self, outputs: Tensor, targets: Tensor, phi: Tensor) -> tuple[Tensor, Tensor]:
        """Values [N] and slopes of the outputs' shape, as `BatchedLosses.slopes`."""
        outputs = outputs.detach()
        values, slopes = outputs.new_zeros(self.lanes), torch.zeros_like(outputs)

        def put(lanes: Tensor | int, own: tuple[Tensor, Tensor]) -> None:
            values[lanes], slopes[lanes] = own[0].to(values.dtype), own[1]

        if self._formulas is not None:
            own = outputs.index_select(0, self._of_formulas)
            put(self._of_formulas, self._formulas.slopes(own, targets, phi))
        if self._known is not None:
            put(self._of_known, self._known.slopes(outputs.index_select(0, self._of_known), targets))
        for lane, loss in self._others.items():
            with torch.enable_grad():
                put(lane, slope(loss, outputs[lane], targets))
        return values, slopes


class _PerClass(nn.Module):
    """A loss whose forward is `per_class`, as `functional_call` calls nothing else."""

    def __init__(self, loss: LearnedLoss) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, y: Tensor, f: Tensor) -> Tensor:
        return self.loss.per_class(y, f)


def stack(losses: Sequence[LearnedLoss]) -> BatchedLosses:
    """Learned losses as one program.

    Args:
        losses: At least one; either all symbolic, or of one family and size.

    Returns:
        The program.

    Raises:
        BatchingError: They cannot be one.
    """
    if all(type(loss) is SymbolicLoss for loss in losses):
        return StackedLoss([loss for loss in losses if isinstance(loss, SymbolicLoss)])
    return StackedFamily(losses)
