"""Which instances make up a part of the data, and which the batch of a step: pure functions (D3)."""

import itertools
import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from evomal.foundation import seeds
from evomal.foundation.errors import DataError, SettingError
from evomal.tasks.splits import AnySplit

SPLIT_SEED = 20_230_330  # splits are part of the data set: they never depend on a run's seed


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


class Batches:
    """Indices of batches drawn without replacement within each epoch.

    Two objects with the same arguments give the same batch for the same step, in whatever order steps are
    asked for. Every batch has the same size: the incomplete last batch of an epoch is dropped, and of a split
    smaller than a batch the whole split is taken, permuted.

    Args:
        split_length: Number of instances N.
        batch_size: Instances B in a batch.
        *key_parts: What the batches are for, such as ``(seed, task.key, "partial", "batches")``.
        counted: Which instances have a label that counts, bool [N]; None: all. A batch without any, whose loss would
            be 0/0, gets one in place of its first instance.

    Raises:
        SettingError: `split_length` or `batch_size` is below 1, or nothing counts.

    Example:
        >>> batches = Batches(10, 4, 0, "digits", "partial")
        >>> batches.per_epoch, batches.index(7).shape
        (2, torch.Size([4]))
        >>> torch.equal(batches.index(7), Batches(10, 4, 0, "digits", "partial").index(7))
        True
    """

    def __init__(
        self, split_length: int, batch_size: int, *key_parts: str | int, counted: Tensor | None = None
    ) -> None:
        if split_length < 1 or batch_size < 1:
            raise SettingError(
                f"batches of {batch_size} cannot be drawn from {split_length} instances; both must be above 0"
            )
        if counted is not None and not bool(counted.any()):
            raise SettingError(
                f"none of {split_length} instances has a label that counts; there is nothing to train on"
            )
        self.split_length = split_length
        self._counted = counted
        self.batch_size = min(batch_size, split_length)
        self.per_epoch = split_length // self.batch_size
        self._key = key_parts
        self._epoch = -1
        self._parts: tuple[Tensor, ...] = ()

    @classmethod
    def of(cls, split: AnySplit, batch_size: int, *key_parts: str | int) -> "Batches":
        """Batches of a split; arguments as of the class.

        Example:
            >>> from evomal.tasks.splits import Split
            >>> half = Split(torch.zeros(4, 1), torch.tensor([-100, 1, -100, 0]))
            >>> all(bool((half.take(Batches.of(half, 2).index(step))[1] != -100).any()) for step in range(20))
            True
        """
        return cls(len(split), batch_size, *key_parts, counted=split.counted)

    def index(self, step: int) -> Tensor:
        """The instances of a step.

        Args:
            step: Number of the step, from 0.

        Returns:
            Indices into the split, int64 [B], on the CPU.
        """
        epoch, position = divmod(step, self.per_epoch)
        if epoch != self._epoch:
            self._parts, self._epoch = self._permuted(epoch), epoch
        return self._parts[position]

    def table(self, first: int, count: int, device: torch.device) -> Tensor:
        """The instances of some steps in a row, sent to a device that is not waited for.

        Args:
            first: The first step.
            count: Number of steps.
            device: Where the indices are needed.

        Returns:
            int64 [count, B].
        """
        rows = torch.stack([self.index(step) for step in range(first, first + count)])
        return rows.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else rows.to(device)

    def _permuted(self, epoch: int) -> tuple[Tensor, ...]:
        order = torch.randperm(self.split_length, generator=seeds.generator(*self._key, "epoch", epoch))
        parts = torch.split(order, self.batch_size)[: self.per_epoch]
        return parts if self._counted is None else _each_counts(parts, order[self._counted[order]], self._counted)


def _each_counts(parts: Sequence[Tensor], spare: Tensor, counted: Tensor) -> tuple[Tensor, ...]:
    """Parts of an epoch, each with an instance that counts: where there is none, one of `spare` comes first."""
    following = itertools.cycle(spare.tolist())
    return tuple(
        part if bool(counted[part].any()) else torch.cat([torch.tensor([next(following)]), part[1:]]) for part in parts
    )
