"""Items of a data set, stacked into tensors."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor
from torch.utils.data import Dataset, default_collate

from evomal.foundation.errors import DataError, one_line
from evomal.losses.checks import refuse_masked
from evomal.tasks.tensors import ONE_TENSOR, as_tensor


def fetch(dataset: Dataset[Any], rows: Sequence[int], where: str) -> tuple[Tensor, Tensor]:
    """Some items of a map-style data set, stacked.

    Args:
        dataset: Items are pairs (x, y); ``__getitems__`` is used where there is one.
        rows: Which items.
        where: How messages call the data set.

    Returns:
        x [B, ...] and y [B, ...].

    Raises:
        DataError: Items cannot be read, are no pairs, or have different shapes.

    Example:
        >>> fetch([(0.5, 1), (1.5, 0)], [1], "mine")
        (tensor([1.5000]), tensor([0]))
    """
    try:
        many = getattr(dataset, "__getitems__", None)
        items = many(list(rows)) if many else [dataset[row] for row in rows]
    except Exception as error:
        raise DataError(f"{where}: items from index {rows[0]} on cannot be read ({one_line(error)})") from error
    if any(not isinstance(item, tuple | list) or len(item) != 2 for item in items):
        raise DataError(f"{where}: items must be pairs (x, y), but among those from index {rows[0]} on is another")
    for item in items:
        for part in item:
            refuse_masked(part, f"an item of {where}")
    try:
        x, y = default_collate([tuple(item) for item in items])
    except (RuntimeError, TypeError) as error:
        raise DataError(
            f"{where}: items from index {rows[0]} on cannot be stacked ({one_line(error)}); "
            "give tensors, arrays or numbers of equal shapes"
        ) from error
    if isinstance(x, tuple | list | Mapping):
        raise DataError(f"{where}: items have {len(x)} inputs each; {ONE_TENSOR}")
    return as_tensor(x, f"x of {where}"), as_tensor(y, f"y of {where}")
