"""The eight tasks: real data, divided anew for every draw; test data have no part in any choice."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import torch
from sklearn.datasets import load_diabetes
from sklearn.model_selection import train_test_split
from torch import Tensor
from torch.nn.functional import avg_pool2d

from evomal import Task
from evomal.foundation.seeds import derive
from evomal.tasks.datasets import load_dataset
from evomal.tasks.models.simple import MLP, LeNet5

TEST = 0.2  # of a table without a test set of its own
Arrays = tuple[np.ndarray, np.ndarray]


class Drawn(NamedTuple):
    """Training and test data of one draw."""

    train: Arrays
    test: Arrays


def wrong_labels(data: Path, draw: np.random.Generator) -> Task:
    """Fashion-MNIST at 14×14, 5,000 training images, 40 % of their labels wrong, all other classes equally likely."""
    drawn = _fashion(data, draw, [500] * 10)
    x, y = drawn.train
    wrong = draw.random(len(y)) < 0.4
    y = np.where(wrong, (y + draw.integers(1, 10, len(y))) % 10, y)
    return _task("wrong labels", drawn._replace(train=(x, y)), "error_rate")


def rare_classes(data: Path, draw: np.random.Generator) -> Task:
    """Fashion-MNIST at 14×14: class k has 2,000 · 100^(-k/9) training images, from 2,000 down to 20."""
    counts = [round(2000 * 100 ** (-k / 9)) for k in range(10)]
    return _task("rare classes", _fashion(data, draw, counts), "balanced_error_rate")


def few_images(data: Path, draw: np.random.Generator) -> Task:
    """1,000 images of digits, 100 of each class, LeNet-5."""
    arrays = np.load(data / "mnist5k.npz")
    x, y = _scaled_images(torch.from_numpy(arrays["x"]).unsqueeze(1)), arrays["y"]
    parts = train_test_split(x, y, train_size=1000, stratify=y, random_state=_state(draw))
    return _task("few images", Drawn((parts[0], parts[2]), (parts[1], parts[3])), "error_rate", LeNet5)


def uneven_classes(data: Path, draw: np.random.Generator) -> Task:
    """Run times of jobs on a cluster, four classes of 259 to 2,211 jobs."""
    return _table("uneven classes", data / "hpc.npz", draw, "macro_f1")


def uneven_costs(data: Path, draw: np.random.Generator) -> Task:
    """Customers that leave, 26.5 %; one that is missed costs as much as five false alarms."""
    return _table("uneven costs", data / "churn.npz", draw, missed_cost_five)


def ranking(data: Path, draw: np.random.Generator) -> Task:
    """Cells that were segmented well, 35.6 %; what counts is their order."""
    return _table("ranking", data / "cells.npz", draw, "one_minus_auc")


def shares_of_prices(data: Path, draw: np.random.Generator) -> Task:
    """House prices; a prediction counts as wrong if it is off by more than a tenth of the price."""
    arrays = np.load(data / "ames.npz")
    drawn, centre, spread = _standardised(_divided(arrays["x"], arrays["y"], draw, None))
    return _task("shares of prices", drawn, partial(off_by_a_tenth, centre=centre, spread=spread), task_loss="mse")


def noisy_targets(data: Path, draw: np.random.Generator) -> Task:
    """Progress of diabetes; training targets have noise of Student's t with two degrees of freedom."""
    x, y = load_diabetes(return_X_y=True)
    drawn, _, _ = _standardised(_divided(x, y, draw, None))
    inputs, targets = drawn.train
    noisy = (targets + draw.standard_t(2, targets.shape)).astype(np.float32)
    return _task("noisy targets", drawn._replace(train=(inputs, noisy)), "mae", task_loss="mse")


TASKS: Mapping[str, Callable[[Path, np.random.Generator], Task]] = MappingProxyType(
    {
        "wrong_labels": wrong_labels,
        "rare_classes": rare_classes,
        "few_images": few_images,
        "uneven_classes": uneven_classes,
        "uneven_costs": uneven_costs,
        "ranking": ranking,
        "shares_of_prices": shares_of_prices,
        "noisy_targets": noisy_targets,
    }
)


def suite_task(name: str, data: Path, draw: int) -> Task:
    """One of the tasks, for one draw of its data.

    Args:
        name: A name in `TASKS`.
        data: Folder of the npz files.
        draw: Number of the draw.
    """
    return TASKS[name](data, np.random.default_rng(derive("suite", name, draw)))


def missed_cost_five(outputs: Tensor, targets: Tensor) -> float:
    """Mean cost: 5 for a positive that is missed, 1 for a false alarm."""
    found = outputs.argmax(1)
    return float((5.0 * ((targets == 1) & (found == 0)) + ((targets == 0) & (found == 1))).mean())


def off_by_a_tenth(outputs: Tensor, targets: Tensor, centre: float, spread: float) -> float:
    """Share of predictions that differ from the price by more than a tenth of it."""
    price, said = (value.flatten() * spread + centre for value in (targets, outputs))
    return float(((said - price).abs() > 0.1 * price.abs()).float().mean())


def _fashion(data: Path, draw: np.random.Generator, counts: list[int]) -> Drawn:
    found = load_dataset("fashion-mnist")
    (x, y), test = found.train, found.test
    labels = y.numpy()
    rows = np.concatenate(
        [draw.choice(np.flatnonzero(labels == k), count, replace=False) for k, count in enumerate(counts)]
    )
    small, other = (avg_pool2d(images, 2).flatten(1).numpy() for images in (x[torch.from_numpy(rows)], test[0]))
    return Drawn((small, labels[rows]), (other, test[1].numpy()))


def _scaled_images(pixels: Tensor) -> np.ndarray:
    return (pixels.float() / 255 - 0.5).numpy()


def _table(name: str, file: Path, draw: np.random.Generator, metric: object) -> Task:
    arrays = np.load(file)
    drawn = _divided(arrays["x"], arrays["y"], draw, arrays["y"])
    return _task(name, drawn, metric)


def _divided(x: np.ndarray, y: np.ndarray, draw: np.random.Generator, classes: np.ndarray | None) -> Drawn:
    """A fifth for the test; inputs are standardised by what training data say."""
    parts = train_test_split(x, y, test_size=TEST, stratify=classes, random_state=_state(draw))
    mean, deviation = parts[0].mean(0), parts[0].std(0)
    deviation[deviation == 0] = 1
    train, test = (((part - mean) / deviation).astype(np.float32) for part in parts[:2])
    return Drawn((train, parts[2]), (test, parts[3]))


def _standardised(drawn: Drawn) -> tuple[Drawn, float, float]:
    centre, spread = float(drawn.train[1].mean()), float(drawn.train[1].std())
    train, test = ((x, ((y - centre) / spread).astype(np.float32)) for x, y in drawn)
    return Drawn(train, test), centre, spread


def _state(draw: np.random.Generator) -> int:
    return int(draw.integers(2**31))


def _task(
    name: str,
    drawn: Drawn,
    metric: object,
    model: type[torch.nn.Module] | None = None,
    task_loss: str = "cross_entropy",
) -> Task:
    (x, y), test = drawn
    outputs = int(y.max()) + 1 if task_loss == "cross_entropy" else 1
    small = partial(MLP, tuple(x.shape[1:]), outputs, hidden=(64,))
    factory = small if model is None else partial(model, tuple(x.shape[1:]), outputs)
    return Task(factory, (x, y), test=test, task_loss=task_loss, metric=metric, name=name, model_name="network")
