import math

import pytest
import torch
from torch import nn

from evomal.tasks import Split, get_metric
from evomal.training import evaluate


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def _data(length=2500):
    """More than two chunks, the last of another size."""
    return Split(torch.randn(length, 4), torch.randint(0, 3, (length,)))


def test_the_metric_of_the_whole_split_by_hand():
    split, model = _data(), nn.Linear(4, 3)
    predicted = (split.x @ model.weight.T + model.bias).argmax(1)
    wrong = sum(int(p != y) for p, y in zip(predicted.tolist(), split.y.tolist(), strict=True))
    assert evaluate(model, split, get_metric("error_rate")) == wrong / 2500


def test_a_metric_sees_numbers_that_it_knows_under_autocast():
    seen = []
    metric = lambda outputs, targets: seen.append(outputs.dtype) or torch.zeros(())  # noqa: E731
    with torch.autocast("cpu", dtype=torch.bfloat16):
        evaluate(nn.Linear(4, 3), _data(20), metric)
    assert seen == [torch.float32]


def test_a_metric_that_is_no_mean_over_chunks():
    split, model = Split(torch.arange(2500.0).unsqueeze(1), torch.zeros(2500)), nn.Identity()

    def greatest_minus_least(outputs, targets):
        return outputs.max() - outputs.min()

    assert evaluate(model, split, get_metric(greatest_minus_least)) == 2499.0


def test_evaluation_mode_and_nothing_else_changes():
    split = _data()
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 3))
    model(torch.randn(64, 4))
    model[1].eval()  # frozen statistics in a model that trains
    before, generator = {k: v.clone() for k, v in model.state_dict().items()}, torch.get_rng_state()
    one, other = (evaluate(model, split, get_metric("error_rate")) for _ in range(2))
    assert one == other
    assert [module.training for module in model.modules()] == [True, True, False, True, True]
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), generator)
    model.eval()
    with torch.no_grad():
        assert one == float(get_metric("error_rate")(model(split.x), split.y))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_one_output_that_is_not_finite_is_nan(value):
    split = _data()
    split.x[2400, 0] = value
    assert math.isnan(evaluate(nn.Linear(4, 3), split, get_metric("error_rate")))


def test_the_mode_comes_back_after_an_error():
    model = nn.Sequential(nn.Linear(5, 3), nn.Dropout(0.5))
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        evaluate(model, _data(), get_metric("error_rate"))
    assert model.training
    assert model[1].training


def test_no_graph_is_kept():
    seen = []

    def metric(outputs, targets):
        seen.append(outputs.requires_grad)
        return 0.5

    assert evaluate(nn.Linear(4, 3), _data(10), get_metric(metric)) == 0.5
    assert seen == [False]
