"""Data sets of users, from one file: arrays of an ``.npz``, or a table as ``.csv``."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from evomal.foundation.errors import DataError, SettingError
from evomal.tasks.datasets.data import Data, Pair, Raw, prepare
from evomal.tasks.datasets.table import is_number, named_columns, read_table, unreadable
from evomal.tasks.models.images import CHANNELS
from evomal.tasks.tensors import as_tensor, first_row, require_finite

MOST_CLASSES = 1000
LARGEST = torch.finfo(torch.float32).max


def load_file(
    path: str | Path, target: str | Sequence[str] | None = None, regression: bool = False, several: bool = False
) -> Data:
    """A data set from a user's file, split and normalised as a registered one is.

    An ``.npz`` holds arrays x [N, ...] and y [N] (or y [N, C]: 0 and 1 for several labels at once, other decimals for a
    regression with several outputs), and x_test, y_test where there is a test set of its own. Images are bytes
    [N, H, W], [N, H, W, channels] or [N, channels, H, W]. A ``.csv`` has a line with the names of its columns; one is
    the target, or several are, as columns of y [N, C]; all others are features, and hold numbers.

    Targets that are text, whole numbers or truth values are classes, numbered in sorted order; others, or all if asked
    for, are those of a regression. Without a test set a fifth is held out, always the same, stratified by class.

    Args:
        path: The file.
        target: The name of the target's column, or the names of several; needed for a table, and for nothing else.
        regression: Take whole numbers as what they are.
        several: Rows of y are several labels, even if each has a single 1.

    Returns:
        The data set, named like the file.

    Raises:
        DataError: The file cannot be read, or does not hold what it should.
        SettingError: It is of another kind, or `target` is missing or too much.
        UnknownNameError: There is no such column.
    """
    path = Path(path).expanduser()
    kind = path.suffix.lower()
    if kind not in (".npz", ".csv"):
        raise SettingError(f"data '{path}' is neither an .npz nor a .csv file; save arrays x and y by numpy.savez")
    targets = [target] if isinstance(target, str) else list(target or ())
    if (kind == ".csv") != bool(targets):
        raise SettingError(
            f"data '{path}' is a table; name the column of its target{named_columns(path)}"
            if kind == ".csv"
            else f"data '{path}' has its targets as array y, not in column '{targets[0]}'; leave the target out"
        )
    x, y, test = (*read_table(path, targets), None) if kind == ".csv" else _read_arrays(path)
    _require_shapes(path, x, y, "")
    if test is not None:
        _require_shapes(path, *test, "_test")
    classes: int | None = None
    labels = y.ndim == 2 and _are_labels(path, y, regression, several)
    if y.ndim == 1 and not regression and y.dtype.kind not in "f":
        names, y = np.unique(y, return_inverse=True)
        classes = _require_classes(path, len(names), len(y))
        if test is not None:
            test = (test[0], _numbered(path, test[1], names))
    if y.dtype.kind in "US":
        text = next((text for text in y.flat if not is_number(str(text))), y.flat[0])
        raise DataError(f"{path} has text as targets, such as '{text}'; for a regression give numbers")
    pair = _pair(path, x, y, "")
    held_out = None if test is None else _pair(path, *test, "_test")
    if held_out is not None and held_out[0].shape[1:] != pair[0].shape[1:]:
        raise DataError(
            f"{path} has x of shape {list(pair[0].shape)} but x_test of {list(held_out[0].shape)}; give both one form"
        )
    if len(pair[0]) < 10:
        raise DataError(f"{path} has {len(pair[0])} instances; give at least 10, so that parts can be held out")
    return prepare(path.stem, Raw(*pair, held_out), classes, labels)


def _are_labels(path: Path, y: NDArray[Any], regression: bool, several: bool) -> bool:
    """Whether the rows of a matrix of targets are several labels, 0 or 1 each, and not the numbers of a regression.

    Raises:
        DataError: They are neither, or look like something else.
    """
    if regression and y.dtype.kind in "biuf":
        return False
    if y.dtype.kind not in "biuf" or not bool(((y == 0) | (y == 1)).all()):
        if y.dtype.kind == "f" and not several:
            return False
        raise DataError(
            f"{path} has y of shape {list(y.shape)}; give y [N], for several labels at once y [N, C] of 0 and 1, or "
            "for a regression with several outputs decimals, or the task loss 'mse'"
        )
    if not several and bool((y.sum(axis=1) == 1).all()):
        raise DataError(
            f"{path} has y of shape {list(y.shape)} with a single 1 in each row, as of one label; give y.argmax(1), or "
            "for several labels at once set the task loss to 'binary_cross_entropy'"
        )
    return True


def _require_classes(path: Path, classes: int, instances: int) -> int:
    if classes < 2:
        raise DataError(f"{path} has {classes} class among its targets; give at least 2, or decimals for a regression")
    if classes > min(MOST_CLASSES, instances // 2):
        raise DataError(
            f"{path} has {classes} different targets among {instances} instances, too many for classes; for a "
            "regression set the task loss to 'mse'"
        )
    return classes


def _numbered(path: Path, y: NDArray[Any], names: NDArray[Any]) -> NDArray[Any]:
    places = np.searchsorted(names, y).clip(max=len(names) - 1)
    odd = names[places] != y
    if odd.any():
        raise DataError(f"{path} has the class {y[odd][0]} in y_test, which y lacks; give every class to training")
    return places


def _pair(path: Path, x: NDArray[Any], y: NDArray[Any], part: str) -> Pair:
    return _channels_first(_numbers(x, f"x{part} of {path}")), _numbers(y, f"y{part} of {path}")


def _numbers(values: NDArray[Any], where: str) -> Tensor:
    """An array as a tensor; float64 stays so, as a column may lie far from 0 (times in seconds) until it is centred."""
    double = values.dtype.kind == "f" and values.dtype.itemsize >= 8
    tensor = as_tensor(values, where, torch.float64 if double else None)
    require_finite(tensor, where)
    if double and tensor.numel() and float(tensor.abs().max()) > LARGEST:
        odd = tensor.abs() > LARGEST
        row = first_row(odd)
        raise DataError(
            f"{where} holds {float(tensor[row][odd[row]].flatten()[0]):g} (first in row {row}), more than a float32 "
            "holds; divide such numbers"
        )
    return tensor


def _require_shapes(path: Path, x: NDArray[Any], y: NDArray[Any], part: str) -> None:
    """Refuse inputs that are no rows of numbers, and targets that are not as many."""
    if x.ndim < 2 or y.ndim not in (1, 2) or len(x) != len(y):
        raise DataError(
            f"{path} has x{part} of shape {list(x.shape)} and y{part} of {list(y.shape)}; give x [N, ...] and y [N], "
            "or y [N, C] for several labels or values"
        )
    if 0 in x.shape[1:]:
        raise DataError(f"{path} has x{part} of shape {list(x.shape)}; give at least one feature")


def _channels_first(x: Tensor) -> Tensor:
    """Images of bytes with their channels where networks have them; other arrays as they are."""
    if x.dtype != torch.uint8:
        return x.double() if not x.is_floating_point() else x
    if x.dim() == 3:
        return x.unsqueeze(1)
    last = x.dim() == 4 and x.shape[3] in CHANNELS and x.shape[1] not in CHANNELS
    return x.permute(0, 3, 1, 2).contiguous() if last else x


def _may_be_archive(path: Path) -> bool:
    """Whether a file begins as a zip does; one that is empty, or cannot be read, is left to whoever reads it."""
    try:
        with path.open("rb") as file:
            return file.read(2) in (b"PK", b"")
    except OSError:
        return True


def _read_arrays(path: Path) -> tuple[NDArray[Any], NDArray[Any], tuple[NDArray[Any], NDArray[Any]] | None]:
    if not _may_be_archive(path):
        raise DataError(f"{path} is no .npz file, which is a zip of arrays; save arrays x and y by numpy.savez")
    try:
        with np.load(path) as held:  # NumPy refuses objects, which could hold code
            found = {name: held[name] for name in ("x", "y", "x_test", "y_test") if name in held.files}
            names = list(held.files)
    except ValueError as error:
        what = "objects, which may hold code" if "pickle" in str(error) else "what is no array"
        raise DataError(f"{path} holds {what}; save arrays of numbers by numpy.savez") from None
    except Exception as error:  # zipfile and zlib have many for a damaged file
        raise unreadable(path, error) from None
    if not all(isinstance(each, np.ndarray) for each in found.values()):  # NumPy hands out what it does not know
        raise DataError(f"{path} holds what is no array; save arrays of numbers by numpy.savez")
    missing = [name for name in ("x", "y") if name not in found] or [
        name for name in ("x_test", "y_test") if name not in found and len(found) > 2
    ]
    if missing:
        raise DataError(f"{path} holds {', '.join(names) or 'nothing'} but no {missing[0]}; name its arrays x and y")
    y = found["y"]
    y = y.reshape(-1) if y.ndim == 2 and y.shape[1] == 1 else y
    test = found.get("y_test")
    if test is not None and y.ndim == 1:
        test = test.reshape(-1)
    if test is not None and test.shape[1:] != y.shape[1:]:
        raise DataError(f"{path} has y of shape {list(y.shape)} but y_test of {list(test.shape)}; give both one form")
    return found["x"], y, None if test is None else (found["x_test"], test)
