"""SVHN, cropped digits: 73,257 training and 26,032 test images of house numbers, 3×32×32, in MATLAB files."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from evomal.foundation.errors import DataError
from evomal.tasks.augmentation import Augmentation
from evomal.tasks.datasets.data import Raw
from evomal.tasks.datasets.files import Published, cannot_read

SVHN = Published(
    "svhn",
    "http://ufldl.stanford.edu/housenumbers/",
    {
        "train_32x32.mat": "435e94d69a87fde4fd4d7f3dd208dfc32cb6ae8af2240d066de1df7508d083b8",
        "test_32x32.mat": "cdce80dfb2a2c4c6160906d0bd7c68ec5a99d7ca4831afa54f09182025b6a75b",
    },
)
ZERO = 10  # how the files label the digit 0


def load_svhn(data_dir: Path | None = None) -> Raw:
    """SVHN's cropped digits, without the additional training set; see `Published`.

    Batches are cropped at random but not mirrored, as a mirrored digit is none, or another.

    Args:
        data_dir: A folder with ``train_32x32.mat`` and ``test_32x32.mat``; also where a download goes.

    Returns:
        uint8 images [N, 3, 32, 32] and labels [N], the digits 0 to 9, with the original test set.

    Raises:
        DataError: A file is damaged, or nothing is at hand and the download fails.

    Source: Netzer, Wang, Coates, Bissacco, Wu, Ng, "Reading digits in natural images with unsupervised feature
    learning", 2011.
    """
    folder = SVHN.folder(data_dir)
    (x, y), test = (read_mat(SVHN.path(folder, name) or folder / name) for name in SVHN.files)
    return Raw(x, y, test, Augmentation(flip=False))


def read_mat(path: Path) -> tuple[Tensor, Tensor]:
    """Images and labels of one of SVHN's MATLAB files.

    Args:
        path: The file; it has ``X`` [32, 32, 3, N] of bytes and ``y`` [N, 1] with 10 for the digit 0.

    Returns:
        uint8 images [N, 3, 32, 32]; labels int64 [N] from 0 to 9.

    Raises:
        DataError: The file cannot be read, or holds something else.
    """
    from scipy.io import loadmat

    try:
        content: dict[str, Any] = loadmat(path)
    except Exception as error:  # SciPy's reader raises what it pleases on damaged files
        raise cannot_read(path, error) from None
    x, y = content.get("X"), content.get("y")
    if not isinstance(x, np.ndarray) or x.shape[:3] != (32, 32, 3) or x.ndim != 4 or x.dtype != np.uint8:
        raise DataError(f"{path} has no bytes X of shape [32, 32, 3, N] (cropped digits); get it anew")
    if not isinstance(y, np.ndarray) or y.size != x.shape[3] or y.dtype.kind not in "iuf":
        raise DataError(f"{path} has {x.shape[3]} images and no y with a label for each; get it anew")
    labels = torch.from_numpy(y.reshape(-1).astype(np.int64))
    odd = (labels < 1) | (labels > ZERO)
    if bool(odd.any()):
        raise DataError(f"{path} holds the label {int(labels[odd][0])}, but SVHN has 1 to {ZERO}; get it anew")
    # Copied: in memory the file has the number of the image last.
    return torch.from_numpy(np.ascontiguousarray(x.transpose(3, 2, 0, 1))), labels % ZERO
