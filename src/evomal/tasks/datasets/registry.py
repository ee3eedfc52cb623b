"""The table of data sets; another one is another row."""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from torch import Tensor

from evomal.foundation.errors import DataError, unknown_name
from evomal.tasks.datasets import small
from evomal.tasks.datasets.coloured import CIFAR10, CIFAR100, SVHN, load_cifar10, load_cifar100, load_svhn
from evomal.tasks.datasets.data import Data, Raw, prepare
from evomal.tasks.datasets.files import Published
from evomal.tasks.datasets.mnist import FASHION, MNIST, load_fashion_mnist, load_mnist
from evomal.tasks.datasets.small import CALIFORNIA, load_california


class DatasetSource(NamedTuple):
    """Where a data set comes from."""

    load: Callable[[Path | None], Raw]  # takes the folder to look in first
    classes: int | None  # None for regression
    summary: str
    published: Published | None = None  # files that are not part of a package

    def at_hand(self, data_dir: Path | None = None) -> bool:
        """Whether nothing needs to be downloaded."""
        return self.published is None or self.published.found(data_dir) is not None

    @property
    def task_type(self) -> str:
        """``"classification"`` or ``"regression"``."""
        return "regression" if self.classes is None else "classification"


DATASETS: Mapping[str, DatasetSource] = MappingProxyType(
    {
        "digits": DatasetSource(small.load_digits, 10, "1,797 digits, 8×8"),
        "breast-cancer": DatasetSource(small.load_breast_cancer, 2, "569 tumours, 30 features"),
        "wine": DatasetSource(small.load_wine, 3, "178 wines, 13 features"),
        "iris": DatasetSource(small.load_iris, 3, "150 irises, 4 features"),
        "diabetes": DatasetSource(small.load_diabetes, None, "442 patients, 10 features"),
        "california-housing": DatasetSource(load_california, None, "20,640 districts, 8 features", CALIFORNIA),
        "mnist": DatasetSource(load_mnist, 10, "70,000 handwritten digits, 28×28", MNIST),
        "fashion-mnist": DatasetSource(load_fashion_mnist, 10, "70,000 images of clothes, 28×28", FASHION),
        "cifar10": DatasetSource(load_cifar10, 10, "60,000 photographs, 3×32×32; cropped and mirrored", CIFAR10),
        "cifar100": DatasetSource(load_cifar100, 100, "60,000 photographs, 3×32×32; cropped and mirrored", CIFAR100),
        "svhn": DatasetSource(load_svhn, 10, "99,289 digits of house numbers, 3×32×32; cropped", SVHN),
    }
)


def load_dataset(name: str, data_dir: str | Path | None = None) -> Data:
    """A registered data set, split and normalised.

    Args:
        name: A name in `DATASETS`.
        data_dir: A folder in which to look for files first, and into which they are downloaded; without it, the one
            that ``EVOMAL_DATA`` names, or else the user's cache.

    Returns:
        The data set; its splits are always the same.

    Raises:
        UnknownNameError: There is no such data set.
        DataError: Files are missing or damaged, or labels are out of range.
        StorageError: There is no room for a download.

    Example:
        >>> data = load_dataset("digits")
        >>> data.input_shape, data.classes, len(data.train[0]), len(data.valid[0]), len(data.test[0])
        ((1, 8, 8), 10, 1293, 144, 360)
    """
    if name not in DATASETS:
        raise unknown_name("data set", name, DATASETS)
    source = DATASETS[name]
    raw = source.load(Path(data_dir) if data_dir is not None else None)
    if source.classes is not None:
        for part, labels in (("training", raw.y), ("test", raw.y if raw.test is None else raw.test[1])):
            _require_labels(name, part, labels, source.classes)
    return prepare(name, raw, source.classes)


def _require_labels(name: str, part: str, labels: Tensor, classes: int) -> None:
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= classes:
        raise DataError(
            f"data set '{name}' has labels from {low} to {high} in its {part} files, but {classes} classes "
            f"(0 to {classes - 1}); get its files anew"
        )
