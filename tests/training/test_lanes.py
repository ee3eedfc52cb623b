"""Training in lanes against the same trainings one at a time: to 1e-4 in single precision after some steps."""

import copy
import math

import pytest
import torch
from torch import nn

from evomal.config import BaseSettings
from evomal.losses import NeuralLoss, SymbolicLoss, TaylorLoss
from evomal.losses.batched import BatchingError
from evomal.losses.batched_families import stack
from evomal.tasks import Batches, Split
from evomal.tasks.metrics import get_metric
from evomal.training import Fit, evaluate, fit
from evomal.training.batched_fit import fit_lanes
from evomal.training.batched_model import BatchedModel, require_faithful
from evomal.training.graphs import WARM_UP, GraphedStep
from evomal.training.precision import autocast, precision
from helpers import zoo

TREES = ["mul(y, log(f))", "square(sub(y, f))", "sub(tanh(mul(f, add(y, 1))), mul(y, log(f)))", "abs(sub(f, y))"]
STEPS = 12


def _losses(trees=TREES, scale=-1.0):
    losses = [SymbolicLoss(tree, task_type="classification") for tree in trees]
    with torch.no_grad():
        losses[0].weights.mul_(-1)
    return [loss.requires_grad_(False) for loss in losses]


def _case(name):
    model, batches = zoo.make(name, torch.float32, count=30)
    splits = [Split(*batch) for batch in batches[:2]]
    return model, *splits


def _each(model, losses, split, base, rates=None, steps=STEPS):
    """Trained copies and how the trainings ended."""
    results = []
    for number, loss in enumerate(losses):
        own = copy.deepcopy(model)
        its = base if rates is None else base.model_copy(update={"lr": rates[number]})
        results.append((own, fit(own, loss, split, Batches(len(split), 8, 3), steps, its, noise_seed=5)))
    return results


def _compare(trained, results, valid):
    metric = get_metric("error_rate")
    values = trained.evaluate(valid, metric)
    for lane, (model, ended) in enumerate(results):
        assert trained.fits[lane] == ended
        if ended.reason is not None:
            continue
        own = [p for p in model.parameters() if p.requires_grad]
        for ours, theirs in zip(trained.lanes.parameters, own, strict=True):
            torch.testing.assert_close(ours[lane], theirs, rtol=1e-3, atol=1e-4)
        for ours, theirs in zip(trained.lanes.buffers, model.buffers(), strict=True):
            torch.testing.assert_close(ours[lane], theirs, rtol=1e-3, atol=1e-4)
        assert values[lane] == pytest.approx(evaluate(model, valid, metric))


@pytest.mark.parametrize(
    "name",
    ["mlp", "relu_in_place", "convolution", "max_pooling", "batch_norm", "group_norm", "dropout", "attention",
     "weight_norm", "tied", "frozen", "temperature", "embedding"],
)  # fmt: skip
def test_each_lane_is_trained_as_alone(name):
    model, split, valid = _case(name)
    losses, base = _losses(), BaseSettings(lr=0.1, batch_size=8)
    before = copy.deepcopy(model.state_dict())
    trained = fit_lanes(model, stack(losses), split, Batches(len(split), 8, 3), STEPS, base, noise_seed=5)
    assert all(torch.equal(a, b) for a, b in zip(before.values(), model.state_dict().values(), strict=True))
    _compare(trained, _each(model, losses, split, base), valid)


@pytest.mark.parametrize(
    "options",
    [
        {"momentum": 0.9},
        {"momentum": 0.9, "nesterov": True},
        {"weight_decay": 0.05},
        {"momentum": 0.8, "nesterov": True, "weight_decay": 0.01},
    ],
)
@pytest.mark.parametrize("name", ["mlp", "frozen"])
def test_the_optimiser_is_that_of_torch(name, options):
    model, split, valid = _case(name)
    losses, base = _losses(), BaseSettings(lr=0.05, batch_size=8, **options)
    trained = fit_lanes(model, stack(losses), split, Batches(len(split), 8, 3), STEPS, base, noise_seed=5)
    _compare(trained, _each(model, losses, split, base), valid)


def test_a_learning_rate_for_each_lane():
    model, split, valid = _case("mlp")
    losses, base, rates = _losses([TREES[1]] * 3), BaseSettings(lr=0.05, batch_size=8), [0.01, 0.1, 1.0]
    trained = fit_lanes(model, stack(losses), split, Batches(len(split), 8, 3), STEPS, base, 5, rates)
    _compare(trained, _each(model, losses, split, base, rates), valid)
    with pytest.raises(BatchingError, match="2 learning rates do not fit 3 lanes"):
        fit_lanes(model, stack(losses), split, Batches(len(split), 8, 3), STEPS, base, 5, rates[:2])


