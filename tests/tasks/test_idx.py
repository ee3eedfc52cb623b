"""The IDX reader: byte-exact on good files, one sentence on every kind of bad one."""

import gzip
import struct

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from evomal.foundation.errors import DataError
from evomal.tasks.datasets.mnist import read_idx


def idx_bytes(values, code=8):
    return struct.pack(f">HBB{values.dim()}I", 0, code, values.dim(), *values.shape) + bytes(values.flatten().tolist())


@settings(deadline=None, derandomize=True, max_examples=25)
@given(shape=st.lists(st.integers(0, 5), min_size=1, max_size=3), packed=st.booleans(), seed=st.integers(0, 99))
def test_what_was_written_is_read(tmp_path_factory, shape, packed, seed):
    values = torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)
    path = tmp_path_factory.mktemp("idx") / ("images.gz" if packed else "images")
    path.write_bytes(gzip.compress(idx_bytes(values)) if packed else idx_bytes(values))
    read = read_idx(path, len(shape))
    assert read.dtype == torch.uint8
    assert torch.equal(read, values)


GOOD = idx_bytes(torch.arange(12, dtype=torch.uint8).reshape(3, 2, 2))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not an IDX file: it starts with nothing; get it anew"),
        (b"<html>", "is not an IDX file: it starts with 3c68746d; get it anew"),
        (GOOD[:2] + b"\x0d" + GOOD[3:], r"holds values of IDX type 0x0d, not unsigned bytes \(0x08\); get it anew"),
        (GOOD[:3] + b"\x01" + GOOD[4:], r"has 1 dimensions, not 3; are images and labels mixed up\?"),
        (GOOD[:10], "ends within its header of 16 bytes; get it anew"),
        (GOOD[:-1], r"is cut short: 27 bytes, but its header \(3, 2, 2\) means 28; get it anew"),
        (GOOD + b"\0", r"goes on after its end: 29 bytes, but its header \(3, 2, 2\) means 28; get it anew"),
    ],
)
def test_damaged_files_are_named(tmp_path, content, message):
    path = tmp_path / "images-idx3-ubyte"
    path.write_bytes(content)
    with pytest.raises(DataError, match=f"images-idx3-ubyte {message}"):
        read_idx(path, 3)


def test_a_packed_file_that_is_cut_short_or_not_packed(tmp_path):
    path = tmp_path / "images.gz"
    path.write_bytes(gzip.compress(GOOD)[:-6])
    with pytest.raises(DataError, match=r"images\.gz cannot be read \(EOFError: .*\); get it anew"):
        read_idx(path, 3)
    path.write_bytes(GOOD)
    with pytest.raises(DataError, match=r"images\.gz cannot be read \(BadGzipFile: .*\); get it anew"):
        read_idx(path, 3)
    with pytest.raises(DataError, match=r"cannot be read \(FileNotFoundError: .*\); get it anew"):
        read_idx(tmp_path / "absent", 3)
