"""Items of a data set, stacked into tensors."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset, default_collate

from evomal.foundation.errors import DataError, one_line
from evomal.losses.arguments import refuse_masked
from evomal.tasks.inputs import Form, described, pack
from evomal.tasks.tensors import as_tensor


def fetch(
    dataset: Dataset[Any],
    rows: Sequence[int],
    where: str,
    floating: torch.dtype | None = None,
    form: Form | None = None,
) -> tuple[Tensor, Tensor, Form | None]:
    """Some items of a map-style data set, stacked.

    Args:
        dataset: Items are pairs (x, y), where x may be a tuple or a dict of several inputs; ``__getitems__`` is used
            where there is one.
        rows: Which items.
        where: How messages call the data set.
        floating: What floats become; see `as_tensor`.
        form: That several inputs should have, as far as it is known.

    Returns:
        x [B, ...] and y [B, ...]; and the form of several inputs, which lie in x as bytes.

    Raises:
        DataError: Items cannot be read, are no pairs, or have different shapes.

    Example:
        >>> fetch([(0.5, 1), (1.5, 0)], [1], "mine")
        (tensor([1.5000]), tensor([0]), None)
    """
    try:
        many = getattr(dataset, "__getitems__", None)
        items = many(list(rows)) if many else [dataset[row] for row in rows]
    except Exception as error:
        raise DataError(f"{where}: items from index {rows[0]} on cannot be read ({one_line(error)})") from error
    odd = next((item for item in items if not isinstance(item, tuple | list) or len(item) != 2), None)
    if odd is not None:
        raise DataError(
            f"{where}: items must be pairs (x, y), but among those from index {rows[0]} on is {described(odd)}; wrap "
            "the data set in one whose items are pairs (several inputs as x = a tuple or a dict)"
        )
    several = isinstance(items[0][0], tuple | list | Mapping)
    for x, y in items:
        for part in (*(_parts(x) if several else (x,)), y):
            refuse_masked(part, f"an item of {where}")
    if several:
        _require_alike([x for x, _ in items], where)
    try:
        x, y = default_collate([tuple(item) for item in items])
    except (RuntimeError, TypeError, KeyError) as error:
        raise DataError(
            f"{where}: items from index {rows[0]} on cannot be stacked ({one_line(error)}); "
            "give tensors, arrays or numbers of equal shapes"
        ) from error
    if not isinstance(x, tuple | list | Mapping):
        return as_tensor(x, f"x of {where}", floating), as_tensor(y, f"y of {where}", floating), None
    packed, form = pack(x, "x", where, floating, form)
    return packed, as_tensor(y, f"y of {where}", floating), form


def _parts(x: Any) -> Sequence[Any]:
    """The inputs of an item that should have several."""
    return list(x.values()) if isinstance(x, Mapping) else x if isinstance(x, tuple | list) else [x]


def _require_alike(inputs: Sequence[Any], where: str) -> None:
    """Refuse items whose inputs are plain numbers in a list, or have other names or another number than the first's."""
    kinds = {tuple(sorted(map(str, x))) if isinstance(x, Mapping) else len(_parts(x)) for x in inputs}
    if len(kinds) > 1:
        raise DataError(f"{where}: items have different inputs ({', '.join(map(str, kinds))}); give all the same")
    if not isinstance(inputs[0], Mapping) and all(isinstance(part, int | float) for part in inputs[0]):
        raise DataError(f"{where}: items are {type(inputs[0]).__name__}s of plain numbers; give tensors or arrays")
