import pytest
import torch
from torch.nn.functional import cross_entropy

import evomal
from evomal.config import BaseSettings, LocalSearchSettings
from evomal.foundation.seeds import derive
from evomal.local_search import tune
from evomal.tasks import Batches
from helpers import oracles, zoo

OVERFLOWING = BaseSettings().model_copy(update={"lr": 1e38})  # more than a user may give


FORMULAS = ["abs(log(mul(y, f)))", "square(sub(y, f))", "sub(tanh(mul(f, add(y, 1))), mul(y, f))"]


def _task(name="mlp", count=40, **options):
    _, batches = zoo.make(name, torch.float32, count=count)
    return evomal.Task(zoo.ZOO[name][0], batches[0], batches[1], name=name, **options)


def _losses():
    return [evomal.SymbolicLoss(f, task_type="classification", ignore_index=None) for f in FORMULAS]


BASE = BaseSettings(lr=0.3, batch_size=16, momentum=0.5)


@pytest.mark.parametrize("base_steps", [1, 2])
@pytest.mark.parametrize("on", ["valid", "train"])
def test_equals_adam_on_meta_gradients_by_double_backward(base_steps, on):
    task, settings = (
        _task(),
        LocalSearchSettings(meta_steps=4, base_steps=base_steps, task_loss_batch=on, meta_lr=0.05),
    )
    (ours,), (reference,) = _losses()[2:], _losses()[2:]
    (outcome,) = tune([ours], task, settings, BASE, seed=3)
    assert (outcome.steps, outcome.reason, outcome.note) == (4, None, None)
    optimizer = torch.optim.Adam(reference.parameters(), lr=0.05)
    train = Batches(len(task.train), 16, 3, task.key, "tune", "train")
    valid = Batches(len(task.valid), 16, 3, task.key, "tune", "valid")
    for step in range(4):
        model = task.make_model(derive(3, task.key, "tune", "init", step))
        batches = [task.train.take(train.index(step * base_steps + k)) for k in range(base_steps)]
        last = batches[-1] if on == "train" else task.valid.take(valid.index(step))
        (reference.weights.grad,) = oracles.double_backward(
            reference, model, batches, last, cross_entropy, lr=0.3, momentum=0.5
        )
        optimizer.step()
    torch.testing.assert_close(ours.weights, reference.weights, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(ours.weights, torch.ones_like(ours.weights), atol=1e-2)


@pytest.mark.parametrize("name", sorted(zoo.ZOO))
def test_a_loss_is_tuned_alike_in_any_company_for_every_kind_of_model(name):
    settings = LocalSearchSettings(meta_steps=3)
    together, alone = _losses(), _losses()[1:2]
    outcomes = tune(together, _task(name), settings, BASE, seed=1)
    tune(alone, _task(name), settings, BASE, seed=1)
    assert [(o.steps, o.reason) for o in outcomes] == [(3, None)] * 3
    assert torch.equal(together[1].weights, alone[0].weights)
    assert not torch.equal(together[1].weights, torch.ones(3))


def test_no_meta_steps_leave_the_weights():
    losses = _losses()
    outcomes = tune(losses, _task(), LocalSearchSettings(meta_steps=0), BASE, seed=1)
    assert all(torch.equal(loss.weights, torch.ones_like(loss.weights)) for loss in losses)
    assert [o.steps for o in outcomes] == [0, 0, 0]


def test_global_generators_and_threads_are_left_alone():
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    tune(_losses(), _task("dropout"), LocalSearchSettings(meta_steps=2), BASE, seed=1)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_num_threads() == threads


def test_a_loss_without_gradient_is_not_tuned():
    flat = evomal.SymbolicLoss("add(y, sign(f))", task_type="classification")
    (outcome,) = tune([flat], _task(), LocalSearchSettings(meta_steps=5), BASE, seed=1)
    assert (outcome.steps, outcome.reason, outcome.note) == (0, None, "its gradient is zero for any φ")


def test_a_loss_that_overflows_is_of_no_use_and_the_others_go_on():
    tower = "add(mul(y, f), " + "square(" * 12 + "add(1, add(1, f))" + ")" * 13
    losses = [_losses()[0], evomal.SymbolicLoss(tower, task_type="classification", ignore_index=None)]
    healthy, broken = tune(losses, _task(), LocalSearchSettings(meta_steps=3), BASE, seed=1)
    assert (healthy.steps, healthy.reason) == (3, None)
    assert broken.reason == "the loss or its gradient is not finite"
    assert torch.isfinite(losses[1].weights).all()


def test_a_meta_gradient_that_overflows_keeps_the_last_finite_weights():
    loss = evomal.SymbolicLoss("square(sub(y, f))", task_type="classification", ignore_index=None)
    (outcome,) = tune([loss], _task("relu_in_place"), LocalSearchSettings(meta_steps=3), OVERFLOWING, seed=1)
    assert outcome.reason is None
    assert outcome.note == "the meta-gradient was not finite"
    assert torch.isfinite(loss.weights).all()


def _neural():
    return evomal.NeuralLoss(task_type="classification", hidden=7, ignore_index=None)


def _taylor():
    parameters = [0.1, 0.3, 0.5, -1.0, 0.2, 2.0, 0.4, -0.3]
    return evomal.TaylorLoss(parameters, task_type="classification", ignore_index=None)


@pytest.mark.parametrize("make", [_neural, _taylor])
@pytest.mark.parametrize("base_steps", [1, 2])
@pytest.mark.parametrize("name", ["mlp", "convolution"])
def test_other_families_are_tuned_by_the_same_meta_gradients(make, base_steps, name):
    task, ours, reference = _task(name), make(), make()
    settings = LocalSearchSettings(meta_steps=2, base_steps=base_steps, meta_lr=0.02)
    (outcome,) = tune([ours], task, settings, BASE, seed=3)
    assert (outcome.steps, outcome.reason, outcome.note) == (2, None, None)
    optimizer, first = torch.optim.Adam(reference.parameters(), lr=0.02), None
    train = Batches(len(task.train), 16, 3, task.key, "tune", "train")
    valid = Batches(len(task.valid), 16, 3, task.key, "tune", "valid")
    for step in range(2):
        model = task.make_model(derive(3, task.key, "tune", "init", step))
        batches = [task.train.take(train.index(step * base_steps + k)) for k in range(base_steps)]
        last = task.valid.take(valid.index(step))
        gradients = oracles.double_backward(reference, model, batches, last, cross_entropy, lr=0.3, momentum=0.5)
        first = first or gradients
        for parameter, gradient in zip(reference.parameters(), gradients, strict=True):
            parameter.grad = gradient
        optimizer.step()
    for one, other, start, moving in zip(
        ours.parameters(), reference.parameters(), make().parameters(), first, strict=True
    ):
        # Where a gradient is all rounding, as that of θ2 is, Adam's step has no sign to agree on.
        known = moving.abs() > 1e-5 * moving.abs().max()
        torch.testing.assert_close(one[known], other[known], rtol=1e-3, atol=1e-4)
        assert known.float().mean() > 0.4
        assert not torch.allclose(one, start, atol=1e-3)


@pytest.mark.parametrize("make", [_neural, _taylor])
def test_other_families_are_tuned_alike_in_any_company(make):
    settings = LocalSearchSettings(meta_steps=3)
    together = [make(), make()]
    with torch.no_grad():
        for parameter in together[0].parameters():
            parameter.mul_(1.5)
    alone = make()
    outcomes = tune(together, _task(), settings, BASE, seed=1)
    tune([alone], _task(), settings, BASE, seed=1)
    assert [(o.steps, o.reason) for o in outcomes] == [(3, None)] * 2
    assert together[1].coefficients == alone.coefficients != make().coefficients


@pytest.mark.parametrize("make", [_neural, _taylor])
def test_coefficients_that_are_no_longer_finite_are_put_back_together(make, monkeypatch):
    class Breaking(torch.optim.Adam):
        calls = 0

        def step(self):
            super().step()
            self.calls += 1
            if self.calls == 2:
                self.param_groups[0]["params"][0].data[0] = torch.nan

    once, alone, broken, healthy = make(), make(), make(), make()
    tune([once], _task(), LocalSearchSettings(meta_steps=1), BASE, seed=1)
    tune([alone], _task(), LocalSearchSettings(meta_steps=3), BASE, seed=1)
    monkeypatch.setattr(torch.optim, "Adam", Breaking)
    first, second = tune([broken, healthy], _task(), LocalSearchSettings(meta_steps=3), BASE, seed=1)
    assert (first.steps, first.reason, first.note) == (2, None, "φ was no longer finite")
    assert (second.steps, second.reason, second.note) == (3, None, None)
    assert broken.coefficients == once.coefficients  # also those that were finite
    assert healthy.coefficients == alone.coefficients


def test_a_meta_gradient_that_overflows_keeps_all_matrices():
    loss = _neural()
    (outcome,) = tune([loss], _task("relu_in_place"), LocalSearchSettings(meta_steps=3), OVERFLOWING, seed=1)
    assert (outcome.steps, outcome.reason, outcome.note) == (0, None, "the meta-gradient was not finite")
    assert loss.coefficients == _neural().coefficients
