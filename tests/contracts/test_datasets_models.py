"""Every registered data set with every registered model that takes its inputs."""

import pytest
import torch

from evomal.foundation.errors import ModelError
from evomal.tasks import DATASETS, MODELS, load_dataset, make_factory, probe, task_of

AT_HAND = [name for name, source in DATASETS.items() if source.at_hand()]
FLAT = ("linear", "mlp")


@pytest.fixture(scope="module", params=AT_HAND)
def data(request):
    return load_dataset(request.param)


@pytest.mark.parametrize("model", sorted(MODELS))
def test_a_pair_fits_or_says_in_one_sentence_that_it_does_not(data, model):
    least = {"lenet5": 28, "vgg16": 32, "alexnet": 16}.get(model, 8)
    if model not in FLAT and (len(data.input_shape) != 3 or data.input_shape[1] < least):
        with pytest.raises(ModelError, match=rf"model '{model}' takes (greyscale )?images of .*; choose "):
            make_factory(model, data)
        return
    task = task_of(data, model, width=1 if model in FLAT else 0.1)
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
