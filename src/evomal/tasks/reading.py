"""Data as users have it, read into splits."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset

from evomal.foundation.errors import DataError
from evomal.foundation.seeds import derive, seeded
from evomal.tasks.fetching import fetch
from evomal.tasks.inputs import Form, pack
from evomal.tasks.splits import AnySplit, LazySplit, Split
from evomal.tasks.tensors import as_tensor, require_finite

MOST_INPUTS = 100  # of a model; a longer list holds rows
CHUNK = 1024  # items of a data set stacked at a time
TRIED = 16  # items that are read twice: a flip of every second image shows in one of them


def read_split(
    data: Any, part: str, dataset: str, resident: bool | None = None, floating: torch.dtype | None = None
) -> AnySplit:
    """A split from a pair (x, y) or a map-style data set.

    Args:
        data: A pair of tensors or arrays, or a `torch.utils.data.Dataset` (anything with ``len`` and
            indexing; a list of more than two) whose items are pairs. x may be a tuple or a dict of several inputs.
        part: ``"training"``, ``"validation"`` or ``"test"``, for messages.
        dataset: Name of the data set, for messages.
        resident: Read a `Dataset` once into tensors; False fetches its items each time; None reads it once unless
            its items are others when they are read again. Pairs are always resident.
        floating: What floats of x become; None: the default type where they are float64.

    Returns:
        The split, with targets as they are given.

    Raises:
        DataError: The data is empty, not finite, of different lengths, or of a kind that cannot be indexed.

    Example:
        >>> len(read_split(([[0.5], [1.5]], [0, 1]), "training", "mine"))
        2
    """
    where = f"the {part} split of data set '{dataset}'"
    if isinstance(data, LazySplit):
        return data
    if isinstance(data, Split):
        checked = _checked(as_tensor(data.x, f"x of {where}"), as_tensor(data.y, f"y of {where}"), where)
        return replace(data, x=checked.x, y=checked.y)
    if isinstance(data, tuple | list) and not _holds_items(data):
        if len(data) != 2:
            raise DataError(f"{where} must be a pair (x, y), but it has {len(data)} parts")
        x, form = data[0], None
        if _has_several_inputs(x, data[1]):
            x, form = pack(x, "x", where, floating)
        else:
            x = as_tensor(x, f"x of {where}", floating)
        return _checked(x, as_tensor(data[1], f"y of {where}", floating), where, form)
    indexable = hasattr(data, "__getitem__") and hasattr(data, "__len__")
    if isinstance(data, DataLoader | IterableDataset | Tensor) or not indexable:
        way = (
            "its `.dataset`" if isinstance(data, DataLoader) else "a pair (x, y) or a map-style data set of such pairs"
        )
        raise DataError(f"{where} is a {type(data).__name__}; give {way}")
    if len(data) == 0:
        raise DataError(f"{where} is empty; give at least one instance")
    with seeded(derive("reading")):  # a data set may draw random numbers
        if resident is None:
            resident = not _is_random(data, where)
        return _read_once(data, where, floating) if resident else _lazy(data, where, floating)


def _holds_items(data: Sequence[Any]) -> bool:
    """Whether a list is a data set, of pairs, instead of a pair."""
    return len(data) > 2 and all(isinstance(item, tuple | list) and len(item) == 2 for item in data)


def _has_several_inputs(x: Any, y: Any) -> bool:
    """Tell x as several inputs, each with a row per target, from x as a list of rows."""
    if isinstance(x, Mapping):
        return True
    if not isinstance(x, tuple | list) or not 1 < len(x) <= MOST_INPUTS:
        return False
    targets = len(y) if hasattr(y, "__len__") and getattr(y, "shape", True) != () else 0
    if len(x) == targets:  # rows
        return False
    arrays = [len(getattr(part, "shape", ())) > 0 for part in x]
    lengths = [
        len(part) if array or isinstance(part, tuple | list) else 0 for part, array in zip(x, arrays, strict=True)
    ]
    return set(lengths) == {targets} or (isinstance(x, tuple) and all(arrays) and targets in lengths)


def _checked(x: Tensor, y: Tensor, where: str, form: Form | None = None) -> Split:
    if x.dim() == 0 or y.dim() == 0:
        raise DataError(f"{where} needs a row per instance, but x has shape {list(x.shape)} and y {list(y.shape)}")
    if len(x) != len(y):
        raise DataError(f"{where} has {len(x)} rows in x but {len(y)} in y; give one target for each instance")
    if len(x) == 0:
        raise DataError(f"{where} is empty; give at least one instance")
    require_finite(x, f"x of {where}")
    require_finite(y, f"y of {where}")
    return Split(x, y, form=form)


def _is_random(dataset: Dataset[Any], where: str) -> bool:
    """Whether items are others when they are read again, as those that are augmented at random."""
    length = len(dataset)  # type: ignore[arg-type]
    rows = list(range(0, length, max(1, length // TRIED)))[:TRIED]
    pairs = zip(*(fetch(dataset, rows, where)[:2] for _ in range(2)), strict=True)
    return any(
        one.shape != other.shape or not torch.equal(one.nan_to_num(), other.nan_to_num()) for one, other in pairs
    )


def _read_once(dataset: Dataset[Any], where: str, floating: torch.dtype | None) -> Split:
    xs, ys, form = [], [], None
    for rows in _chunks(len(dataset)):  # type: ignore[arg-type]
        x, y, form = fetch(dataset, rows, where, floating, form)
        xs.append(x)
        ys.append(y)
    try:
        return _checked(torch.cat(xs), torch.cat(ys), where, form)
    except RuntimeError as error:
        raise DataError(f"{where}: items cannot be stacked ({error}); give all of them one shape") from None


def _lazy(dataset: Dataset[Any], where: str, floating: torch.dtype | None) -> LazySplit:
    length = len(dataset)  # type: ignore[arg-type]
    sample = list(range(0, length, max(1, length // 8)))[:8]
    _, seen, form = fetch(dataset, sample, where, floating)
    y = _lazy_targets(dataset, sample, seen, where)
    return LazySplit(dataset, torch.arange(length), y, where=where, form=form, floating=floating)


def _lazy_targets(dataset: Dataset[Any], sample: list[int], seen: Tensor, where: str) -> Tensor | None:
    """All targets [N] where they are single numbers: from `dataset.targets` if true, else by reading."""
    length = len(dataset)  # type: ignore[arg-type]
    if seen.dim() != 1:
        return None
    listed = getattr(dataset, "targets", None)
    if listed is not None and len(listed) == length:
        targets = as_tensor(listed, f"targets of {where}")
        # A `target_transform` makes items differ from the list.
        if targets.dim() == 1 and torch.equal(targets[sample].to(seen.dtype), seen):
            return targets
    return torch.cat([fetch(dataset, rows, where)[1] for rows in _chunks(length)])


def _chunks(length: int) -> list[Sequence[int]]:
    return [range(start, min(start + CHUNK, length)) for start in range(0, length, CHUNK)]
