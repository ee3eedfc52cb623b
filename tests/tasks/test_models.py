"""Models: published parameter counts, shapes and errors."""

import pickle

import pytest
import torch

from evomal.foundation.errors import ModelError, UnknownNameError
from evomal.tasks import load_dataset, make_factory
from evomal.tasks.models import MLP, LeNet5, ModelFactory


def parameters(model):
    return sum(parameter.numel() for parameter in model.parameters())


def test_lenet5_has_the_published_number_of_parameters_layer_by_layer():
    model = LeNet5((1, 28, 28), 10)
    # (5·5·1+1)·6, (5·5·6+1)·16, (256+1)·120, (120+1)·84, (84+1)·10
    weights = [m for m in model.modules() if hasattr(m, "weight")]
    assert [parameters(layer) for layer in weights] == [156, 2416, 30840, 10164, 850]
    assert parameters(model) == 44_426


def test_lenet5_squashes_and_averages():
    kinds = [type(module).__name__ for module in LeNet5((1, 28, 28), 10).modules()]
    assert kinds.count("Tanh") == 4
    assert kinds.count("AvgPool2d") == 2


@pytest.mark.parametrize(
    ("shape", "advice"),
    [
        ((1, 32, 32), ""),
        ((3, 28, 28), ""),
        ((784,), ""),
        ((28, 28), "give them a channel (x[:, None]), or "),
        ((28, 28, 1), "bring the channels first (numpy.moveaxis(x, -1, 1)), or "),
    ],
)
def test_lenet5_takes_28_by_28_greyscale_only(shape, advice):
    with pytest.raises(ModelError) as caught:
        make_factory("lenet5", ModelFactory("", shape, 10))
    assert str(caught.value) == (
        "model 'lenet5' takes greyscale images of shape [1, 28, 28], but instances have shape "
        f"{list(shape)}; {advice}choose 'mlp' or 'linear'"
    )


@pytest.mark.parametrize("name", ["lenet5", "linear", "mlp"])
@pytest.mark.parametrize("outputs", [1, 7, 10])
def test_models_heed_the_number_of_outputs(name, outputs):
    factory = make_factory(name, ModelFactory("", (1, 28, 28), outputs))
    assert factory()(torch.zeros(3, 1, 28, 28)).shape == (3, outputs)


def test_mlp_and_linear_flatten():
    assert make_factory("mlp", load_dataset("digits"))()(torch.zeros(2, 1, 8, 8)).shape == (2, 10)
    assert parameters(make_factory("linear", load_dataset("diabetes"))()) == 11
    assert parameters(MLP((10,), 1, hidden=(4,))) == 10 * 4 + 4 + 4 + 1


def test_a_factory_is_plain_data_and_its_making_draws_nothing():
    before = torch.get_rng_state()
    factory = make_factory("mlp", ModelFactory("", (8,), 3))
    assert torch.equal(torch.get_rng_state(), before)
    assert pickle.loads(pickle.dumps(factory)) == factory


def test_an_unknown_name():
    with pytest.raises(UnknownNameError, match="unknown model 'lenet'; did you mean 'lenet5'"):
        make_factory("lenet", ModelFactory("", (1, 28, 28), 10))
