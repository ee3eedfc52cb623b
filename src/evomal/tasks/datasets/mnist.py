"""MNIST and Fashion-MNIST: 60,000 training and 10,000 test images each, 28×28, ten classes, in IDX files."""

import gzip
import math
import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from evomal.foundation.errors import DataError, one_line
from evomal.tasks.datasets.data import Raw
from evomal.tasks.datasets.files import Published

PARTS = {"train": "training", "t10k": "test"}
NAMES = tuple(f"{part}-{kind}-ubyte.gz" for part in PARTS for kind in ("images-idx3", "labels-idx1"))
UNPACKED = {name: (name.removesuffix(".gz"),) for name in NAMES}

MNIST = Published(
    "mnist",
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    dict(
        zip(
            NAMES,
            (
                "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
                "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
                "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
                "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
            ),
            strict=True,
        )
    ),
    UNPACKED,
)

# Debian's files are the same but for the file name and time in the gzip header: with these put back, the MD5 sums that
# the authors publish come out.
FASHION = Published(
    "fashion-mnist",
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    dict(
        zip(
            NAMES,
            (
                "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
                "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
                "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
                "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
            ),
            strict=True,
        )
    ),
    UNPACKED,
    installed=Path("/usr/share/datasets/fashion-mnist"),
    advice=", or run `apt-get install dataset-fashion-mnist`",
)

# Both have files of the same names: of 60,000 training labels, 6,742 are ones in MNIST, 6,000 in Fashion-MNIST.
ONES = {"mnist": 6_742, "fashion-mnist": 6_000}
UNSIGNED_BYTE = 8  # the one type code that image and label files use


def load_mnist(data_dir: Path | None = None) -> Raw:
    """MNIST from files at hand, or else downloaded; see `Published`.

    Args:
        data_dir: A folder with the four files, packed or not; also where a download goes.

    Returns:
        uint8 images [N, 1, 28, 28] and labels [N], with the original test set.

    Raises:
        DataError: A file is damaged, or nothing is at hand and the download fails.

    Source: LeCun, Cortes, Burges, the MNIST database of handwritten digits.
    """
    return _load(MNIST, data_dir)


def load_fashion_mnist(data_dir: Path | None = None) -> Raw:
    """Fashion-MNIST, as `load_mnist`; also from where Debian's package puts it.

    Args:
        data_dir: A folder with the four files, packed or not; also where a download goes.

    Returns:
        uint8 images [N, 1, 28, 28] and labels [N], with the original test set.

    Raises:
        DataError: A file is damaged, or nothing is at hand and the download fails.

    Source: Xiao, Rasul, Vollgraf, "Fashion-MNIST: a novel image dataset for benchmarking machine learning
    algorithms".
    """
    return _load(FASHION, data_dir)


def _load(published: Published, data_dir: Path | None) -> Raw:
    folder = published.folder(data_dir)
    (images, labels), test = (_part(published, folder, part) for part in PARTS)
    ones = int((labels == 1).sum())
    other = next((name for name, count in ONES.items() if len(labels) == 60_000 and count == ones), published.name)
    if other != published.name:
        raise DataError(
            f"{folder} holds the files of '{other}', which are named like those of '{published.name}'; put the files "
            "of each into a folder with its name"
        )
    return Raw(images, labels, test)


def _part(published: Published, folder: Path, part: str) -> tuple[Tensor, Tensor]:
    images_file, labels_file = (
        published.path(folder, name) or folder / name for name in NAMES if name.startswith(part)
    )
    images, labels = read_idx(images_file, 3), read_idx(labels_file, 1)
    if images.shape[1:] != (28, 28):
        raise DataError(f"{images_file} holds images of {list(images.shape[1:])} pixels, not 28×28; get it anew")
    if len(images) != len(labels):
        raise DataError(f"{images_file} has {len(images)} images but {labels_file} {len(labels)} labels; get both anew")
    return images.unsqueeze(1), labels.to(torch.int64)


def read_idx(path: Path, dimensions: int) -> Tensor:
    """The unsigned bytes of an IDX file.

    The format: two zero bytes, a type code, the number of dimensions, each length as a big-endian 32-bit
    number, then the values, last dimension fastest.

    Args:
        path: The file; one that ends in ``.gz`` is unpacked.
        dimensions: How many dimensions it must have: 3 for images, 1 for labels.

    Returns:
        A uint8 tensor.

    Raises:
        DataError: The file is damaged, has another type or number of dimensions, is cut short or goes on
            after its end.

    Source: LeCun, Cortes, Burges, the MNIST database, "The IDX file format".
    """
    content = _content(path)
    if len(content) < 4 or content[:2] != b"\0\0":
        raise DataError(f"{path} is not an IDX file: it starts with {content[:4].hex() or 'nothing'}; get it anew")
    code, found = content[2], content[3]
    if code != UNSIGNED_BYTE:
        raise DataError(f"{path} holds values of IDX type {code:#04x}, not unsigned bytes (0x08); get it anew")
    if found != dimensions:
        raise DataError(f"{path} has {found} dimensions, not {dimensions}; are images and labels mixed up?")
    start = 4 + 4 * dimensions
    if len(content) < start:
        raise DataError(f"{path} ends within its header of {start} bytes; get it anew")
    shape = tuple(int.from_bytes(content[at : at + 4], "big") for at in range(4, start, 4))
    expected = start + math.prod(shape)
    if len(content) != expected:
        fault = "is cut short" if len(content) < expected else "goes on after its end"
        raise DataError(f"{path} {fault}: {len(content)} bytes, but its header {shape} means {expected}; get it anew")
    return torch.from_numpy(np.frombuffer(content, np.uint8, offset=start).reshape(shape).copy())


def _content(path: Path) -> bytes:
    try:
        if path.suffix == ".gz":
            with gzip.open(path) as file:
                return file.read()
        return path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be read ({one_line(error)}); get it anew") from None