@pytest.mark.parametrize("count", [1, 2, 5])
def test_what_a_lane_gives_does_not_depend_on_its_company(count):
    model, split, _ = _case("batch_norm")
    base = BaseSettings(lr=0.1, batch_size=8)
    many = fit_lanes(model, stack(_losses(TREES * 2)[: count + 1]), split, Batches(30, 8, 3), STEPS, base, 5)
    alone = fit_lanes(model, stack(_losses()[:1]), split, Batches(30, 8, 3), STEPS, base, 5)
    for ours, theirs in zip(many.lanes.parameters, alone.lanes.parameters, strict=True):
        torch.testing.assert_close(ours[0], theirs[0], rtol=1e-4, atol=1e-5)


def test_failing_lanes_say_when_and_leave_the_others_alone():
    model, split, valid = _case("batch_norm")
    losses = _losses([TREES[0], TREES[1], "mul(f, mul(y, y))", "log(sub(f, y))"])
    with torch.no_grad():
        losses[2].weights.fill_(float("nan"))
        losses[3].weights.fill_(1e25)
    base, rates = BaseSettings(lr=0.1, batch_size=8), [0.1, 0.1, 0.1, 1e30]
    trained = fit_lanes(model, stack(losses), split, Batches(len(split), 8, 3), STEPS, base, 5, rates)
    _compare(trained, _each(model, losses, split, base, rates), valid)
    assert trained.fits[:3] == [Fit(STEPS), Fit(STEPS), Fit(0, "the loss is not finite at step 0")]
    assert trained.fits[3].reason is not None
    assert all(math.isfinite(value) for value in trained.evaluate(valid, get_metric("error_rate"))[:2])
    assert math.isnan(trained.evaluate(valid, get_metric("error_rate"))[2])


def test_a_parameter_that_is_not_finite_after_the_last_step():
    model, split, _ = _case("mlp")
    trained = fit_lanes(
        model, stack(_losses()[:2]), split, Batches(30, 8, 3), 1, BaseSettings(batch_size=8), 5, [math.inf, 0.1]
    )
    assert trained.fits == [Fit(1, "a parameter is not finite after the last step"), Fit(1)]


def test_where_all_have_failed_training_ends():
    model, split, _ = _case("mlp")
    (loss,) = _losses([TREES[1]])
    loss.weights.fill_(float("nan"))
    steps = []

    class Counted(Batches):
        def index(self, step):
            steps.append(step)
            return super().index(step)

    fit_lanes(model, stack([loss]), split, Counted(30, 8, 3), 500, BaseSettings(batch_size=8), 5)
    assert len(steps) < 10


@pytest.mark.parametrize("family", [TaylorLoss, NeuralLoss])
def test_other_families(family):
    model, split, valid = _case("mlp")
    losses = [family(task_type="classification") for _ in range(2)]
    with torch.no_grad():
        for number, loss in enumerate(losses):
            for parameter in loss.parameters():
                parameter += 0.1 * (1 + number) * torch.randn(parameter.shape, generator=torch.Generator())
            loss.requires_grad_(False)
    base = BaseSettings(lr=0.1, batch_size=8)
    trained = fit_lanes(model, stack(losses), split, Batches(30, 8, 3), STEPS, base, 5)
    _compare(trained, _each(model, losses, split, base), valid)


def test_the_global_generator_stays_as_it_was():
    model, split, _ = _case("dropout")
    before = torch.get_rng_state()
    fit_lanes(model, stack(_losses()), split, Batches(30, 8, 3), 2, BaseSettings(batch_size=8), 5)
    assert torch.equal(torch.get_rng_state(), before)


def _unmatched():
    """A model that draws another number in lanes than alone."""

    class Model(nn.Linear):
        def forward(self, x):
            weight = self.weight
            inside = torch._C._functorch.is_batchedtensor(weight)
            return super().forward(x) + (3.0 if inside else 0.0)

    return Model(6, 5)


