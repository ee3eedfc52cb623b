"""CIFAR-10 and CIFAR-100: 50,000 training and 10,000 test images each, 3×32×32, in their authors' binary files."""

import tarfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from evomal.foundation.errors import DataError
from evomal.tasks.augmentation import Augmentation
from evomal.tasks.datasets.data import Pair, Raw
from evomal.tasks.datasets.files import Published, cannot_read

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
    """Files of a folder or of an archive, which is read and not unpacked, by their last names."""
    try:
        if source.is_dir():
            return {name: (source / name).read_bytes() for name in names}
        found = {}
        with tarfile.open(source, "r:gz") as archive:
            for member in archive:
                file = archive.extractfile(member) if member.isfile() else None
                if file is not None and Path(member.name).name in names:
                    found[Path(member.name).name] = file.read()
    except (OSError, EOFError, tarfile.TarError) as error:
        raise cannot_read(source, error) from None
    missing = [name for name in names if name not in found]
    if missing:
        raise DataError(f"{source} lacks {', '.join(missing)}; get it anew")
    return found
