"""Compiled networks and such spread over devices are taken as they were written."""

import pytest
import torch
from torch import nn

from evomal.config import BaseSettings, LocalSearchSettings
from evomal.foundation.errors import ModelError
from evomal.local_search import tune
from evomal.losses import SymbolicLoss
from evomal.tasks import Task

pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
G = torch.Generator().manual_seed(0)
X = torch.randn(60, 3, generator=G)
Y = (X[:, 0] > 0).long()


def plain():
    return nn.Sequential(nn.Linear(3, 4), nn.Sequential(nn.Tanh(), nn.Linear(4, 2)))


def whole():
    return torch.compile(plain(), backend="aot_eager")


def inner():
    model = plain()
    model[1] = torch.compile(model[1], backend="aot_eager")
    return model


def in_place():
    model = plain()
    model.compile(backend="aot_eager")
    model[1].compile(backend="aot_eager")
    return model


def spread():
    return nn.DataParallel(whole())


def _tuned(factory):
    loss = SymbolicLoss("square(sub(y, f))", task_type="classification")
    settings = LocalSearchSettings(meta_steps=3, meta_lr=0.1)
    (outcome,) = tune([loss], Task(factory, (X, Y), name="t", model_name="m"), settings, BaseSettings(lr=0.1), 0)
    if outcome.reason is not None:
        raise ModelError(outcome.reason)
    return loss.weights


@pytest.mark.parametrize("factory", [whole, inner, in_place, spread])
def test_a_wrapped_network_is_tuned_through_as_the_plain_one(factory):
    model = Task(factory, (X, Y)).make_model(3)
    assert str(model) == str(plain())
    assert all(module._compiled_call_impl is None for module in model.modules())
    tuned = _tuned(factory)
    assert torch.equal(tuned, _tuned(plain))
    assert not torch.equal(tuned, torch.ones(3))


@pytest.mark.parametrize("factory", [lambda: torch.jit.script(plain()), lambda: torch.jit.trace(plain(), X)])
def test_a_torchscript_program_is_refused_by_what_it_is(factory):
    message = (
        r"the model is a TorchScript program, .*; leave torch\.jit\.script or torch\.jit\.trace out of its factory"
    )
    with pytest.raises(ModelError, match=message):
        _tuned(factory)


def test_a_torchscript_program_within_a_network_is_left_in_it():
    def factory():
        model = plain()
        model[1] = torch.jit.script(model[1])
        return model

    assert torch.equal(_tuned(factory), _tuned(plain))
