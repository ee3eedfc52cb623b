"""Tasks by name: a registered data set with a registered model."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from evomal.foundation.errors import unknown_name
from evomal.losses.criterion import LossFunction
from evomal.tasks.datasets import DATASETS, Alterations, altered, load_dataset
from evomal.tasks.metrics import Metric
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
        task_loss: None means cross-entropy for classification and squared error for regression.
        metric: None means error rate for classification and squared error for regression.
        train_size: Training instances to keep; None keeps all. This and what follows never touches the test
            split; see `Alterations`.
        imbalance: Ratio of the largest class to the last one, exponential between them, in training and validation.
        label_noise: Share of wrong labels, in training and validation.
        target_noise: Scale of heavy-tailed noise on the standardised targets, in training and validation.

    Returns:
        The task, called ``"dataset/model"`` and what makes it harder.

    Raises:
        UnknownNameError: There is no such data set, model, loss or metric.
        ModelError: The model does not take inputs of this shape.
        DataError: Files are missing or damaged.
        SettingError: A change is out of its range, or for the other kind of task.

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
    data = altered(load_dataset(dataset, data_dir), alterations)
    usual = "cross_entropy" if data.task_type == "classification" else "mse"
    return Task(
        make_factory(model, data),
        data.train,
        data.valid,
        data.test,
        task_loss=usual if task_loss is None else task_loss,
        metric=metric,
        name=f"{dataset}/{model}" + (f" ({alterations.summary})" if alterations.summary else ""),
        dataset=data.name,
        model_name=model,
        task_type=data.task_type,
        device=device,
    )
