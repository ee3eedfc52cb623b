"""Splits of a data set: resident tensors, or items fetched by index; and the short name that tells their data."""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.utils.data import Dataset

from evomal.foundation import seeds
from evomal.foundation.errors import SettingError
from evomal.foundation.seeds import seeded
from evomal.foundation.serialization import by_value
from evomal.losses.criterion import IGNORED
from evomal.tasks.augmentation import Augmentation, Normalisation
from evomal.tasks.fetching import fetch
from evomal.tasks.inputs import Form
from evomal.tasks.tensors import known_here, pack_tensor, require_finite, unpack_tensor


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


def fingerprint(names: tuple[str, ...], splits: Iterable[AnySplit]) -> str:
    """16 hexadecimal digits of SHA-256 over names, shapes, types and values.

    Args:
        names: Names that count.
        splits: Of a lazy split the indices, the targets and the first shapes count, since items may be
            random.

    Returns:
        The digits; where the tensors live does not count.

    Example:
        >>> split = Split(torch.zeros(2, 1), torch.tensor([0, 1]))
        >>> fingerprint(("mine",), [split]) == fingerprint(("other",), [split])
        False
    """
    digest = hashlib.sha256(repr(names).encode())
    for split in splits:
        views: tuple[object, ...] = () if split.form is None else (split.form,)
        if isinstance(split, Split) and (split.normalisation or split.augmentation):
            views = (split.normalisation, split.augmentation, *views)
        if views:  # plain splits keep the name that they had before there were any
            digest.update(repr(views).encode())
        for tensor in _tensors(split):
            digest.update(repr((str(tensor.dtype), tuple(tensor.shape))).encode())
            digest.update(tensor.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()[:16]


def _tensors(split: AnySplit) -> Iterable[Tensor]:
    if not isinstance(split, LazySplit):
        return split.x, split.y
    x, y = split.take(torch.arange(min(8, len(split))))
    return split.rows, x.new_empty((0, *x.shape[1:])), y if split.y is None else split.y
