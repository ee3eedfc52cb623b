"""The small data sets that come with scikit-learn."""

from pathlib import Path

import torch

from evomal.tasks.datasets.data import Raw


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
