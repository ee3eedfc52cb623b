"""Coloured images, 3×32×32: CIFAR-10 and CIFAR-100 (50,000 and 10,000) and SVHN (73,257 and 26,032), read strictly."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from evomal.foundation.errors import DataError
from evomal.tasks.augmentation import Augmentation
from evomal.tasks.datasets.data import Pair, Raw
from evomal.tasks.datasets.files import Published, archived, cannot_read

HOME = "https://www.cs.toronto.edu/~kriz/"
PIXELS = 3 * 32 * 32

CIFAR10 = Published(
    "cifar10",
    HOME,
    {"cifar-10-binary.tar.gz": "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"},
    {"cifar-10-binary.tar.gz": ("cifar-10-batches-bin",)},
)
CIFAR100 = Published(
    "cifar100",
    HOME,
    {"cifar-100-binary.tar.gz": "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec"},
    {"cifar-100-binary.tar.gz": ("cifar-100-binary",)},
)
SVHN = Published(
    "svhn",
    "http://ufldl.stanford.edu/housenumbers/",
    {
        "train_32x32.mat": "435e94d69a87fde4fd4d7f3dd208dfc32cb6ae8af2240d066de1df7508d083b8",
        "test_32x32.mat": "cdce80dfb2a2c4c6160906d0bd7c68ec5a99d7ca4831afa54f09182025b6a75b",
    },
)
ZERO = 10  # how the files label the digit 0


def load_cifar10(data_dir: Path | None = None) -> Raw:
    """CIFAR-10 from its archive of binary files, or from the folder it unpacks to; see `Published`.

    Args:
        data_dir: A folder with ``cifar-10-binary.tar.gz`` or ``cifar-10-batches-bin``; also where a download goes.

    Returns:
        uint8 images [N, 3, 32, 32] and labels [N] from 0 to 9, with the original test set.

    Raises:
        DataError: A file is damaged, or nothing is at hand and the download fails.

    Source: Krizhevsky, "Learning multiple layers of features from tiny images", 2009.
    """
    training = [f"data_batch_{number}.bin" for number in range(1, 6)]
    return _load(CIFAR10, data_dir, training, "test_batch.bin", label_bytes=1)


def load_cifar100(data_dir: Path | None = None) -> Raw:
    """CIFAR-100 with its 100 fine classes, as `load_cifar10`.

    Args:
        data_dir: A folder with ``cifar-100-binary.tar.gz`` or ``cifar-100-binary``; also where a download goes.

    Returns:
        uint8 images [N, 3, 32, 32] and labels [N] from 0 to 99, with the original test set.

    Raises:
        DataError: A file is damaged, or nothing is at hand and the download fails.

    Source: Krizhevsky, "Learning multiple layers of features from tiny images", 2009.
    """
    return _load(CIFAR100, data_dir, ["train.bin"], "test.bin", label_bytes=2)


def read_records(content: bytes, label_bytes: int, where: str) -> tuple[Tensor, Tensor]:
    """Images and labels of a binary file: records of one label byte, or two, and 3,072 of pixels.

    Args:
        content: The file.
        label_bytes: 1, or 2 for a coarse label and the fine one, which counts.
        where: How messages call the file.

    Returns:
        uint8 images [N, 3, 32, 32], red before green before blue, rows first; labels int64 [N].

    Raises:
        DataError: The length is no multiple of a record's.

    Example:
        >>> read_records(bytes([7] + [0] * 3072), 1, "small.bin")[1]
        tensor([7])
    """
    size = label_bytes + PIXELS
    if not content or len(content) % size:
        raise DataError(
            f"{where} has {len(content)} bytes, which is no multiple of the {size} of an image; it is cut short or of "
            "another kind (the binary version is needed, not the one for Python); get it anew"
        )
    records = np.frombuffer(content, np.uint8).reshape(-1, size)
    images = torch.from_numpy(records[:, label_bytes:].reshape(-1, 3, 32, 32).copy())
    return images, torch.from_numpy(records[:, label_bytes - 1].astype(np.int64))


def _load(published: Published, data_dir: Path | None, training: Sequence[str], test: str, label_bytes: int) -> Raw:
    (name,) = published.files
    folder = published.folder(data_dir)
    source = published.path(folder, name) or folder / name
    contents = _members(source, [*training, test])
    parts = [read_records(contents[file], label_bytes, f"{source}: {file}") for file in (*training, test)]
    x, y = (torch.cat(several) for several in zip(*parts[:-1], strict=True))
    held_out: Pair = parts[-1]
    return Raw(x, y, held_out, Augmentation())


def _members(source: Path, names: Sequence[str]) -> dict[str, bytes]:
    """Files of a folder or of an archive, by their last names."""
    if not source.is_dir():
        return archived(source, names)
    try:
        return {name: (source / name).read_bytes() for name in names}
    except OSError as error:
        raise cannot_read(source, error) from None


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
