"""Which instances make up the batch of a step: a pure function of a key and the step (D3)."""

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor

from evomal.foundation import seeds
from evomal.foundation.errors import SettingError
from evomal.tasks.splits import AnySplit


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
