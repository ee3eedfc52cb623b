"""What learned losses share, whatever they are made of: coefficients, a scale, a past, and a file."""

from abc import abstractmethod
from collections.abc import Sequence
from copy import deepcopy
from os import PathLike
from typing import Any, ClassVar, Self

import torch
from torch import Tensor
from torch.nn import functional

from evomal.foundation.errors import DataError, SettingError
from evomal.losses.checks import finite_numbers
from evomal.losses.class_shares import class_numbers, class_shares
from evomal.losses.criterion import IGNORED, Criterion, Reduction
from evomal.losses.files import described, read_state, write_document, written_state
from evomal.losses.preparing import TaskType

MOST_SCALE = 1e30  # of float32, with room for values


class LearnedLoss(Criterion):
    r"""A loss :math:`\mathcal{M}_\phi` with coefficients φ, taken per class (or output) and summed.

    :math:`\mathcal{M}_\phi = \frac{s}{B}\sum_b\sum_c m_\phi(y_{bc}, f_{bc})` with f the softmax of the logits and y
    one-hot in classification, raw values in regression (D2), and s the scale, 1 unless it was controlled.

    Args:
        task_type: ``"classification"``, ``"regression"`` or ``"multilabel"``.
        scale: What every value is multiplied by, above zero; no coefficient, never tuned.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.
        ignore_index: Class label that does not count; None saves the look.

    Attributes:
        info: Where the loss came from and what it was tuned for; saved with it.

    Raises:
        SettingError: A setting is odd.
    """

    family: ClassVar[str]
    """What a loss file calls this kind of loss."""
    _log_prior: Tensor | None

    def __init__(
        self,
        task_type: TaskType,
        scale: float = 1.0,
        reduction: Reduction = "mean",
        ignore_index: int | None = IGNORED,
    ) -> None:
        super().__init__(task_type, reduction, ignore_index)
        self.scale = scale
        self.info: dict[str, Any] = {}
        self._class_counts: tuple[int, ...] | None = None
        self.register_buffer("_log_prior", None, persistent=False)

    @property
    def class_counts(self) -> tuple[int, ...] | None:
        r"""Training labels of each class; may be set. f is then the softmax of :math:`z_c + \log\pi_c`, π their shares.

        So a formula that knows nothing of classes treats rare ones as logit adjustment does; predictions are still
        those of z. None, as at first: f is the softmax of z. A class without labels counts as if it had one.
        """
        return self._class_counts

    @class_counts.setter
    def class_counts(self, counts: Sequence[int] | Tensor | None) -> None:
        if counts is None:
            self._class_counts = self._log_prior = None
            return
        if self.task_type != "classification":
            raise SettingError("class_counts are for classification; leave them out")
        owner = f"this {self.family} loss"
        self._class_counts = tuple(class_numbers(counts, owner).tolist())
        self._log_prior = class_shares(counts, owner).log().to(self._device())

    def _device(self) -> torch.device:
        parameter = next(self.parameters(), None)
        return torch.device("cpu") if parameter is None else parameter.device

    def meet_classes(self, counts: Tensor | None) -> None:
        """See `Criterion.meet_classes`."""
        if self.class_counts is not None and counts is not None:
            self.class_counts = counts

    def at_classes(self, classes: int) -> Self:
        """The loss for so many classes, which are equally frequent if it has been told of other ones.

        Args:
            classes: How many there are.

        Returns:
            The loss itself where it fits, else a copy.
        """
        if self._class_counts is None or len(self._class_counts) == classes:
            return self
        other = deepcopy(self)
        other.class_counts = None
        return other

    def shifted(self, logits: Tensor, dim: int = 1) -> Tensor:
        """Logits as the softmax of f takes them: shifted by the log prior where there are `class_counts`.

        Args:
            logits: Of as many classes as there are counts, in dimension `dim`.
            dim: The dimension.

        Raises:
            DataError: There are more classes, or fewer.
        """
        if self._log_prior is None:
            return logits
        if logits.shape[dim] != len(self._log_prior):
            raise DataError(
                f"class_counts of this {self.family} loss are for {len(self._log_prior)} classes but the outputs are "
                f"for {logits.shape[dim]}; give one number for each class"
            )
        return logits + self._log_prior.to(logits.dtype).reshape(-1, *[1] * (logits.dim() - dim - 1))

    @property
    def scale(self) -> float:
        """What every value is multiplied by; may be set."""
        return self._scale

    @scale.setter
    def scale(self, scale: float) -> None:
        if isinstance(scale, bool) or not isinstance(scale, int | float) or not 0 < scale < MOST_SCALE:
            raise SettingError(f"scale is {scale!r}; give a number above 0 and below 1e30")
        self._scale = float(scale)

    @property
    def tunable(self) -> bool:
        """Whether the gradient with respect to the predictions is other than zero for some φ (D10)."""
        return True

    @property
    def coefficients(self) -> list[float]:
        """φ as plain numbers, parameter after parameter."""
        return [number for parameter in self.parameters() for number in parameter.detach().reshape(-1).tolist()]

    @coefficients.setter
    def coefficients(self, numbers: Sequence[float]) -> None:
        parameters = list(self.parameters())
        sizes = [parameter.numel() for parameter in parameters]
        values = finite_numbers(numbers, sum(sizes), f"this {self.family} loss", parameters[0].dtype)
        with torch.no_grad():
            for parameter, part in zip(parameters, values.split(sizes), strict=True):
                parameter.copy_(part.reshape(parameter.shape))

    @abstractmethod
    def untuned(self, generator: torch.Generator) -> list[float]:
        """φ from which the tuning of such a loss starts afresh, drawn from the generator if at random.

        The loss is left as it is; `coefficients` takes what this gives.
        """

    @abstractmethod
    def per_class(self, y: Tensor, f: Tensor) -> Tensor:
        """m_φ(y, f), number by number: [B, C, ...] from targets and predictions of that shape."""

    @abstractmethod
    def formula(self, digits: int | None = None) -> str:
        """The loss as it is computed, in one line, rounded to `digits` significant digits if given."""

    def short(self, digits: int = 4) -> str:
        """The loss to be read: of a formula with its numbers multiplied out, of others what `formula` says.

        Example:
            >>> from evomal import SymbolicLoss
            >>> loss = SymbolicLoss("square(sub(y, f))", [2.0, 0.5, 1.0], task_type="regression", scale=3.0)
            >>> loss.formula(), loss.short()
            ('3·((2·(0.5·y - f))²)', '3·(y - 2·f)²')
        """
        return self.formula(digits)

    @abstractmethod
    def entries(self) -> dict[str, Any]:
        """What `from_entries` builds the loss again from, beside family, task type and scale; plain values."""

    @classmethod
    @abstractmethod
    def take_arguments(cls, entries: dict[str, Any]) -> dict[str, Any]:
        """Take out of a file's entries what `entries` gives, as arguments of the class.

        Raises:
            SettingError: One is missing or of the wrong kind.
        """

    @classmethod
    def from_entries(cls, entries: dict[str, Any]) -> Self:
        """The loss that `save` wrote, from the entries of its file; those it does not know become `info`.

        Raises:
            EvomalError: An entry is missing or of the wrong kind, or they contradict one another.
        """
        info = dict(entries)
        arguments = cls.take_arguments(info)
        loss = cls(**arguments, task_type=info.pop("task_type", None), scale=info.pop("scale", 1.0))
        loss.class_counts = info.pop("class_counts", None)
        loss.info = info
        return loss

    def per_instance(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The loss of each instance, [B, ...]: the values summed over dimension 1, times the scale."""
        f = functional.softmax(self.shifted(outputs), dim=1) if self.task_type != "regression" else outputs
        values = self.per_class(targets, f).sum(dim=1)
        return values if self.scale == 1 else self.scale * values

    def all_entries(self) -> dict[str, Any]:
        """`entries` with family and task type, the scale where it is not 1, and class counts where there are any."""
        scale = {} if self.scale == 1 else {"scale": self.scale}
        return {"family": self.family, "task_type": self.task_type, **self.entries(), **scale, **self._counts()}

    def _counts(self) -> dict[str, Any]:
        return {} if self.class_counts is None else {"class_counts": list(self.class_counts)}

    def save(self, path: str | PathLike[str]) -> None:
        """Write the loss, with its current coefficients, as one JSON object; see `evomal.load_loss`.

        Args:
            path: The file; one that exists is replaced, and half a file is never seen.

        Raises:
            LossFileError: φ or `info` hold what JSON cannot, such as NaN, or the path names no file that can be
                written; nothing is written.
        """
        write_document(self.all_entries(), self.info, path)

    def get_extra_state(self) -> Tensor:
        """What the same φ would be another loss without, for `state_dict`: the scale, and which loss this is."""
        return written_state(self.scale, self._identity())

    def set_extra_state(self, state: Any) -> None:
        """The scale of a `state_dict`.

        Raises:
            SettingError: It is no scale, or the state is that of another loss.
        """
        scale, owner = read_state(state)
        if owner is not None and owner != self._identity():
            raise SettingError(
                f"these weights are those of {described(owner)}, but the loss is {described(self._identity())}; "
                "load them into a loss of that formula and task type"
            )
        self.scale = scale

    def _identity(self) -> dict[str, Any]:
        """The entries of the loss that no coefficient changes."""
        fixed = {name: value for name, value in self.entries().items() if name != "weights"}
        return {"family": self.family, "task_type": self.task_type, **fixed, **self._counts()}

    def _load_from_state_dict(
        self,
        state_dict: dict[str, Any],
        prefix: str,
        local_metadata: dict[str, Any],
        strict: bool,
        missing_keys: list[str],
        *others: Any,
    ) -> None:
        if (unscaled := f"{prefix}_extra_state") in state_dict:
            self.set_extra_state(state_dict[unscaled])  # before a weight is touched
        super()._load_from_state_dict(state_dict, prefix, local_metadata, strict, missing_keys, *others)
        # Weights alone, as named parameters or a state of before there was a scale, leave the scale as it is.
        if unscaled in missing_keys:
            missing_keys.remove(unscaled)

    def extra_repr(self) -> str:
        """The formula, as computed, and the settings that are not the usual ones."""
        parts = [self.formula(digits=4), f"task_type={self.task_type!r}"]
        if self.reduction != "mean":
            parts.append(f"reduction={self.reduction!r}")
        return ", ".join(parts)
