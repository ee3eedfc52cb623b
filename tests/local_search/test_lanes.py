"""Tuning in lanes against `tune`: φ to 1e-6 in double precision, reasons and steps exactly.

In single precision φ agrees to 1e-5 wherever it has an effect. In abs(log(φ1·y · φ2·f)) the gradient is independent of
φ1 and φ2 but for the ε of the protected logarithm: Adam makes steps of full length of what is rounding.
"""

import pytest
import torch
from torch import nn

import evomal
from evomal.config import BaseSettings, LocalSearchSettings
from evomal.local_search import tune
from evomal.local_search.batched_step import BatchedMetaTrainer
from evomal.local_search.batched_tune import LanesTuning, tune_lanes
from evomal.losses import NeuralLoss, TaylorLoss
from evomal.losses.batched import BatchingError
from evomal.losses.batched_families import stack
from evomal.tasks import TaskSet
from helpers import zoo

BASE = BaseSettings(lr=0.3, batch_size=16, momentum=0.5)
FORMULAS = [
    "abs(log(mul(y, f)))", "square(sub(y, f))", "sub(tanh(mul(f, add(y, 1))), mul(y, f))", "div(f, add(y, -1))",
    "mul(y, sqrt(f))",
]  # fmt: skip


@pytest.fixture(autouse=True)
def _double():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture
def single(_double):
    """Float32, for this test."""
    torch.set_default_dtype(torch.float32)


def _task(name="mlp", count=40, **options):
    _, batches = zoo.make(name, torch.get_default_dtype(), count=count)
    return evomal.Task(options.pop("model", zoo.ZOO[name][0]), batches[0], batches[1], name=name, **options)


def _losses(formulas=FORMULAS):
    losses = [evomal.SymbolicLoss(f, task_type="classification", ignore_index=None) for f in formulas]
    with torch.no_grad():
        for number, loss in enumerate(losses):
            loss.weights += 0.1 * torch.randn(loss.weights.shape, generator=torch.Generator().manual_seed(number))
    return losses


def _same(make, task, settings, base=BASE, seed=1):
    """Losses tuned in lanes and one after the other end alike; gives how."""
    ours, theirs = make(), make()
    before = [loss.coefficients for loss in ours]
    tolerance = 1e-5 if torch.get_default_dtype() == torch.float32 else 1e-6
    outcomes = tune_lanes(ours, task, settings, base, seed)
    expected = tune(theirs, task, settings, base, seed)
    assert [(o.steps, o.reason, o.note) for o in outcomes] == [(o.steps, o.reason, o.note) for o in expected]
    for lane, reference in zip(ours, theirs, strict=True):
        for a, b in zip(lane.parameters(), reference.parameters(), strict=True):
            torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)
    moved = [loss.coefficients != numbers for loss, numbers in zip(ours, before, strict=True)]
    assert moved == [o.steps > 0 for o in outcomes]
    return outcomes


@pytest.mark.parametrize(
    "name",
    ["mlp", "relu_in_place", "convolution", "max_pooling", "batch_norm", "group_norm", "dropout", "tied", "frozen",
     "temperature", "embedding"],
)  # fmt: skip
def test_each_lane_is_tuned_as_alone(name):
    outcomes = _same(_losses, _task(name), LocalSearchSettings(meta_steps=4, meta_lr=0.05))
    assert [o.steps for o in outcomes] == [4] * len(FORMULAS)


@pytest.mark.parametrize("base_steps", [1, 2])
def test_in_single_precision(single, base_steps):
    settings = LocalSearchSettings(meta_steps=4, base_steps=base_steps, meta_lr=0.05)
    _same(lambda: _losses(FORMULAS[1:]), _task("convolution"), settings)


@pytest.mark.parametrize("name", ["mlp", "convolution", "batch_norm", "dropout", "frozen"])
def test_several_base_steps(name):
    _same(_losses, _task(name), LocalSearchSettings(meta_steps=3, base_steps=2, meta_lr=0.05))


@pytest.mark.parametrize(
    "options", [{"nesterov": True, "momentum": 0.9}, {"weight_decay": 0.1}, {"momentum": 0.5, "weight_decay": 0.02}]
)
@pytest.mark.parametrize("base_steps", [1, 3])
def test_base_optimisers(options, base_steps):
    base = BaseSettings(lr=0.2, batch_size=16, **options)
    _same(_losses, _task(), LocalSearchSettings(meta_steps=3, base_steps=base_steps, meta_lr=0.05), base)


