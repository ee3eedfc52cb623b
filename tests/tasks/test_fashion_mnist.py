"""Fashion-MNIST: where its files are looked for, how a download is checked, and the real set where it is at hand."""

import gzip
import hashlib
import http.server
import struct
import threading
from functools import partial

import pytest
import torch

from evomal.foundation.errors import DataError
from evomal.tasks import load_dataset
from evomal.tasks.datasets import fashion_mnist
from evomal.tasks.datasets.fashion_mnist import FILES, download, found, load_fashion_mnist


def write_small(folder, train=40, test=10, size=28, labels_below=10, packed=True):
    """Four small files in the format of the real ones."""
    folder.mkdir(parents=True, exist_ok=True)
    g = torch.Generator().manual_seed(0)
    for part, count in (("train", train), ("t10k", test)):
        images = torch.randint(0, 256, (count, size, size), generator=g, dtype=torch.uint8)
        labels = torch.arange(count) % labels_below
        contents = {
            "images-idx3-ubyte": struct.pack(">4I", 0x803, count, size, size) + images.numpy().tobytes(),
            "labels-idx1-ubyte": struct.pack(">2I", 0x801, count) + bytes(labels.tolist()),
        }
        for kind, content in contents.items():
            name = f"{part}-{kind}"
            (folder / (f"{name}.gz" if packed else name)).write_bytes(gzip.compress(content) if packed else content)


@pytest.fixture
def nowhere(monkeypatch, tmp_path):
    """A machine without the files."""
    monkeypatch.delenv("EVOMAL_DATA", raising=False)
    monkeypatch.setattr(fashion_mnist, "DEBIAN", tmp_path / "absent")
    monkeypatch.setattr(fashion_mnist, "_cache", lambda: tmp_path / "cache")


@pytest.fixture
def server(tmp_path):
    """Serves `tmp_path`/home; gives its address."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    (tmp_path / "home").mkdir()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=tmp_path / "home")) as served:
        threading.Thread(target=served.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{served.server_port}/"
        served.shutdown()


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("inside", ["", "fashion-mnist"])
def test_files_are_found_in_the_folder_or_the_one_inside(nowhere, monkeypatch, tmp_path, packed, inside):
    write_small(tmp_path / "data" / inside, packed=packed)
    raw = load_fashion_mnist(tmp_path / "data")
    assert raw.x.shape == (40, 1, 28, 28)
    assert raw.test[0].shape == (10, 1, 28, 28)
    monkeypatch.setenv("EVOMAL_DATA", str(tmp_path / "data"))
    assert found()
    assert torch.equal(load_fashion_mnist().x, raw.x)


def test_the_original_test_set_stays_and_the_validation_split_is_a_tenth(nowhere, tmp_path):
    write_small(tmp_path, train=200, test=10)
    data = load_dataset("fashion-mnist", tmp_path)
    assert [len(y) for _, y in (data.train, data.valid, data.test)] == [180, 20, 10]
    assert data.valid[1].bincount().tolist() == [2] * 10
    assert data.test[1].tolist() == list(range(10))


def test_odd_files_are_refused(nowhere, tmp_path):
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


def test_without_a_connection_the_message_says_where_files_go(nowhere, monkeypatch, tmp_path):
    monkeypatch.setattr(download, "__defaults__", ("http://127.0.0.1:9/",))
    with pytest.raises(DataError) as caught:
        load_dataset("fashion-mnist", tmp_path / "data")
    assert str(caught.value) == (
        "data set 'fashion-mnist': train-images-idx3-ubyte.gz cannot be downloaded (ConnectionError); put the four "
        "files of http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/ into "
        f"{tmp_path / 'data' / 'fashion-mnist'}, name their folder in EVOMAL_DATA, or run "
        "`apt-get install dataset-fashion-mnist`"
    )


def test_a_download_with_another_checksum_is_refused_and_leaves_nothing(server, tmp_path):
    write_small(tmp_path / "home")
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte\.gz is not the published file; put the four files"):
        download(tmp_path / "to", server)
    assert list((tmp_path / "to").glob("*.gz")) == []


def test_a_download_with_the_right_checksums_is_used(nowhere, server, monkeypatch, tmp_path):
    write_small(tmp_path / "home")
    for name in FILES:
        digest = hashlib.sha256((tmp_path / "home" / f"{name}.gz").read_bytes()).hexdigest()
        monkeypatch.setitem(FILES, name, digest)
    monkeypatch.setattr(download, "__defaults__", (server,))
    assert not found()
    raw = load_fashion_mnist()
    assert raw.x.shape == (40, 1, 28, 28)
    assert sorted(path.name for path in (tmp_path / "cache").iterdir()) == sorted(f"{name}.gz" for name in FILES)
    assert found()


@pytest.mark.parametrize("data_dir", [None] if found() else [])
def test_the_real_set_is_the_published_one(data_dir):
    raw = load_fashion_mnist(data_dir)
    assert raw.x.shape == (60_000, 1, 28, 28)
    assert raw.y.bincount().tolist() == [6000] * 10
    assert raw.test[0].shape == (10_000, 1, 28, 28)
    assert raw.test[1].bincount().tolist() == [1000] * 10
    # Mean and standard deviation that are in use for the whole training set.
    pixels = raw.x.double() / 255
    assert (pixels.mean().item(), pixels.std().item()) == pytest.approx((0.2860, 0.3530), abs=1e-4)


@pytest.mark.parametrize("data_dir", [None] if found() else [])
def test_published_checksums_are_those_of_the_files_at_hand(data_dir):
    """Debian's gzip headers lack name and time; with these back, the checksums of the published files come out."""
    stamps = {"train": 1504176606, "t10k": 1504176627}
    for name, digest in FILES.items():
        path = next(f / f"{name}.gz" for f in fashion_mnist._folders(data_dir) if (f / f"{name}.gz").is_file())
        content = path.read_bytes()
        if content[3] == 0:  # no name in the header
            header = struct.pack("<4BI2B", 0x1F, 0x8B, 8, 8, stamps[name.split("-")[0]], 0, 3)
            content = header + name.encode() + b"\0" + content[10:]
        assert hashlib.sha256(content).hexdigest() == digest


@pytest.mark.parametrize("data_dir", [None] if found() else [])
def test_the_real_validation_split_is_balanced(data_dir):
    data = load_dataset("fashion-mnist", data_dir)
    assert data.train[1].bincount().tolist() == [5400] * 10
    assert data.valid[1].bincount().tolist() == [600] * 10
    assert len(data.test[1]) == 10_000
    assert abs(data.train[0].mean().item()) < 1e-5
    assert data.train[0].std(correction=0).item() == pytest.approx(1, abs=1e-5)
