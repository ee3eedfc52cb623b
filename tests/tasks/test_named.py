"""Tasks by name."""

import pickle

import pytest
import torch

from evomal.foundation.errors import ModelError, SettingError, UnknownNameError
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


def test_a_task_made_harder_is_another_task_under_a_name_that_says_so():
    clean, noisy = named_task("digits", "mlp"), named_task("digits", "mlp", label_noise=0.4)
    assert (noisy.name, noisy.dataset) == ("digits/mlp (label noise 0.4)", "digits (label noise 0.4)")
    assert (noisy.model_name, noisy.classes) == ("mlp", 10)
    assert (clean.train.y != noisy.train.y).sum() == round(0.4 * 1293)
    assert torch.equal(clean.test.x, noisy.test.x)
    assert torch.equal(clean.test.y, noisy.test.y)
    assert named_task("digits", "mlp", imbalance=1, label_noise=0).key == clean.key != noisy.key
    assert pickle.loads(pickle.dumps(noisy)).key == noisy.key == named_task("digits", "mlp", label_noise=0.4).key


def test_every_change_can_be_asked_for_by_a_keyword():
    task = named_task("digits", "linear", train_size=500, imbalance=5, label_noise=0.25, metric="macro_f1")
    assert task.dataset == "digits (train size 500, imbalance 5, label noise 0.25)"
    assert (task.metric.name, task.train.y.dtype) == ("macro_f1", torch.int64)
    noisy = named_task("diabetes", "linear", target_noise=0.5, task_loss="huber", metric="mae")
    assert (noisy.name, noisy.task_loss_name) == ("diabetes/linear (target noise 0.5)", "huber")
    assert not torch.equal(noisy.train.y, named_task("diabetes", "linear").train.y)


def test_classes_are_those_of_the_data_set_even_where_training_lacks_one():
    task = named_task("digits", "linear", train_size=5)
    assert task.classes == len(task.class_counts) == 10
    assert int(task.class_counts.sum()) == 5
    assert int(task.class_counts.min()) == 0


def test_changes_that_do_not_fit():
    with pytest.raises(SettingError, match=r"^label_noise is for classification, but data set 'diabetes' is for "):
        named_task("diabetes", "linear", label_noise=0.1)
    with pytest.raises(SettingError, match=r"^imbalance is nan; choose a ratio from 1 to below 1e9, such as 100$"):
        named_task("digits", "linear", imbalance=float("nan"))


def test_unknown_names_and_misfits():
    with pytest.raises(UnknownNameError, match=r"unknown data set 'digts'; did you mean 'digits'\?"):
        named_task("digts", "mlp")
    with pytest.raises(UnknownNameError, match=r"unknown model 'mpl'; did you mean 'mlp'\?"):
        named_task("digits", "mpl")
    with pytest.raises(ModelError, match=r"model 'lenet5' takes greyscale images of shape \[1, 28, 28\]"):
        named_task("digits", "lenet5")