@pytest.mark.parametrize(
    ("make", "shape", "said"),
    [
        (lambda: zoo.make("lstm", torch.float32)[0], (3, 4), "cannot be computed in lanes"),
        (lambda: zoo.make("spectral_norm", torch.float32)[0], (6,), "cannot be computed in lanes"),
        (lambda: zoo.make("transformer", torch.float32)[0], (3, 8), "something else in lanes"),
        (_unmatched, (6,), "something else in lanes"),
    ],
)
def test_models_that_lanes_cannot_have(make, shape, said):
    model = make()
    x = torch.randn(30, *shape)
    with pytest.raises(BatchingError, match=said):
        fit_lanes(model, stack(_losses()), Split(x, torch.zeros(30).long()), Batches(30, 8, 3), 2, BaseSettings(), 5)


def test_nothing_to_train():
    with pytest.raises(BatchingError, match="no trainable parameter"):
        BatchedModel(nn.Linear(2, 2).requires_grad_(False))


def test_memory_that_runs_out_is_no_matter_of_lanes():
    class Full(nn.Linear):
        def forward(self, x):
            raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(torch.OutOfMemoryError):
        require_faithful(Full(2, 2), torch.zeros(3, 2), 0)


def test_bfloat16_is_for_the_forward_pass_only():
    model, split, _ = _case("mlp")
    trained = {}
    for setting in ("float32", "bf16"):
        trained[setting] = fit_lanes(
            model, stack(_losses()), split, Batches(30, 8, 3), 3, BaseSettings(batch_size=8), 5, None, setting
        )
    exact, rough = (trained[setting].lanes.parameters for setting in trained)
    assert all(p.dtype == torch.float32 for p in rough)
    assert any(not torch.equal(a, b) for a, b in zip(exact, rough, strict=True))
    for a, b in zip(exact, rough, strict=True):
        torch.testing.assert_close(a, b, rtol=0.05, atol=0.02)


@pytest.mark.parametrize(("setting", "allowed"), [("float32", False), ("tf32", True), ("bf16", True)])
def test_tf32_is_set_and_put_back(setting, allowed):
    switches = torch.backends.cuda.matmul, torch.backends.cudnn
    before = [switch.allow_tf32 for switch in switches]
    with precision(setting, torch.device("cuda")):
        assert [switch.allow_tf32 for switch in switches] == [allowed, allowed]
    assert [switch.allow_tf32 for switch in switches] == before
    with precision(setting, torch.device("cpu")):
        assert [switch.allow_tf32 for switch in switches] == before


def test_autocast_is_off_by_default():
    for setting, expected in (("float32", torch.float32), ("tf32", torch.float32), ("bf16", torch.bfloat16)):
        with autocast(setting, torch.device("cpu")):
            assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == expected


class _Training:
    """A step with state and random numbers."""

    def __init__(self):
        self.weight = torch.zeros(3)
        self.calls = 0

    def __call__(self, x, y):
        self.calls += 1
        self.weight += x * y + 0.1 * torch.rand(3)
        return self.weight.sum().clone()


def _run(capture, steps=8, sizes=None):
    training = _Training()
    step = GraphedStep(training, [training.weight], capture)
    torch.manual_seed(0)
    values = [
        step(torch.full((3,), float(k)), torch.ones(3 if sizes is None else sizes[k])).item() for k in range(steps)
    ]
    return values, step, training


def _plain(steps=8):
    training = _Training()
    torch.manual_seed(0)
    return [training(torch.full((3,), float(k)), torch.ones(3)).item() for k in range(steps)]


def test_a_captured_step_that_agrees_is_used():
    used = []

    def capture(step, x, y):
        assert len(used) == 0
        return lambda x, y: used.append(1) or step(x, y)

    values, step, _ = _run(capture)
    assert values == _plain()
    assert step.captured
    assert len(used) == 8 - WARM_UP


def test_a_captured_step_that_does_something_else_is_not():
    def capture(step, x, y):
        return lambda x, y: step(x, y) + 1

    values, step, _ = _run(capture)
    assert values == _plain()
    assert not step.captured


def test_a_capture_that_fails_changes_nothing():
    def capture(step, x, y):
        step(x, y)
        raise RuntimeError("operation not permitted when stream is capturing")

    values, step, _ = _run(capture)
    assert values == _plain()
    assert not step.captured


def test_a_batch_of_another_size_is_a_plain_step():
    values, step, _ = _run(lambda step, x, y: step, sizes=[3] * 6 + [1, 3])
    assert values == _plain()
    assert not step.captured


def test_on_a_cpu_a_cuda_graph_cannot_be_had():
    values, step, _ = _run(None)
    assert values == _plain()
    assert not step.captured