def test_on_the_training_batch():
    _same(_losses, _task(), LocalSearchSettings(meta_steps=3, task_loss_batch="train", meta_lr=0.05))


@pytest.mark.parametrize("count", [1, 2])
def test_company_does_not_matter(count):
    settings, task = LocalSearchSettings(meta_steps=4, meta_lr=0.05), _task("convolution")
    many, few = _losses(), _losses()[:count]
    tune_lanes(many, task, settings, BASE, seed=1)
    tune_lanes(few, task, settings, BASE, seed=1)
    for a, b in zip(many, few, strict=False):
        torch.testing.assert_close(a.weights, b.weights, rtol=1e-4, atol=1e-5)


def test_several_tasks():
    tasks = TaskSet((_task("mlp"), _task("frozen")))
    _same(_losses, tasks, LocalSearchSettings(meta_steps=3, meta_lr=0.05))


def test_regression_and_a_task_loss_that_looks_at_numbers():
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(60, 6, generator=draw)

    def task_loss(outputs, targets):
        error = (outputs.squeeze(1) - targets.reshape(-1)).square().mean()
        return error if error.item() > 0 else 2 * error

    task = evomal.Task(lambda: nn.Linear(6, 1), (x, x.sum(1)), task_loss=task_loss, metric="mse", name="line")

    def make():
        return [evomal.SymbolicLoss(f, task_type="regression") for f in ("square(sub(y, f))", "abs(sub(f, y))")]

    _same(make, task, LocalSearchSettings(meta_steps=4, meta_lr=0.05), BaseSettings(lr=0.05, batch_size=16))


def test_lanes_that_fail_say_why_and_leave_the_others_alone():
    tower = "square(square(square(square(square(square(square(mul(f, add(y, 1)))))))))"

    def make():
        losses = _losses([FORMULAS[0], tower, "sign(mul(y, f))", FORMULAS[1]])
        with torch.no_grad():
            losses[1].weights.fill_(1e4)
        return losses

    outcomes = _same(make, _task("batch_norm"), LocalSearchSettings(meta_steps=3, meta_lr=0.05))
    assert [(o.steps, o.reason or o.note) for o in outcomes] == [
        (3, None),
        (0, "the loss or its gradient is not finite"),
        (0, "its gradient is zero for any φ"),
        (3, None),
    ]
    assert all(o.seconds > 0 for o in outcomes if o.steps)


def test_a_meta_gradient_that_is_not_finite_ends_the_tuning(single):
    ours, theirs = _losses(FORMULAS[1:3]), _losses(FORMULAS[1:3])
    settings, base = LocalSearchSettings(meta_steps=3), BaseSettings().model_copy(update={"lr": 1e38})
    outcomes = tune_lanes(ours, _task("relu_in_place"), settings, base, 1)
    assert {(o.reason, o.note) for o in outcomes} == {(None, "the meta-gradient was not finite")}
    expected = tune(theirs, _task("relu_in_place"), settings, base, 1)
    assert [o.steps for o in outcomes] == [o.steps for o in expected]
    assert all(torch.isfinite(loss.weights).all() for loss in ours)


def test_the_last_finite_coefficients_are_kept(monkeypatch):
    class Breaking(torch.optim.Adam):
        calls = 0

        def step(self):
            super().step()
            self.calls += 1
            if self.calls == 2:
                self.param_groups[0]["params"][0].data[0, 0] = torch.nan

    settings, task = LocalSearchSettings(meta_steps=3, meta_lr=0.05), _task()
    once, whole, ours = _losses(), _losses(), _losses()
    tune(once, task, settings.model_copy(update={"meta_steps": 1}), BASE, 1)
    tune(whole, task, settings, BASE, 1)
    monkeypatch.setattr(torch.optim, "Adam", Breaking)
    outcomes = tune_lanes(ours, task, settings, BASE, 1)
    assert [(o.steps, o.note) for o in outcomes] == [(2, "φ was no longer finite")] + [(3, None)] * (len(FORMULAS) - 1)
    torch.testing.assert_close(ours[0].weights, once[0].weights)  # also those that were finite
    for lane, reference in zip(ours[1:], whole[1:], strict=True):
        torch.testing.assert_close(lane.weights, reference.weights)


