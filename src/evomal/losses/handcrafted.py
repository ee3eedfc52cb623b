"""Handcrafted losses: those that people use by habit or by hope, by name, with one contract for shapes."""

from collections.abc import Sequence
from contextlib import suppress
from os import PathLike
from typing import Any, ClassVar, Self

import torch
from torch import Tensor
from torch.nn import functional

from evomal.foundation.errors import DataError, SettingError, unknown_name
from evomal.losses.arguments import call_arguments
from evomal.losses.class_shares import class_numbers
from evomal.losses.criterion import IGNORED, Criterion, LossFunction, Reduction
from evomal.losses.files import brief, write_document
from evomal.losses.handcrafted_table import HANDCRAFTED, full_name
from evomal.losses.preparing import prepare, shaped_weight

NO_LABEL = -(2**63)  # no label ever; PyTorch's function always ignores one


class HandcraftedLoss(Criterion):
    r"""A loss that people wrote, by name; with p the softmax of the logits z and y one-hot or soft labels.

    - ``cross_entropy``, ``mse``, ``mae``, ``huber`` (δ = 1): PyTorch's. The mean of the last three is over outputs
      too, their sum is over everything, and ``"none"`` keeps a value for each of several outputs.
    - ``label_smoothed_cross_entropy``: PyTorch's, with ε = 0.1.
    - ``class_weighted_cross_entropy``: :math:`-\sum_c w_c\,y_c\log p_c` with w inverse to the class's frequency and of
      mean 1 over training instances (scikit-learn's "balanced"). The mean is that over the batch, as everywhere here;
      PyTorch's divides by the batch's own weights instead.
    - ``logit_adjusted_cross_entropy``: cross-entropy on :math:`z_c + \tau\log\pi_c`, π the class's frequency, τ = 1.
    - ``focal``: :math:`-\sum_c y_c(1 - p_c)^\gamma\log p_c`, γ = 2.
    - ``generalised_cross_entropy``: :math:`\sum_c y_c(1 - p_c^q)/q`, q = 0.7.

    - for wrong labels ``symmetric_cross_entropy``, ``normalised_reverse_cross_entropy``, ``normalised_agce``,
      ``normalised_aul``, ``normalised_ael``, ``noise_corrected_cross_entropy``, ``taylor_cross_entropy``,
      ``bi_tempered_logistic``; for rare classes ``balanced_softmax``, ``vector_scaling``, ``ldam``,
      ``class_balanced_cross_entropy``; for uneven costs ``cost_weighted_cross_entropy``, ``quantile``; beside them
      ``poly1_cross_entropy``: formulas and papers stand in `evomal.losses.handcrafted_formulas`.
    - for several labels at once (task type ``"multilabel"``) ``binary_cross_entropy``, ``binary_focal`` and
      ``asymmetric``; their means are over labels too.
    - for heavy-tailed targets ``cauchy``, ``welsch``, ``tukey``, ``log_cosh``, ``general_robust``, and
      ``relative_error``: in `evomal.losses.handcrafted_formulas`; their constants are in the targets' units.

    Where a loss is defined for single labels, soft labels give the expectation over them; only of the margins of
    ``ldam`` each label's share is taken. A logit of -inf takes a class out of the softmax; that costs nothing where it
    is no target, except in label smoothing, as in PyTorch.

    Args:
        name: A name in `HANDCRAFTED`, parameters in brackets where they are not the default: ``focal(gamma=3)``.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.
        ignore_index: Class label that does not count; None saves the look.
        class_counts: The number of training labels of each class, [C]; only losses whose entry in `HANDCRAFTED` says
            ``needs_class_counts`` look at it. A class without labels counts as if it had one.

    Attributes:
        class_counts: A buffer, int64 [C]; None where the loss needs none.
        info: Where the loss was chosen, and why; saved with it.

    Raises:
        UnknownNameError: There is no such loss.
        SettingError: It needs class counts, and they are missing or odd.

    Example:
        >>> HandcraftedLoss("mse")(torch.tensor([1.0, 3.0]), torch.tensor([1.0, 1.0]))
        tensor(2.)
        >>> rare = HandcraftedLoss("class_weighted_cross_entropy", class_counts=[30, 10])
        >>> rare(torch.zeros(1, 2), torch.tensor([1])) / HandcraftedLoss("cross_entropy")(
        ...     torch.zeros(1, 2), torch.tensor([1])
        ... )
        tensor(2.)

    Source:
        Menon et al., "Long-tail learning via logit adjustment", 2021; Lin et al., "Focal Loss for Dense Object
        Detection", 2017; Zhang and Sabuncu, "Generalized Cross Entropy Loss for Training Deep Neural Networks with
        Noisy Labels", 2018.
    """

    family: ClassVar[str] = "handcrafted"
    """What a loss file calls this kind of loss."""
    class_counts: Tensor | None

    def __init__(
        self,
        name: str,
        reduction: Reduction = "mean",
        ignore_index: int | None = IGNORED,
        class_counts: Sequence[int] | Tensor | None = None,
    ) -> None:
        if name not in HANDCRAFTED:
            raise unknown_name("loss", name, HANDCRAFTED)
        super().__init__(HANDCRAFTED[name].task_type, reduction, ignore_index)
        self.name = full_name(name)
        self.info: dict[str, Any] = {}
        counts = _checked_counts(name, class_counts) if HANDCRAFTED[name].needs_class_counts else None
        self.register_buffer("class_counts", counts)

    def forward(
        self,
        outputs: Tensor | None = None,
        targets: Tensor | None = None,
        sample_weight: Tensor | None = None,
        *,
        input: Tensor | None = None,
        target: Tensor | None = None,
    ) -> Tensor:
        """The loss of a batch; the usual case goes straight to PyTorch's fused kernel.

        Args:
            outputs: As `Criterion.forward` takes them.
            targets: As `Criterion.forward` takes them.
            sample_weight: Optional weights [B] or [B, ...] of instances.
            input: PyTorch's name for `outputs`.
            target: PyTorch's name for `targets`.

        Returns:
            A 0-dim tensor; for ``reduction="none"`` [B, ...], and in regression with several outputs their shape.

        Raises:
            DataError: Something is no tensor of such numbers, shapes do not fit, or a label has no class.
        """
        outputs, targets, sample_weight = call_arguments(outputs, targets, sample_weight, input, target)
        per_output = HANDCRAFTED[self.name].per_output
        if self._overridden or targets.dim() == 0:
            return super().forward(outputs, targets, sample_weight)
        if per_output is not None and self.reduction != "mean":
            return self._of_outputs(per_output, outputs, targets, sample_weight)
        usual = (
            self.name == "cross_entropy"
            and sample_weight is None
            and outputs.dim() > 1
            and outputs.shape[1] > 1
            and targets.dtype == torch.int64
            and targets.shape == outputs.shape[:1] + outputs.shape[2:]
            and outputs.dtype in (torch.float32, torch.float64)
        )
        if usual:
            ignored = NO_LABEL if self.ignore_index is None else self.ignore_index
            # A label without a class goes on to where it is named.
            with suppress(IndexError):
                return functional.cross_entropy(outputs, targets, ignore_index=ignored, reduction=self.reduction)
        return super().forward(outputs, targets, sample_weight)

    @property
    def _overridden(self) -> bool:
        """Whether somebody put other values, or another reduction, in place of those that shortcuts know."""
        # By the class and the instance's own entries: torch.compile cannot look into a bound method.
        return any(
            name in self.__dict__ or getattr(type(self), name) is not getattr(HandcraftedLoss, name)
            for name in ("per_instance", "reduce")
        )

    def _of_outputs(
        self, per_output: LossFunction, outputs: Tensor, targets: Tensor, sample_weight: Tensor | None
    ) -> Tensor:
        """Sum, or no reduction, of what PyTorch gives for each output."""
        with torch.autocast(outputs.device.type, enabled=False):
            f, y, _ = prepare(outputs, targets, self.task_type, self.ignore_index)
            values = per_output(f, y)
            if sample_weight is not None:
                weight = shaped_weight(sample_weight, values[:, 0]).unsqueeze(1)
                values = torch.where(weight != 0, values, 0.0) * weight
            if self.reduction == "sum":
                return values.sum()
            return values.squeeze(1) if values.shape[1] == 1 else values

    def per_instance(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The loss of each instance, [B, ...]; in regression the mean over its outputs."""
        function = HANDCRAFTED[self.name].per_instance
        if self.class_counts is None:
            return function(outputs, targets)
        if len(self.class_counts) != outputs.shape[1]:
            raise DataError(
                f"class_counts of loss '{self.name}' are for {len(self.class_counts)} classes but the outputs are for "
                f"{outputs.shape[1]}; give one number for each class"
            )
        return function(outputs, targets, self.class_counts)

    def meet_classes(self, counts: Tensor | None) -> None:
        """See `Criterion.meet_classes`."""
        if self.class_counts is not None and counts is not None:
            self.class_counts = counts

    def formula(self, digits: int | None = None) -> str:
        """What the loss is called; its formula stands in its documentation."""
        return self.name

    def short(self, digits: int = 4) -> str:
        """See `LearnedLoss.short`: its name."""
        return self.formula(digits)

    def entries(self) -> dict[str, Any]:
        """What `from_entries` builds the loss again from, beside family and task type; plain values."""
        counts = {} if self.class_counts is None else {"class_counts": self.class_counts.tolist()}
        return {"name": self.name, **counts}

    def all_entries(self) -> dict[str, Any]:
        """`entries` with family and task type."""
        return {"family": self.family, "task_type": self.task_type, **self.entries()}

    def save(self, path: str | PathLike[str]) -> None:
        """Write the loss as one JSON object; see `evomal.load_loss`.

        Args:
            path: The file; one that exists is replaced, and half a file is never seen.

        Raises:
            LossFileError: `info` holds what JSON cannot, such as NaN; nothing is written.
        """
        write_document(self.all_entries(), self.info, path)

    @classmethod
    def from_entries(cls, entries: dict[str, Any]) -> Self:
        """The loss that `save` wrote, from the entries of its file; those it does not know become `info`.

        Raises:
            SettingError: An entry is missing or of the wrong kind, or they contradict one another.

        Example:
            >>> HandcraftedLoss.from_entries({"name": "focal", "task_type": "classification", "seed": 3}).info
            {'seed': 3}
        """
        info = dict(entries)
        name, task_type = info.pop("name", None), info.pop("task_type", None)
        if not isinstance(name, str):
            raise SettingError("it needs the name of a handcrafted loss (text); write it anew")
        loss = cls(name, class_counts=info.pop("class_counts", None))
        if task_type != loss.task_type:
            raise SettingError(f"loss '{name}' is for {loss.task_type}, not {brief(repr(task_type))}; write it anew")
        loss.info = info
        return loss

    def extra_repr(self) -> str:
        """The name."""
        return repr(self.name)


def get_handcrafted(
    name: str,
    reduction: Reduction = "mean",
    ignore_index: int | None = IGNORED,
    class_counts: Sequence[int] | Tensor | None = None,
) -> HandcraftedLoss:
    """The handcrafted loss of that name; see `HandcraftedLoss`."""
    return HandcraftedLoss(name, reduction, ignore_index, class_counts)


def _checked_counts(name: str, counts: Sequence[int] | Tensor | None) -> Tensor:
    if counts is None:
        raise SettingError(
            f"loss '{name}' depends on how often each class occurs; give class_counts, the number of training labels "
            "of each class"
        )
    return class_numbers(counts, f"loss '{name}'")
