"""A short name for data: the same for the same numbers, another as soon as one changes."""

import hashlib
from collections.abc import Iterable

import torch
from torch import Tensor

from evomal.tasks.splits import AnySplit, LazySplit, Split


def fingerprint(names: tuple[str, ...], splits: Iterable[AnySplit]) -> str:
    """16 hexadecimal digits of SHA-256 over names, shapes, types and values.

    Args:
        names: Names that count.
        splits: Of a lazy split the indices, the targets and the first shapes count, since items may be
            random.

    Returns:
        The digits; where the tensors live does not count.

    Example:
        >>> from evomal.tasks.splits import Split
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
