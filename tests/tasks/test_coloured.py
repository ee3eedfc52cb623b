"""CIFAR, SVHN and California housing: small files in the true formats, made here, by other code where there is any."""

import io
import tarfile

import numpy as np
import pytest
import torch
from scipy.io import savemat

from evomal.foundation.errors import DataError
from evomal.tasks import load_dataset, named_task
from evomal.tasks.augmentation import Augmentation
from evomal.tasks.datasets.coloured import load_cifar10, load_cifar100, load_svhn
from evomal.tasks.datasets.small import load_california

COUNT = 20


def _draw(seed, *shape):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def _archive(path, members):
    with tarfile.open(path, "w:gz") as archive:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))


def cifar_members(classes=10, labels=None, count=COUNT):
    """The binary files by name, with the pixels [file][N, 3, 32, 32] and labels that they hold."""
    names = (
        [*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"]
        if classes == 10
        else ["train.bin", "test.bin"]
    )
    folder = "cifar-10-batches-bin" if classes == 10 else "cifar-100-binary"
    members, truth = {f"{folder}/readme.html": b"not data"}, {}
    for number, name in enumerate(names):
        pixels = _draw(number, count, 3, 32, 32)
        fine = np.arange(count) % classes if labels is None else labels
        records = [
            bytes([int(y)] if classes == 10 else [int(y) // 5, int(y)]) + pixels[i].tobytes()
            for i, y in enumerate(fine)
        ]
        members[f"{folder}/{name}"] = b"".join(records)
        truth[name] = (torch.from_numpy(pixels), torch.from_numpy(fine))
    return members, truth


@pytest.mark.parametrize("packed", [True, False])
def test_cifar10_batches_come_in_order_with_the_original_test_set(tmp_path, packed):
    members, truth = cifar_members()
    if packed:
        _archive(tmp_path / "cifar-10-binary.tar.gz", members)
    else:
        (tmp_path / "cifar-10-batches-bin").mkdir()
        for name, content in members.items():
            (tmp_path / name).write_bytes(content)
    raw = load_cifar10(tmp_path)
    pieces = [truth[f"data_batch_{i}.bin"] for i in range(1, 6)]
    assert torch.equal(raw.x, torch.cat([x for x, _ in pieces]))
    assert torch.equal(raw.y, torch.cat([y for _, y in pieces]))
    assert torch.equal(raw.test[0], truth["test_batch.bin"][0])
    assert raw.augmentation == Augmentation(pad=4, flip=True)


def test_cifar100_has_the_fine_labels(tmp_path):
    members, truth = cifar_members(100, labels=np.array([99, 3, 50] * 10), count=30)
    _archive(tmp_path / "cifar-100-binary.tar.gz", members)
    raw = load_cifar100(tmp_path)
    assert torch.equal(raw.x, truth["train.bin"][0])
    assert torch.equal(raw.y, truth["train.bin"][1])


def test_cut_and_odd_archives_are_one_line(tmp_path):
    members, _ = cifar_members()
    path = tmp_path / "cifar-10-binary.tar.gz"
    _archive(path, members)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"cifar-10-binary\.tar\.gz cannot be read \(\w+: .*\); get it anew$"):
        load_cifar10(tmp_path)
    path.write_bytes(b"<html>not found</html>")
    with pytest.raises(DataError, match=r"cifar-10-binary\.tar\.gz cannot be read \(BadGzipFile: .*\); get it anew$"):
        load_cifar10(tmp_path)
    _archive(path, {name: content for name, content in members.items() if "batch_3" not in name})
    with pytest.raises(DataError, match=r"cifar-10-binary\.tar\.gz lacks data_batch_3\.bin; get it anew$"):
        load_cifar10(tmp_path)
    _archive(path, members | {"cifar-10-batches-bin/data_batch_2.bin": b"\0" * 3074})
    with pytest.raises(DataError) as caught:
        load_cifar10(tmp_path)
    assert str(caught.value) == (
        f"{path}: data_batch_2.bin has 3074 bytes, which is no multiple of the 3073 of an image; it is cut short or of "
        "another kind (the binary version is needed, not the one for Python); get it anew"
    )


@pytest.mark.parametrize("name", ["cifar10", "california-housing"])
def test_damage_anywhere_in_an_archive_is_one_line(tmp_path, name):
    """A byte of the stream, or of the checksum behind it: zlib has errors of its own, or the pixels would be others."""
    if name == "cifar10":
        path = tmp_path / "cifar-10-binary.tar.gz"
        _archive(path, cifar_members(count=3)[0])
    else:
        california(tmp_path)
        path = tmp_path / "cal_housing.tgz"
    load_dataset(name, tmp_path)
    whole = path.read_bytes()
    for place in [*range(60, len(whole) - 8, len(whole) // 40), len(whole) - 7]:
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :])
        with pytest.raises(DataError, match=f"^{path} (cannot be read|lacks) .*; get it anew$"):
            load_dataset(name, tmp_path)


def test_a_wrong_class_count(tmp_path):
    members, _ = cifar_members(labels=np.full(COUNT, 12))
    _archive(tmp_path / "cifar-10-binary.tar.gz", members)
    with pytest.raises(DataError, match=r"'cifar10' has labels from 12 to 12 in its training files, but 10 classes"):
        load_dataset("cifar10", tmp_path)


def svhn(folder, **replaced):
    folder.mkdir(exist_ok=True)
    truth = {}
    for number, name in enumerate(("train", "test")):
        x, y = _draw(number, 32, 32, 3, COUNT), (np.arange(COUNT) % 10 + 1).astype(np.uint8).reshape(-1, 1)
        savemat(folder / f"{name}_32x32.mat", {"X": x, "y": y} | replaced, do_compression=True)
        truth[name] = (x, y)
    return truth


def test_svhn_has_ten_classes_and_a_zero(tmp_path):
    truth = svhn(tmp_path)
    raw = load_svhn(tmp_path)
    x, y = truth["train"]
    assert raw.x.shape == (COUNT, 3, 32, 32)
    assert all(raw.x[n, c, i, j] == x[i, j, c, n] for n, c, i, j in ((0, 0, 0, 0), (3, 2, 5, 31), (19, 1, 30, 7)))
    assert raw.y.tolist() == [int(label) % 10 for label in y[:, 0]]
    assert raw.augmentation == Augmentation(flip=False)
    task = named_task("svhn", "linear", data_dir=tmp_path)
    assert task.make_model(0)(task.test.take(torch.arange(2))[0]).shape == (2, 10)


@pytest.mark.parametrize(
    ("replaced", "message"),
    [
        ({"X": np.zeros((32, 32, 3, COUNT))}, r"no bytes X of shape \[32, 32, 3, N\] \(cropped digits\); get it anew"),
        ({"X": _draw(0, 32, 32, COUNT)}, r"no bytes X of shape"),
        ({"y": np.ones((3, 1))}, r"has 20 images and no y with a label for each; get it anew"),
        ({"y": np.full((COUNT, 1), 11)}, r"holds the label 11, but SVHN has 1 to 10; get it anew"),
    ],
)
def test_odd_svhn_files(tmp_path, replaced, message):
    svhn(tmp_path, **replaced)
    with pytest.raises(DataError, match=message):
        load_svhn(tmp_path)


def test_a_damaged_svhn_file(tmp_path):
    svhn(tmp_path)
    path = tmp_path / "train_32x32.mat"
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(DataError, match=r"train_32x32\.mat cannot be read \(.*\); get it anew$"):
        load_svhn(tmp_path)


def test_coloured_images_stay_bytes_and_are_normalised_by_training_data_channel_by_channel(tmp_path):
    members, _ = cifar_members()
    _archive(tmp_path / "cifar-10-binary.tar.gz", members)
    data = load_dataset("cifar10", tmp_path)
    x = data.train[0]
    assert x.dtype == torch.uint8
    pixels = x.double()
    assert data.normalisation.mean == pytest.approx(pixels.mean((0, 2, 3)).tolist())
    assert data.normalisation.deviation == pytest.approx(pixels.std((0, 2, 3), correction=0).tolist())
    task = named_task("cifar10", "linear", data_dir=tmp_path, augmentation="none")
    batch, _ = task.train.take(torch.arange(len(task.train)))
    assert batch.dtype == torch.float32
    assert batch.double().mean((0, 2, 3)).abs().max().item() < 1e-5
    assert (batch.double().std((0, 2, 3), correction=0) - 1).abs().max().item() < 1e-5


def test_training_batches_are_augmented_and_no_others(tmp_path):
    members, _ = cifar_members()
    _archive(tmp_path / "cifar-10-binary.tar.gz", members)
    usual, plain = (named_task("cifar10", "linear", data_dir=tmp_path, augmentation=a) for a in (None, "none"))
    index = torch.arange(8)
    for name, same in (("train", False), ("valid", True), ("test", True)):
        ours, theirs = (getattr(task, name).take(index) for task in (usual, plain))
        assert torch.equal(ours[0], theirs[0]) == same, name
        assert torch.equal(ours[1], theirs[1])
    assert usual.key != plain.key


def california(folder, text=None):
    rows = np.random.default_rng(0).uniform(1, 100, (12, 9)).round(3)
    lines = "\n".join(",".join(map(str, row)) for row in rows) if text is None else text
    _archive(folder / "cal_housing.tgz", {"CaliforniaHousing/cal_housing.data": lines.encode()})
    return rows


def test_california_housing_is_what_scikit_learn_makes_of_it(tmp_path, monkeypatch):
    from sklearn.datasets import fetch_california_housing

    california(tmp_path)
    monkeypatch.setattr(
        "sklearn.datasets._california_housing._fetch_remote", lambda *a, **k: str(_copied(tmp_path / "cal_housing.tgz"))
    )
    x, y = fetch_california_housing(data_home=tmp_path / "theirs", return_X_y=True)
    raw = load_california(tmp_path)
    np.testing.assert_allclose(raw.x.numpy(), x)
    np.testing.assert_allclose(raw.y.numpy(), y)


def _copied(path):
    copy = path.with_suffix(".copy")
    copy.write_bytes(path.read_bytes())
    return copy


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1,2,3\n4,5,6", r"has 2 rows of 3 numbers, not of 9; get it anew"),
        ("1,2,3,4,5,6,7,8,nine\n" * 3, r"holds something that is no number \(ValueError: .*\); get it anew"),
        ("1,2,3,4,5,6,0,8,9\n" * 3, r"districts without households; get it anew"),
    ],
)
def test_odd_tables_of_california_housing(tmp_path, text, message):
    california(tmp_path, text)
    with pytest.raises(DataError, match=message):
        load_california(tmp_path)
