"""Tasks by name."""

import pickle

import pytest
import torch

from evomal.errors import ModelError, UnknownNameError
from evomal.tasks import load_dataset, named_task


def test_classification_and_regression_have_the_usual_loss_and_metric():
    digits, diabetes = named_task("digits", "mlp"), named_task("diabetes", "linear")
    assert (digits.name, digits.dataset, digits.model_name) == ("digits/mlp", "digits", "mlp")
    assert (digits.task_loss_name, digits.metric.name) == ("cross_entropy", "error_rate")
    assert (diabetes.task_loss_name, diabetes.metric.name) == ("mse", "mse")
    assert torch.equal(digits.test.y, load_dataset("digits").test[1])


def test_loss_and_metric_can_be_chosen():
    task = named_task("diabetes", "mlp", task_loss="mae", metric="mae")
    assert (task.task_loss_name, task.metric.name) == ("mae", "mae")


def test_a_named_task_is_pickled():
    task = named_task("iris", "mlp")
    again = pickle.loads(pickle.dumps(task))
    assert again.key == task.key
    assert again.factory == task.factory


def test_tasks_of_one_set_differ_in_their_key():
    keys = {named_task("iris", model).key for model in ("mlp", "linear")}
    assert len(keys) == 2
    assert named_task("iris", "mlp").key in keys


def test_unknown_names_and_misfits():
    with pytest.raises(UnknownNameError, match=r"unknown data set 'digts'; did you mean 'digits'\?"):
        named_task("digts", "mlp")
    with pytest.raises(UnknownNameError, match=r"unknown model 'mpl'; did you mean 'mlp'\?"):
        named_task("digits", "mpl")
    with pytest.raises(ModelError, match=r"model 'lenet5' takes greyscale images of shape \[1, 28, 28\]"):
        named_task("digits", "lenet5")
