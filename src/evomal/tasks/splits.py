"""Splits of a data set: resident tensors, or items fetched by index; and how one is split off another."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from evomal.foundation import seeds
from evomal.foundation.errors import DataError, SettingError
from evomal.foundation.seeds import seeded
from evomal.foundation.serialization import by_value
from evomal.losses.criterion import IGNORED
from evomal.tasks.augmentation import Augmentation, Normalisation
from evomal.tasks.fetching import fetch
from evomal.tasks.inputs import Form
from evomal.tasks.tensors import known_here, pack_tensor, require_finite, unpack_tensor

SPLIT_SEED = 20_230_330  # splits are part of the data set: they never depend on a run's seed


@dataclass(frozen=True, eq=False)
class Split:
    """Instances held as two tensors.

    Args:
        x: Inputs [N, ...], or what `normalisation` makes inputs of, such as bytes.
        y: Targets [N] or [N, ...].
        normalisation: Applied to each batch, on its device; None takes x as it is.
        augmentation: Applied to each batch before that; for training data only.
        form: Of several inputs, which lie in x as bytes.

    Example:
        >>> split = Split(torch.rand(5, 3), torch.tensor([0, 1, 0, 1, 1]))
        >>> len(split), split.take(torch.tensor([1, 4]))[1].tolist()
        (5, [1, 1])
    """

    x: Tensor
    y: Tensor
    normalisation: Normalisation | None = None
    augmentation: Augmentation | None = None
    form: Form | None = None

    def __len__(self) -> int:
        """Number of instances."""
        return int(self.x.shape[0])

    @cached_property
    def counted(self) -> Tensor | None:
        """Which instances have a label that counts, bool [N] on the CPU; None where all have."""
        return _counted(self.y)

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel as arrays, which worker processes can map into their memory instead of copying."""
        packed = pack_tensor(self.x), pack_tensor(self.y), self.x.device
        return _unpacked, (*packed, self.normalisation, self.augmentation, self.form)

    def take(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """The instances at `index` (int64 [B]) as (x [B, ...], y [B, ...])."""
        index = index.to(self.x.device, non_blocking=True)  # an accelerator is not waited for
        x = self.x[index]
        if self.augmentation is not None:
            x = self.augmentation(x, index)
        return x if self.normalisation is None else self.normalisation(x), self.y[index]

    def to(self, device: torch.device | str) -> "Split":
        """The same split on another device."""
        return replace(self, x=self.x.to(device), y=self.y.to(device))

    def subset(self, index: Tensor) -> "Split":
        """The instances at `index` as a split of their own."""
        index = index.to(self.x.device)
        return replace(self, x=self.x[index], y=self.y[index])

    def map_targets(self, function: Callable[[Tensor], Tensor]) -> "Split":
        """The same inputs with other targets."""
        return replace(self, y=function(self.y))


@dataclass(frozen=True, eq=False)
class LazySplit:
    """Instances of a map-style data set, fetched anew each time: for random augmentation, or little memory.

    Random code inside the data set is seeded by the indices of the batch, so a batch is the same whoever
    fetches it (D3), while the same instance looks different in another batch.

    Args:
        dataset: Items are pairs (x, y) that `torch.utils.data.default_collate` can stack; x may hold several inputs.
        rows: Which items belong to the split, int64 [N].
        y: Targets [N] where they are single numbers, as the reader found them; else None.
        device: Where batches are put.
        finish: Applied to the targets of each batch.
        where: How messages call the split.
        form: Of several inputs, which lie in x as bytes.
        floating: What floats of x become; None: the default type where they are float64.
    """

    dataset: Dataset[Any]
    rows: Tensor
    y: Tensor | None = None
    device: torch.device | str = "cpu"
    finish: Callable[[Tensor], Tensor] | None = None
    where: str = "the data set"
    form: Form | None = None
    floating: torch.dtype | None = None

    def __len__(self) -> int:
        """Number of instances."""
        return len(self.rows)

    @cached_property
    def counted(self) -> Tensor | None:
        """As of `Split`; None too where labels are not known."""
        return None if self.y is None else _counted(self.y)

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel with the code of the data set."""
        return _unpacked_lazy, (
            by_value({"dataset": self.dataset, "finish": self.finish}),
            self.rows,
            self.y,
            self.device,
            self.where,
            self.form,
            self.floating,
        )

    def take(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """The instances at `index` (int64 [B]) as (x [B, ...], y [B, ...])."""
        rows = self.rows[index.cpu()].tolist()
        with seeded(seeds.derive("augmentation", *rows)):
            x, y, _ = fetch(self.dataset, rows, self.where, self.floating, self.form)
        require_finite(x, f"x of {self.where}", rows)
        require_finite(y, f"y of {self.where}", rows)
        if self.finish is not None:
            y = self.finish(y)
        return x.to(self.device), y.to(self.device)

    def to(self, device: torch.device | str) -> "LazySplit":
        """The same split with batches put on another device."""
        return replace(self, device=device)

    def subset(self, index: Tensor) -> "LazySplit":
        """The instances at `index` as a split of their own."""
        return replace(self, rows=self.rows[index], y=None if self.y is None else self.y[index])

    def map_targets(self, function: Callable[[Tensor], Tensor]) -> "LazySplit":
        """The same instances with `function` applied to the targets."""
        return replace(self, finish=function, y=None if self.y is None else function(self.y))


AnySplit: TypeAlias = Split | LazySplit


def augmented(split: AnySplit, augmentation: Augmentation | None, where: str) -> AnySplit:
    """A split with this augmentation, or with none.

    Args:
        split: The split.
        augmentation: What is done to its batches; None for validation and test data.
        where: How messages call the split.

    Returns:
        The split; a data set that is lazy stays as it is, as its own code may augment it.

    Raises:
        DataError: Its instances are no images.
        SettingError: It is lazy.
    """
    if augmentation is not None:
        if isinstance(split, LazySplit):
            raise SettingError(f"{where} is a lazy data set; augment in its own code, and leave augmentation out")
        if split.form is not None:
            raise SettingError(f"{where} has several inputs; augment in a data set's own code, with resident=False")
        augmentation.require_images(tuple(split.x.shape[1:]), where)
    return replace(split, augmentation=augmentation) if isinstance(split, Split) else split


def _counted(y: Tensor) -> Tensor | None:
    if y.is_floating_point():
        return None
    counts = y != IGNORED
    return None if bool(counts.all()) else counts.reshape(len(y), -1).any(1).cpu()


def _unpacked(
    x: Any,
    y: Any,
    device: torch.device,
    normalisation: Normalisation | None,
    augmentation: Augmentation | None,
    form: Form | None = None,
) -> Split:
    device = known_here(device)
    return Split(unpack_tensor(x, device), unpack_tensor(y, device), normalisation, augmentation, form)


def _unpacked_lazy(
    code: dict[str, Any],
    rows: Tensor,
    y: Tensor | None,
    device: torch.device | str,
    where: str,
    form: Form | None = None,
    floating: torch.dtype | None = None,
) -> LazySplit:
    device = known_here(torch.device(device))
    return LazySplit(code["dataset"], rows, y, device, code["finish"], where, form, floating)


def split_off(length: int, fraction: float, labels: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Divide the indices of a data set in two, always in the same way, stratified where there are classes.

    Args:
        length: Number of instances N.
        fraction: Share to split off, above 0 and below 1; rounded up to whole instances.
        labels: Class labels [N], or None. A class with a single member stays in the first part. With fewer
            instances to split off than there are classes, classes are not looked at.

    Returns:
        Two sorted index tensors, int64: those that stay, and those split off.

    Raises:
        DataError: There are fewer than two instances.

    Example:
        >>> stay, off = split_off(10, 0.2, torch.tensor([0, 1] * 5))
        >>> len(stay), (off % 2).sort().values.tolist()
        (8, [0, 1])
    """
    # The import takes more than a second; most commands never split.
    from sklearn.model_selection import train_test_split

    if length < 2:
        raise DataError(f"a part cannot be split off {length} instance(s); give at least 2, or give the part itself")
    count = min(math.ceil(fraction * length), length - 1)  # rounded as scikit-learn does
    candidates, strata = np.arange(length), None
    if labels is not None:
        classes, members, sizes = np.unique(labels.cpu().numpy(), return_inverse=True, return_counts=True)
        shared = sizes[members] > 1
        room = min(count, int(shared.sum()) - count)
        if int((sizes > 1).sum()) <= room:
            candidates, strata = candidates[shared], classes[members][shared]
    _, off = train_test_split(candidates, test_size=count, random_state=SPLIT_SEED, stratify=strata)
    stay = np.setdiff1d(np.arange(length), off)
    return torch.from_numpy(stay), torch.from_numpy(np.sort(off))


def strata(y: Tensor | None) -> Tensor | None:
    """The class of each instance [N] where there is one: from labels [N] or [N, 1], or soft labels [N, C].

    Example:
        >>> strata(torch.tensor([[0.9, 0.1], [0.2, 0.8]]))
        tensor([0, 1])
    """
    if y is None:
        return None
    if y.is_floating_point() and y.dim() == 2 and y.shape[1] > 1:
        return y.argmax(1)
    return y.reshape(-1).round().long() if y.numel() == len(y) else None
