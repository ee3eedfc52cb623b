"""Reading the IDX format of MNIST and Fashion-MNIST, strictly."""

import gzip
import math
import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from evomal.foundation.errors import DataError, one_line

UNSIGNED_BYTE = 8  # the one type code that image and label files use


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
