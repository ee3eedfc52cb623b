"""MNIST and Fashion-MNIST: small files of the true format, the two kept apart, and the real set where it is at hand."""

import gzip
import hashlib
import struct

import pytest
import torch

from evomal.foundation.errors import DataError
from evomal.tasks import DATASETS, load_dataset
from evomal.tasks.datasets import files, mnist
from evomal.tasks.datasets.mnist import FASHION, MNIST, load_fashion_mnist, load_mnist

FOUND = [None] if DATASETS["fashion-mnist"].at_hand() else []


def write_small(folder, train=40, test=10, size=28, labels_below=10, packed=True, labels=None):
    """Four small files in the format of the real ones."""
    folder.mkdir(parents=True, exist_ok=True)
    g = torch.Generator().manual_seed(0)
    for part, count in (("train", train), ("t10k", test)):
        images = torch.randint(0, 256, (count, size, size), generator=g, dtype=torch.uint8)
        own = torch.arange(count) % labels_below if labels is None or part == "t10k" else labels
        contents = {
            "images-idx3-ubyte": struct.pack(">4I", 0x803, count, size, size) + images.numpy().tobytes(),
            "labels-idx1-ubyte": struct.pack(">2I", 0x801, count) + bytes(own.tolist()),
        }
        for kind, content in contents.items():
            name = f"{part}-{kind}"
            data = gzip.compress(content, compresslevel=1) if packed else content
            (folder / (f"{name}.gz" if packed else name)).write_bytes(data)


@pytest.fixture(autouse=True)
def nowhere(tmp_path):
    """A machine without the files."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("EVOMAL_DATA", raising=False)
        patch.setitem(FASHION.__dict__, "installed", tmp_path / "absent")
        patch.setattr(files, "cache", lambda: tmp_path / "cache")
        yield patch


@pytest.fixture
def as_it_is(nowhere):
    """This machine, which may have them."""
    nowhere.undo()


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("inside", ["", "fashion-mnist"])
def test_files_are_found_in_the_folder_or_the_one_inside(monkeypatch, tmp_path, packed, inside):
    write_small(tmp_path / "data" / inside, packed=packed)
    raw = load_fashion_mnist(tmp_path / "data")
    assert raw.x.shape == (40, 1, 28, 28)
    assert raw.test[0].shape == (10, 1, 28, 28)
    assert not DATASETS["fashion-mnist"].at_hand()
    monkeypatch.setenv("EVOMAL_DATA", str(tmp_path / "data"))
    assert DATASETS["fashion-mnist"].at_hand()
    assert torch.equal(load_fashion_mnist().x, raw.x)


def test_a_folder_of_the_data_sets_own_comes_first(tmp_path):
    write_small(tmp_path, train=20)
    write_small(tmp_path / "mnist", train=30)
    assert len(load_mnist(tmp_path).x) == 30
    assert len(load_fashion_mnist(tmp_path).x) == 20


@pytest.mark.parametrize(("load", "asked", "ones", "other"), [
    (load_fashion_mnist, "fashion-mnist", 6742, "mnist"),
    (load_mnist, "mnist", 6000, "fashion-mnist"),
])  # fmt: skip
def test_files_of_the_one_are_not_taken_for_the_other(tmp_path, monkeypatch, load, asked, ones, other):
    labels = torch.zeros(60_000, dtype=torch.int64)
    labels[:ones] = 1
    monkeypatch.setattr(mnist, "read_idx", lambda path, dimensions: labels if dimensions == 1 else images)
    images = torch.empty(0, dtype=torch.uint8).new_zeros(1).expand(60_000, 28, 28)
    write_small(tmp_path)
    with pytest.raises(DataError) as caught:
        load(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path} holds the files of '{other}', which are named like those of '{asked}'; put the files of each into "
        "a folder with its name"
    )


def test_the_original_test_set_stays_and_the_validation_split_is_a_tenth(tmp_path):
    write_small(tmp_path, train=200, test=10)
    data = load_dataset("mnist", tmp_path)
    assert [len(y) for _, y in (data.train, data.valid, data.test)] == [180, 20, 10]
    assert data.valid[1].bincount().tolist() == [2] * 10
    assert data.test[1].tolist() == list(range(10))
    assert data.normalisation is None
    assert data.augmentation is None


def test_odd_files_are_refused(tmp_path):
    write_small(tmp_path / "size", size=27)
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte\.gz holds images of \[27, 27\] pixels, not 28×28"):
        load_fashion_mnist(tmp_path / "size")
    write_small(tmp_path / "labels", labels_below=12)
    with pytest.raises(DataError, match=r"has labels from 0 to 11 in its training files, but 10 classes \(0 to 9\)"):
        load_dataset("fashion-mnist", tmp_path / "labels")
    write_small(tmp_path / "count", train=40)
    write_small(tmp_path / "other", train=30)
    (tmp_path / "other" / "train-labels-idx1-ubyte.gz").replace(tmp_path / "count" / "train-labels-idx1-ubyte.gz")
    with pytest.raises(DataError, match=r"images-idx3-ubyte\.gz has 40 images but .*labels-idx1-ubyte\.gz 30 labels"):
        load_fashion_mnist(tmp_path / "count")


def test_a_file_that_is_cut_short(tmp_path):
    write_small(tmp_path)
    path = tmp_path / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte\.gz cannot be read \(EOFError: .*; get it anew$"):
        load_mnist(tmp_path)


@pytest.mark.parametrize("data_dir", FOUND)
def test_the_real_set_is_the_published_one(as_it_is, data_dir):
    raw = load_fashion_mnist(data_dir)
    assert raw.x.shape == (60_000, 1, 28, 28)
    assert raw.y.bincount().tolist() == [6000] * 10
    assert raw.test[0].shape == (10_000, 1, 28, 28)
    assert raw.test[1].bincount().tolist() == [1000] * 10
    # Mean and standard deviation that are in use for the whole training set.
    pixels = raw.x.double() / 255
    assert (pixels.mean().item(), pixels.std().item()) == pytest.approx((0.2860, 0.3530), abs=1e-4)


@pytest.mark.parametrize("data_dir", FOUND)
def test_published_checksums_are_those_of_the_files_at_hand(as_it_is, data_dir):
    """Debian's gzip headers lack name and time; with these back, the checksums of the published files come out."""
    stamps = {"train": 1504176606, "t10k": 1504176627}
    folder = FASHION.found(data_dir)
    for name, digest in FASHION.files.items():
        content = (folder / name).read_bytes()
        if content[3] == 0:  # no name in the header
            header = struct.pack("<4BI2B", 0x1F, 0x8B, 8, 8, stamps[name.split("-")[0]], 0, 3)
            content = header + name.removesuffix(".gz").encode() + b"\0" + content[10:]
        assert hashlib.sha256(content).hexdigest() == digest
    assert set(MNIST.files) == set(FASHION.files)


@pytest.mark.parametrize("data_dir", FOUND)
def test_the_real_validation_split_is_balanced(as_it_is, data_dir):
    data = load_dataset("fashion-mnist", data_dir)
    assert data.train[1].bincount().tolist() == [5400] * 10
    assert data.valid[1].bincount().tolist() == [600] * 10
    assert len(data.test[1]) == 10_000
    assert abs(data.train[0].mean().item()) < 1e-5
    assert data.train[0].std(correction=0).item() == pytest.approx(1, abs=1e-5)
