import struct

import pytest
import torch

import evomal
from evomal.reproduction import execution
from evomal.tasks import DATASETS
from evomal.tasks.datasets import files

SMALL = {
    "population_size": 5, "meta_steps": 1, "neural_steps": 2, "partial_steps": 6, "rejection_steps": 6,
    "rejection_lr": 0.1,
    "rejection_threshold": 0.05, "batch_size": 16, "steps": 6, "lr": 0.05, "max_depth": 2,
}  # fmt: skip
NEEDED = ("mnist", "cifar10", "cifar100", "svhn")


@pytest.fixture(autouse=True)
def nowhere(tmp_path, monkeypatch):
    """A machine without data sets and without a connection."""

    def no_connection(self, folder, home=None):
        raise self._unavailable(next(iter(self.files)), "cannot be downloaded (ConnectionError)", folder)

    monkeypatch.delenv("EVOMAL_DATA", raising=False)
    monkeypatch.setattr(files, "cache", lambda: tmp_path / "cache")
    monkeypatch.setattr(files.Published, "download", no_connection)


@pytest.fixture(scope="session")
def images(tmp_path_factory):
    """A folder with MNIST's files in their true format: each class has a bright square in a place of its own."""
    folder = tmp_path_factory.mktemp("data") / "mnist"
    folder.mkdir()
    draw = torch.Generator().manual_seed(0)
    for part, count in (("train", 120), ("t10k", 40)):
        y = torch.arange(count) % 10
        x = torch.randint(0, 60, (count, 28, 28), generator=draw, dtype=torch.uint8)
        for image, label in zip(x, y.tolist(), strict=True):
            row, column = divmod(label, 4)
            image[8 * row + 2 : 8 * row + 8, 7 * column : 7 * column + 6] = 250
        for name, content in {
            "images-idx3-ubyte": struct.pack(">4I", 0x803, count, 28, 28) + x.numpy().tobytes(),
            "labels-idx1-ubyte": struct.pack(">2I", 0x801, count) + bytes(y.tolist()),
        }.items():
            (folder / f"{part}-{name}").write_bytes(content)
    return folder.parent


@pytest.fixture
def clouds(tmp_path, monkeypatch):
    """A folder with which every data set is there, and is clouds of points for a linear model."""

    def named_task(dataset, model, *, data_dir, device):
        classes = 5 if dataset == "cifar100" else 3
        draw = torch.Generator().manual_seed(classes)
        y = torch.arange(150) % classes
        x = 2 * torch.randn(classes, 4, generator=draw)[y] + torch.randn(150, 4, generator=draw)
        parts = [(x[at : at + 50], y[at : at + 50]) for at in (0, 50, 100)]
        factory = lambda: torch.nn.Linear(4, classes)  # noqa: E731
        return evomal.Task(factory, *parts, name=f"{dataset}/{model}", dataset=dataset, model_name=model)

    monkeypatch.setattr(execution, "named_task", named_task)
    for name in NEEDED:
        (tmp_path / "data" / name).mkdir(parents=True)
        for file in DATASETS[name].published.files:
            (tmp_path / "data" / name / file).write_bytes(b"")
    return tmp_path / "data"