@pytest.mark.parametrize("family", [TaylorLoss, NeuralLoss])
def test_other_families(family):
    def make():
        losses = [family(task_type="classification") for _ in range(2)]
        with torch.no_grad():
            for number, loss in enumerate(losses):
                for parameter in loss.parameters():
                    draw = torch.Generator().manual_seed(number)
                    parameter += 0.3 * torch.randn(parameter.shape, generator=draw)
        return losses

    _same(make, _task(), LocalSearchSettings(meta_steps=3, meta_lr=0.01))


def test_nothing_to_tune():
    assert tune_lanes([], _task(), LocalSearchSettings(), BASE, 1) == []
    (outcome,) = tune_lanes(_losses(["sign(mul(y, f))"]), _task(), LocalSearchSettings(), BASE, 1)
    assert outcome.note == "its gradient is zero for any φ"
    before, losses = _losses(), _losses()
    outcomes = tune_lanes(losses, _task(), LocalSearchSettings(meta_steps=0), BASE, 1)
    assert [o.steps for o in outcomes] == [0] * len(losses)
    assert all(torch.equal(a.weights, b.weights) for a, b in zip(before, losses, strict=True))


def test_steps_are_told():
    seen = []
    tune_lanes(_losses(), _task(), LocalSearchSettings(meta_steps=3), BASE, 1, seen.append)
    assert seen == [0, 1, 2]


class _Hooked(nn.Module):
    """A model whose gradient is not that of what it computes."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(6, 5)

    def forward(self, x):
        out = self.layer(x)
        if out.requires_grad and not torch._C._functorch.is_functorch_wrapped_tensor(out):
            out.register_hook(lambda g: 2 * g)
        return out


@pytest.mark.parametrize("name", ["lstm", "gru", "attention", "weight_norm", "spectral_norm", "transformer"])
def test_models_that_lanes_cannot_have_leave_the_losses_as_they_were(name):
    losses, before = _losses(), _losses()
    with pytest.raises(BatchingError):
        tune_lanes(losses, _task(name), LocalSearchSettings(meta_steps=2), BASE, 1)
    assert all(torch.equal(a.weights, b.weights) for a, b in zip(before, losses, strict=True))


def test_forward_mode_that_is_another_function_is_refused():
    with pytest.raises(BatchingError, match="do not agree"):
        tune_lanes(_losses(), _task(model=_Hooked), LocalSearchSettings(meta_steps=2), BASE, 1)


def test_memory_that_runs_out_is_no_matter_of_lanes():
    def full(outputs, targets):
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(torch.OutOfMemoryError):
        tune_lanes(
            _losses(),
            _task(task_loss=full, metric="error_rate", task_type="classification"),
            LocalSearchSettings(meta_steps=2),
            BASE,
            1,
        )


def test_the_global_generator_stays_as_it_was():
    before = torch.get_rng_state()
    tune_lanes(_losses(), _task("dropout"), LocalSearchSettings(meta_steps=2), BASE, 1)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("name", ["mlp", "convolution", "batch_norm", "frozen"])
def test_meta_steps_of_which_all_lies_on_the_device_are_the_same(name):
    """What a CUDA graph holds, one step after the other on the CPU."""
    task, settings = _task(name), LocalSearchSettings(meta_steps=4)
    found = []
    for resident in (False, True):
        tuning = LanesTuning(stack(_losses()), [BatchedMetaTrainer(task, settings, BASE, 1)], settings)
        for number in range(4):
            if resident and number == 1:
                tuning.reside()
            tuning.step(number)
        assert tuning.at.steps.tolist() == [4] * len(FORMULAS)
        found.append(tuning.at.phi.detach())
    torch.testing.assert_close(*found, rtol=1e-9, atol=1e-12)


def test_models_that_draw_do_not_lie_on_the_device():
    task, settings = _task("dropout"), LocalSearchSettings(meta_steps=2)
    trainer = BatchedMetaTrainer(task, settings, BASE, 1)
    LanesTuning(stack(_losses()), [trainer], settings).step(0)
    assert not trainer.reside(2)
