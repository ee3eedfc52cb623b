"""Small data sets: those that come with scikit-learn, and California housing, in the table of its authors."""

from pathlib import Path

import numpy as np
import torch

from evomal.foundation.errors import DataError, one_line
from evomal.tasks.datasets.data import Raw
from evomal.tasks.datasets.files import Published, archived, cannot_read

ARCHIVE, TABLE = "cal_housing.tgz", "cal_housing.data"
CALIFORNIA = Published(
    "california-housing",
    "https://www.dcc.fc.up.pt/~ltorgo/Regression/",
    {ARCHIVE: "aaa5c9a6afe2225cc2aed2723682ae403280c4a3695a2ddda4ffb5d8215ea681"},
    {ARCHIVE: ("CaliforniaHousing", TABLE)},
    {ARCHIVE: "https://ndownloader.figshare.com/files/5976036"},  # the same file, as scikit-learn fetches it
)
COLUMNS = 9  # longitude, latitude, age, rooms, bedrooms, population, households, income, value


def load_digits(data_dir: Path | None = None) -> Raw:
    """1,797 handwritten digits as images [N, 1, 8, 8] with values 0 to 16."""
    from sklearn.datasets import load_digits as load

    bunch = load()
    return Raw(torch.from_numpy(bunch.images).unsqueeze(1), torch.from_numpy(bunch.target))


def load_diabetes(data_dir: Path | None = None) -> Raw:
    """442 patients with ten measurements; the target is the progression of diabetes after a year."""
    from sklearn.datasets import load_diabetes as load

    x, y = load(return_X_y=True, scaled=False)
    return Raw(torch.from_numpy(x), torch.from_numpy(y))


def load_breast_cancer(data_dir: Path | None = None) -> Raw:
    """569 tumours with 30 measurements, malignant (0) or benign (1)."""
    from sklearn.datasets import load_breast_cancer as load

    x, y = load(return_X_y=True)
    return Raw(torch.from_numpy(x), torch.from_numpy(y))


def load_wine(data_dir: Path | None = None) -> Raw:
    """178 wines of three growers with 13 measurements."""
    from sklearn.datasets import load_wine as load

    x, y = load(return_X_y=True)
    return Raw(torch.from_numpy(x), torch.from_numpy(y))


def load_iris(data_dir: Path | None = None) -> Raw:
    """150 irises of three species with four measurements."""
    from sklearn.datasets import load_iris as load

    x, y = load(return_X_y=True)
    return Raw(torch.from_numpy(x), torch.from_numpy(y))


def load_california(data_dir: Path | None = None) -> Raw:
    """California housing, with rooms, bedrooms and people counted per household, as scikit-learn has it.

    Args:
        data_dir: A folder with ``cal_housing.tgz`` or what it unpacks to; also where a download goes.

    Returns:
        Features [N, 8] (median income, age, rooms, bedrooms, population, occupancy, latitude, longitude) and the median
        house value in 100,000 dollars [N].

    Raises:
        DataError: A file is damaged, or nothing is at hand and the download fails.

    Source: Pace, Barry, "Sparse spatial autoregressions", 1997.
    """
    folder = CALIFORNIA.folder(data_dir)
    path = CALIFORNIA.path(folder, ARCHIVE) or folder / ARCHIVE
    longitude, latitude, age, rooms, bedrooms, people, households, income, value = _table(path).T
    x = [income, age, rooms / households, bedrooms / households, people, people / households, latitude, longitude]
    return Raw(torch.from_numpy(np.stack(x, 1)), torch.from_numpy(value / 100_000))


def _table(path: Path) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    try:
        table = np.loadtxt(_lines(path), delimiter=",", ndmin=2)
    except ValueError as error:
        raise DataError(f"{path} holds something that is no number ({one_line(error)}); get it anew") from None
    if table.shape[1] != COLUMNS or len(table) < 2:
        raise DataError(f"{path} has {len(table)} rows of {table.shape[1]} numbers, not of {COLUMNS}; get it anew")
    if not np.isfinite(table).all() or (table[:, 6] <= 0).any():
        raise DataError(f"{path} holds numbers that are not finite, or districts without households; get it anew")
    return table


def _lines(path: Path) -> list[str]:
    try:
        if path.is_dir():
            path = path / TABLE
        if path.suffix == ".data":
            return path.read_text(encoding="ascii").splitlines()
        return archived(path, [TABLE])[TABLE].decode("ascii").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise cannot_read(path, error) from None
