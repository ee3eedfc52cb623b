"""Tasks by name: a registered data set, or a user's file of data, with a registered model."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from evomal.foundation.errors import DataError, SettingError, unknown_name
from evomal.losses import HANDCRAFTED, USUAL
from evomal.losses.criterion import LossFunction
from evomal.tasks.augmentation import get_augmentation
from evomal.tasks.datasets import DATASETS, Alterations, Data, altered, load_dataset, load_file
from evomal.tasks.metrics import CLASSIFICATION, METRICS, MULTILABEL, REGRESSION, Metric
from evomal.tasks.models import MODELS, make_factory
from evomal.tasks.task import Task


def named_task(
    dataset: str,
    model: str,
    *,
    data_dir: str | Path | None = None,
    device: torch.device | str = "cpu",
    task_loss: str | LossFunction | None = None,
    metric: str | Metric | Callable[..., Any] | None = None,
    width: float = 1.0,
    augmentation: str | None = None,
    train_size: int | None = None,
    imbalance: float = 1.0,
    label_noise: float = 0.0,
    target_noise: float = 0.0,
) -> Task:
    """The task of a registered data set and a registered model, made harder if asked.

    Args:
        dataset: A name in `DATASETS`.
        model: A name in `MODELS`.
        data_dir: Where to look for files first; see `load_dataset`.
        device: Where data and models live.
        task_loss: None means cross-entropy for classification, squared error for regression, binary cross-entropy for
            several labels.
        metric: None means error rate for classification, squared error for regression, micro-F1 error for several
            labels.
        width: Factor on the channels or hidden units of the model.
        augmentation: What is done to batches of training images, a name in `AUGMENTATIONS`; None does what is usual
            for the data set: crops and flips for CIFAR, crops for SVHN, else nothing.
        train_size: Training instances to keep; None keeps all. This and what follows never touches the test
            split; see `Alterations`.
        imbalance: Ratio of the largest class to the last one, exponential between them, in training and validation.
        label_noise: Share of wrong labels, in training and validation.
        target_noise: Scale of heavy-tailed noise on the standardised targets, in training and validation.

    Returns:
        The task, called ``"dataset/model"`` and what makes it another than usual.

    Raises:
        UnknownNameError: There is no such data set, model, loss, metric or augmentation.
        ModelError: The model does not take inputs of this shape.
        DataError: Files are missing or damaged.
        SettingError: A value is out of its range, or for the other kind of task.

    Example:
        >>> named_task("diabetes", "linear")
        Task('diabetes/linear', regression, 317 training, 36 validation instances)
        >>> named_task("digits", "mlp", label_noise=0.4, metric="macro_f1").name
        'digits/mlp (label noise 0.4)'
    """
    if model not in MODELS:  # before the data is read
        raise unknown_name("model", model, MODELS)
    if dataset not in DATASETS:
        raise unknown_name("data set", dataset, DATASETS)
    alterations = Alterations(train_size, imbalance, label_noise, target_noise)
    return task_of(
        load_dataset(dataset, data_dir),
        model,
        device=device,
        task_loss=task_loss,
        metric=metric,
        width=width,
        augmentation=augmentation,
        alterations=alterations,
    )


def file_task(
    path: str | Path,
    model: str,
    *,
    target: str | Sequence[str] | None = None,
    device: torch.device | str = "cpu",
    task_loss: str | LossFunction | None = None,
    metric: str | Metric | Callable[..., Any] | None = None,
    width: float = 1.0,
    augmentation: str | None = None,
    train_size: int | None = None,
    imbalance: float = 1.0,
    label_noise: float = 0.0,
    target_noise: float = 0.0,
) -> Task:
    """The task of a user's ``.npz`` or ``.csv`` file and a registered model; see `load_file` for what these hold.

    Whole numbers as targets are classes, unless the task loss or the metric is for regression alone.

    Args:
        path: The file.
        model: A name in `MODELS`.
        target: The name of a table's target column, or the names of several.
        device: Where data and models live.
        task_loss: As for `named_task`.
        metric: As for `named_task`.
        width: As for `named_task`.
        augmentation: As for `named_task`; None does nothing.
        train_size: As for `named_task`, like what follows.
        imbalance: As for `named_task`.
        label_noise: As for `named_task`.
        target_noise: As for `named_task`.

    Returns:
        The task, called ``"FILE/model"``.

    Raises:
        UnknownNameError: There is no such column, model, loss, metric or augmentation.
        ModelError: The model does not take inputs of this shape.
        DataError: The file cannot be read, or does not hold what it should.
        SettingError: A value is out of its range, or for the other kind of task.
    """
    if model not in MODELS:
        raise unknown_name("model", model, MODELS)
    alterations = Alterations(train_size, imbalance, label_noise, target_noise)
    named, kinds = _kinds_of(task_loss, metric)
    data = load_file(path, target, regression=kinds == (REGRESSION,), several=kinds == (MULTILABEL,))
    if kinds == (CLASSIFICATION,) and data.task_type == REGRESSION:
        raise DataError(
            f"{path} has decimals as targets, which are those of a regression, but {named} is for classification; "
            "write classes as whole numbers or as text"
        )
    return task_of(
        data,
        model,
        device=device,
        task_loss=task_loss,
        metric=metric,
        width=width,
        augmentation=augmentation,
        alterations=alterations,
    )


def task_of(
    data: Data,
    model: str,
    *,
    device: torch.device | str = "cpu",
    task_loss: str | LossFunction | None = None,
    metric: str | Metric | Callable[..., Any] | None = None,
    width: float = 1.0,
    augmentation: str | None = None,
    alterations: Alterations | None = None,
) -> Task:
    """The task of a data set that is loaded and a registered model; arguments as for `named_task`.

    Example:
        >>> task_of(load_dataset("iris"), "mlp", width=0.25).name
        'iris/mlp (width 0.25)'
    """
    alterations = alterations or Alterations()
    _require_fitting(data, task_loss)
    name, data = data.name, altered(data, alterations)
    if augmentation is not None:
        data = replace(data, augmentation=get_augmentation(augmentation))
    if data.augmentation is not None:
        data.augmentation.require_images(data.input_shape, f"data set '{name}'")
    changes = [alterations.summary] if alterations.summary else []
    changes += [] if augmentation is None else [f"augmentation {augmentation}"]
    changes += [] if width == 1 else [f"width {width:.15g}"]
    usual = USUAL[data.task_type]
    train, valid, test = data.splits
    return Task(
        make_factory(model, data, width),
        train,
        valid,
        test,
        task_loss=usual if task_loss is None else task_loss,
        metric=metric,
        name=f"{name}/{model}" + (f" ({', '.join(changes)})" if changes else ""),
        dataset=data.name,
        model_name=model,
        task_type=data.task_type,
        device=device,
        valid_alike=True,
    )


def _kinds_of(task_loss: Any, metric: Any) -> tuple[str, tuple[str, ...]]:
    """The kinds of task that the task loss, or else the metric, is for; and how messages call it."""
    if isinstance(task_loss, str) and task_loss in HANDCRAFTED:
        return f"task_loss '{task_loss}'", (HANDCRAFTED[task_loss].task_type,)
    if isinstance(metric, str) and metric in METRICS:
        return f"metric '{metric}'", METRICS[metric].task_types
    return "", ()


def _require_fitting(data: Data, task_loss: Any) -> None:
    """Refuse a task loss by its name that is for another kind of data."""
    kind = HANDCRAFTED[task_loss].task_type if isinstance(task_loss, str) and task_loss in HANDCRAFTED else None
    if kind not in (None, data.task_type):
        raise SettingError(
            f"task_loss '{task_loss}' is for {kind}, but data set '{data.name}' is for {data.task_type}; give another"
        )
