"""Every registered data set with every registered model that takes its inputs."""

import pytest
import torch

from evomal.foundation.errors import ModelError
from evomal.tasks import DATASETS, MODELS, load_dataset, make_factory, named_task, probe
from evomal.tasks.datasets.fashion_mnist import found

AT_HAND = [name for name in DATASETS if name != "fashion-mnist" or found()]


@pytest.fixture(scope="module", params=AT_HAND)
def data(request):
    return load_dataset(request.param)


@pytest.mark.parametrize("model", sorted(MODELS))
def test_a_pair_fits_or_says_in_one_sentence_that_it_does_not(data, model):
    if model == "lenet5" and data.input_shape != (1, 28, 28):
        with pytest.raises(ModelError, match="model 'lenet5' takes greyscale images"):
            make_factory(model, data)
        return
    task = named_task(data.name, model)
    probe(task)
    outputs = task.make_model(0)(task.test.take(torch.arange(5))[0])
    assert outputs.shape == (5, data.classes or 1)
    assert task.classes == data.classes
    assert (task.metric.name, task.task_loss_name) == (
        ("error_rate", "cross_entropy") if data.classes else ("mse", "mse")
    )


def test_data_are_finite_and_of_one_form(data):
    for x, y in (data.train, data.valid, data.test):
        assert x.shape[1:] == data.input_shape
        assert len(x) == len(y) > 0
        assert x.dtype == torch.float32
        assert torch.isfinite(x).all()
        assert torch.isfinite(y).all()
        assert y.shape == (len(x),)
        assert y.dtype == (torch.int64 if data.classes else torch.float32)


def test_every_class_is_in_every_part(data):
    if data.classes is None:
        assert data.target_scale is not None
        return
    for _, y in (data.train, data.valid, data.test):
        assert y.unique().tolist() == list(range(data.classes))
