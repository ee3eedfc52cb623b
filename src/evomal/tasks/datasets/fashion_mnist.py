"""Fashion-MNIST: 60,000 training and 10,000 test images of clothes, 28×28, ten classes."""

import os
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from evomal.foundation.errors import DataError
from evomal.tasks.datasets.data import Raw
from evomal.tasks.datasets.idx import read_idx

NAME = "fashion-mnist"
HOME = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"
DEBIAN = Path("/usr/share/datasets/fashion-mnist")  # where `apt-get install dataset-fashion-mnist` puts it

# SHA-256 of the files at HOME. Debian's are the same but for the file name and time in the gzip header: with
# these put back, the MD5 sums that the authors publish come out.
FILES = {
    "train-images-idx3-ubyte": "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
    "train-labels-idx1-ubyte": "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
    "t10k-images-idx3-ubyte": "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
    "t10k-labels-idx1-ubyte": "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
}


def load_fashion_mnist(data_dir: Path | None = None) -> Raw:
    """Fashion-MNIST from files at hand, or else downloaded.

    Looked for in `data_dir`, in the folder that the environment variable ``EVOMAL_DATA`` names, in
    ``fashion-mnist`` inside of each, and where Debian's package puts it.

    Args:
        data_dir: A folder with the four files, packed or not; also where a download goes.

    Returns:
        uint8 images [N, 1, 28, 28] and labels [N], with the original test set.

    Raises:
        DataError: A file is damaged, or nothing is at hand and the download fails.

    Source: Xiao, Rasul, Vollgraf, "Fashion-MNIST: a novel image dataset for benchmarking machine learning
    algorithms".
    """
    folder = next((f for f in _folders(data_dir) if all(_file(f, name) for name in FILES)), None)
    if folder is None:
        folder = download(_download_folder(data_dir))
    images, labels = _part(folder, "train")
    return Raw(images, labels, test=_part(folder, "t10k"))


def found(data_dir: Path | None = None) -> bool:
    """Whether the files are at hand, so that nothing needs to be downloaded."""
    return any(all(_file(folder, name) for name in FILES) for folder in _folders(data_dir))


def download(folder: Path, home: str = HOME) -> Path:
    """Download the four files into `folder`; their SHA-256 sums are checked.

    Args:
        folder: Where the files go; files already there are kept.
        home: Address of the folder that holds them.

    Returns:
        `folder`.

    Raises:
        DataError: There is no connection, or a file is not the published one.
    """
    import pooch

    pooch.get_logger().setLevel("WARNING")
    for name, digest in FILES.items():
        try:
            pooch.retrieve(f"{home}{name}.gz", known_hash=f"sha256:{digest}", fname=f"{name}.gz", path=folder)
        except (OSError, ValueError) as error:
            wrong = isinstance(error, ValueError)
            what = "is not the published file" if wrong else f"cannot be downloaded ({type(error).__name__})"
            raise DataError(
                f"data set '{NAME}': {name}.gz {what}; put the four files of {HOME} into {folder}, name "
                "their folder in EVOMAL_DATA, or run `apt-get install dataset-fashion-mnist`"
            ) from error
    return folder


def _folders(data_dir: Path | None) -> Iterator[Path]:
    for named in (data_dir, os.environ.get("EVOMAL_DATA")):
        if named:
            yield from (Path(named).expanduser(), Path(named).expanduser() / NAME)
    yield DEBIAN
    yield _cache()


def _download_folder(data_dir: Path | None) -> Path:
    named = data_dir or os.environ.get("EVOMAL_DATA")
    return Path(named).expanduser() / NAME if named else _cache()


def _cache() -> Path:
    import pooch

    return Path(pooch.os_cache("evomal")) / NAME


def _file(folder: Path, name: str) -> Path | None:
    return next((path for path in (folder / f"{name}.gz", folder / name) if path.is_file()), None)


def _part(folder: Path, part: str) -> tuple[Tensor, Tensor]:
    images_file, labels_file = (
        _file(folder, name) or folder / name for name in (f"{part}-images-idx3-ubyte", f"{part}-labels-idx1-ubyte")
    )
    images, labels = read_idx(images_file, 3), read_idx(labels_file, 1)
    if images.shape[1:] != (28, 28):
        raise DataError(f"{images_file} holds images of {list(images.shape[1:])} pixels, not 28×28; get it anew")
    if len(images) != len(labels):
        raise DataError(f"{images_file} has {len(images)} images but {labels_file} {len(labels)} labels; get both anew")
    return images.unsqueeze(1), labels.to(torch.int64)
