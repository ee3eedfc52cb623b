"""The terminals beyond the paper's: the classes' shares of the training labels, and the progress of a training."""

import copy
import json

import pytest
import torch
from torch import nn
from torch.autograd import grad, gradcheck

import evomal
from evomal.config import BaseSettings, learn_settings
from evomal.engines.genome import Formula
from evomal.evaluation.batched_filters import improvements, signatures
from evomal.evaluation.filters import gradient_signature, improvement, make_probe
from evomal.evaluation.finals.shapes import shape_of
from evomal.expressions import evaluate, parse
from evomal.foundation.errors import DataError, LossFileError, SettingError
from evomal.local_search import tune
from evomal.local_search.batched_tune import tune_lanes
from evomal.losses import SymbolicLoss
from evomal.losses.batched import BatchingError
from evomal.losses.batched_families import stack
from evomal.losses.slopes import Predictions, slope, slope_at, slope_gradient
from evomal.tasks import Batches, TaskSet
from evomal.training import fit
from evomal.training.batched_fit import fit_lanes
from evomal.training.step_size import gradient_norm_ratio
from helpers.oracles import double_backward
from helpers.tasks import blobs, line, quick

PRIOR = (0.7, 0.2, 0.1)
WEIGHTED = "mul(-1, mul(prior, mul(y, log(f))))"
LATER = "add(mul(progress, square(sub(y, f))), mul(-1, mul(y, log(f))))"
BOTH = "mul(div(mul(y, log(f)), prior), max(progress, sub(prior, f)))"
CLASSES = {"task_type": "classification"}
VALUES = {"task_type": "regression"}


def batch(classes=3, count=12, dtype=torch.float64):
    draw = torch.Generator().manual_seed(0)
    return 2 * torch.randn(count, classes, generator=draw, dtype=dtype), torch.arange(count) % classes


def of_prior(text, prior=PRIOR, **options):
    return SymbolicLoss(text, prior=prior, **CLASSES, **options).double()


# --- prior -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "weights", "weight"),
    [
        (WEIGHTED, None, lambda p: p),
        ("mul(-1, div(mul(y, log(f)), prior))", None, lambda p: 1 / (1 + p**2).sqrt()),
        # a/√(1 + (wπ)²) is a/(wπ) for a large w: inverse frequencies, up to the scale w.
        ("mul(-1, div(mul(y, log(f)), prior))", [1, 1, 1e6, 1, 1, 1, 1e6], lambda p: 1 / p),
    ],
)
def test_cross_entropy_weighted_by_class(text, weights, weight):
    loss = of_prior(text, weights=weights)
    outputs, targets = batch()
    shares = torch.tensor(PRIOR, dtype=torch.float64)
    oracle = nn.CrossEntropyLoss(weight=weight(shares), reduction="sum")(outputs, targets) / len(targets)
    torch.testing.assert_close(loss(outputs, targets), oracle, rtol=1e-5, atol=0)


def test_beside_the_log_prior_of_class_counts():
    loss = of_prior(WEIGHTED)
    loss.class_counts = (7, 2, 1)
    outputs, targets = batch()
    shares = torch.tensor(PRIOR, dtype=torch.float64)
    oracle = nn.CrossEntropyLoss(weight=shares, reduction="sum")(outputs + shares.log(), targets) / len(targets)
    torch.testing.assert_close(loss(outputs, targets), oracle, rtol=1e-5, atol=0)


def test_every_shape_that_a_loss_takes():
    outputs, targets = batch()
    loss = of_prior(BOTH)
    y, f = nn.functional.one_hot(targets, 3).double(), outputs.softmax(1)
    value = evaluate(parse(BOTH), y, f, None, prior=torch.tensor(PRIOR, dtype=torch.float64), progress=1.0)
    torch.testing.assert_close(loss(outputs, targets), value.sum(1).mean())
    # Further dimensions stand behind the classes; one logit stands for two classes.
    deep = outputs.reshape(2, 6, 3).movedim(2, 1)
    torch.testing.assert_close(loss(deep, targets.reshape(2, 6)), loss(outputs, targets))
    binary = of_prior(WEIGHTED, prior=(0.75, 0.25))
    z, t = outputs[:, 0], targets.clamp(max=1)
    torch.testing.assert_close(binary(z, t), binary(torch.stack([torch.zeros_like(z), z], 1), t))


def test_in_regression_it_is_1():
    loss, plain = (SymbolicLoss(f"mul({leaf}, square(sub(y, f)))", **VALUES) for leaf in ("prior", "1"))
    outputs, targets = torch.randn(5, 2), torch.randn(5, 2)
    assert torch.equal(loss(outputs, targets), plain(outputs, targets))
    with pytest.raises(SettingError, match="does not look at the classes' shares; leave prior out"):
        loss.prior = (0.5, 0.5)


def test_a_prior_that_nobody_has_said_or_of_other_classes():
    outputs, targets = batch()
    with pytest.raises(SettingError, match=r"looks at the classes' shares .* set criterion.prior"):
        SymbolicLoss(WEIGHTED, **CLASSES)(outputs, targets)
    with pytest.raises(DataError, match="is of 2 classes but the outputs are for 3; give one number for each class"):
        of_prior(WEIGHTED, prior=(0.5, 0.5))(outputs, targets)
    for odd in ((0.5, 0.6), (1.0, 0.0), (float("nan"), 1.0), "ab", [[0.5, 0.5]]):
        with pytest.raises(SettingError, match="must be a number above 0 for each class, together 1"):
            of_prior(WEIGHTED, prior=odd)
    with pytest.raises(SettingError, match="leave prior out"):
        of_prior("mul(y, f)")


def test_it_travels_with_the_loss(tmp_path):
    loss = of_prior(WEIGHTED)
    loss.save(tmp_path / "loss.json")
    document = json.loads((tmp_path / "loss.json").read_text())
    assert document["prior"] == list(PRIOR)
    again = evomal.load_loss(tmp_path / "loss.json").double()
    outputs, targets = batch()
    assert torch.equal(again(outputs, targets), loss(outputs, targets))
    assert copy.deepcopy(loss).prior == PRIOR
    with pytest.raises(SettingError, match="these weights are those of"):
        of_prior(WEIGHTED, prior=(0.2, 0.2, 0.6)).load_state_dict(loss.state_dict())
    (tmp_path / "loss.json").write_text(json.dumps(document | {"prior": [0.5, "x"]}))
    with pytest.raises(LossFileError, match=r"prior of formula .* must be a number above 0 for each class"):
        evomal.load_loss(tmp_path / "loss.json")
    # Of a formula that does not look at it, a note of that name is a note.
    (tmp_path / "old.json").write_text(
        json.dumps(document | {"version": 1, "expression": "mul(y, f)", "weights": [1, 1]})
    )
    assert evomal.load_loss(tmp_path / "old.json").info["prior"] == list(PRIOR)


def test_a_search_gives_formulas_the_shares_of_its_task():
    task = blobs(classes=3)
    settings = learn_settings(terminals=("y", "f", "prior"))
    loss = Formula(parse(WEIGHTED)).loss(TaskSet.of(task), settings)
    shares = task.class_counts / task.class_counts.sum()
    torch.testing.assert_close(torch.tensor(loss.prior), shares)
    loss.meet_classes(torch.tensor([1, 0, 3]))  # a class without labels counts as if it had one
    assert loss.prior == (0.2, 0.2, 0.6)
    assert loss.at_classes(3) is loss
    assert loss.at_classes(2).prior == (0.5, 0.5)


# --- progress --------------------------------------------------------------------------------------------------------


def test_progress_is_1_until_it_is_set():
    outputs, targets = batch()
    loss = SymbolicLoss(LATER, **CLASSES).double()
    entropy = nn.functional.cross_entropy(outputs, targets)
    brier = (nn.functional.one_hot(targets, 3) - outputs.softmax(1)).square().sum(1).mean()
    for share in (None, 0.25, torch.tensor(0.5), 0):
        if share is not None:
            loss.progress = share
        expected = entropy + (1.0 if share is None else float(share)) * brier
        torch.testing.assert_close(loss(outputs, targets), expected, rtol=1e-5, atol=0)
    for odd in (1.5, -0.1, float("nan"), "half", None):
        with pytest.raises(SettingError, match="give the share of steps that are done, 0 to 1, as in k / steps"):
            loss.progress = odd
    assert loss.progress == 0


def test_training_tells_it():
    """Steps of torch.optim.SGD with (k/steps)·(y - f)², written out."""
    task = line()
    loss = SymbolicLoss("mul(progress, square(sub(y, f)))", **VALUES)
    base, batches = BaseSettings(lr=0.05, batch_size=16), Batches(len(task.train), 16, 0)
    model, oracle = task.make_model(0), task.make_model(0)
    loss.progress = 0.3
    fit(model, loss, task.train, batches, 20, base, 0)
    optimizer = torch.optim.SGD(oracle.parameters(), lr=0.05)
    for step in range(20):
        x, y = task.train.take(batches.index(step))
        optimizer.zero_grad()
        (step / 20 * (y.reshape(-1, 1) - oracle(x)).square().sum(1).mean()).backward()
        optimizer.step()
    torch.testing.assert_close(list(model.parameters()), list(oracle.parameters()))
    assert loss.progress == 0.3  # as it was


# --- slopes, meta-gradients ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [WEIGHTED, LATER, BOTH])
def test_slopes_are_those_of_autograd(text):
    loss = of_prior(text, prior=PRIOR if "prior" in text else None).requires_grad_()
    loss.progress = 0.35
    outputs, targets = batch()
    leaf = outputs.clone().requires_grad_()
    assert gradcheck(lambda z: loss(z, targets), (leaf,))
    (first,) = grad(loss(leaf, targets), leaf, create_graph=True)
    direction = torch.randn_like(outputs)
    (expected,) = grad((first * direction).sum(), loss.weights)
    at = Predictions.of(loss, outputs, targets)
    torch.testing.assert_close(slope_at(loss, at)[1], first.detach())
    torch.testing.assert_close(slope_gradient(loss, at, direction), expected)


@pytest.mark.parametrize("steps", [1, 2])
def test_meta_gradients_are_those_of_double_backward(steps):
    loss = of_prior(BOTH)
    loss.progress = 0.35
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)).double()
    draws = [(torch.randn(8, 4, dtype=torch.float64), torch.arange(8) % 3) for _ in range(steps + 1)]
    arguments = loss, model, draws[:-1], draws[-1], nn.functional.cross_entropy
    torch.testing.assert_close(evomal.meta_gradient(*arguments, lr=0.5), double_backward(*arguments, lr=0.5))


# --- in lanes as alone -----------------------------------------------------------------------------------------------


def several():
    found = [of_prior(text, prior=PRIOR if "prior" in text else None) for text in (BOTH, LATER, WEIGHTED)]
    return [*found, SymbolicLoss("square(sub(y, f))", **CLASSES).double()]


def test_values_and_slopes_in_lanes():
    losses, (outputs, targets) = several(), batch()
    lanes = stack(losses)
    lanes.set_progress(0.2)
    many = torch.stack([outputs + k for k in range(4)]) * torch.linspace(0.5, 2, 4, dtype=torch.float64)[:, None, None]
    phi = lanes.coefficients().requires_grad_()
    values, slopes = lanes.slopes(many, targets, phi, create_graph=True)
    directions = torch.randn_like(many)
    mixed = lanes.slope_gradients(slopes, directions, phi)
    for number, loss in enumerate(losses):
        loss.progress = 0.2
        value, alone = slope(loss, many[number], targets)
        torch.testing.assert_close(values[number], value.detach())
        torch.testing.assert_close(slopes[number].detach(), alone)
        own = slope_gradient(loss.requires_grad_(), Predictions.of(loss, many[number], targets), directions[number])
        torch.testing.assert_close(mixed[number, : len(own)], own)
    with pytest.raises(BatchingError, match="one prior"):
        stack([of_prior(WEIGHTED), of_prior(BOTH, prior=(0.2, 0.2, 0.6))])


@pytest.fixture(scope="module")
def task():
    return blobs(classes=3, count=120)


def candidates(task, dtype=torch.float32):
    settings = learn_settings(terminals=("y", "f", "prior", "progress"), meta_steps=0)
    return [Formula(parse(text)).loss(TaskSet.of(task), settings) for text in (BOTH, LATER, WEIGHTED)]


def test_training_in_lanes(task):
    losses, base, batches = candidates(task), BaseSettings(lr=0.1, batch_size=16), Batches(len(task.train), 16, 0)
    trained = fit_lanes(task.make_model(0), stack(losses), task.train, batches, 15, base, 0)
    for lane, loss in enumerate(losses):
        model = task.make_model(0)
        fit(model, loss, task.train, batches, 15, base, 0)
        for own, many in zip(model.parameters(), trained.lanes.parameters, strict=True):
            torch.testing.assert_close(many[lane], own, rtol=1e-4, atol=1e-5)


@pytest.fixture
def exact(task):
    """The task in float64: in float32 Adam makes of the last bit of a gradient near zero a step of its own length."""
    splits = [(split.x.double(), split.y) for split in (task.train, task.valid)]
    return evomal.Task(lambda: nn.Linear(5, 3).double(), splits[0], splits[1], name="blobs")


@pytest.mark.parametrize("base_steps", [1, 2])
def test_local_search_in_lanes(exact, base_steps):
    task, settings = exact, quick(meta_steps=5, base_steps=base_steps, meta_lr=0.01).local_search
    base = BaseSettings(lr=0.1, batch_size=16)
    alone, together = ([loss.double() for loss in candidates(task)] for _ in range(2))
    tune(alone, task, settings, base, 0)
    tune_lanes(together, task, settings, base, 0)
    for one, other in zip(alone, together, strict=True):
        torch.testing.assert_close(other.weights, one.weights, rtol=1e-9, atol=1e-9)
        assert (one.weights != 1).all()  # the weight of `progress` moves too, as not all meta steps are at 0
        assert one.progress == 1


def test_filters_in_lanes(task):
    settings = quick(rejection_steps=60).filters
    probe, losses = make_probe(task, 30, 0), candidates(task)
    alone = [improvement(loss, probe, settings) for loss in losses]
    assert improvements(stack(losses), probe, settings) == pytest.approx(alone, abs=0.05)
    texts = [gradient_signature(loss, probe) for loss in losses]
    assert signatures(stack(losses), probe) == texts
    assert [" | " in text for text in texts] == [True, True, False]


def test_losses_are_told_apart_by_all_of_a_training(task):
    probe = make_probe(task, 30, 0)
    plain, faded = (SymbolicLoss(text, **CLASSES) for text in ("square(sub(y, f))", "mul(progress, square(sub(y, f)))"))
    same = SymbolicLoss("add(square(sub(y, f)), sub(progress, progress))", **CLASSES)
    assert gradient_signature(plain, probe) == gradient_signature(same, probe) != gradient_signature(faded, probe)
    points = [(probe.wider, probe.targets)]
    assert torch.equal(shape_of(plain, points), shape_of(faded, points))
    stages = (0.0, 0.5, 1.0)
    assert not torch.allclose(shape_of(plain, points, stages), shape_of(faded, points, stages), atol=0.1)


def test_the_first_gradient_is_that_of_the_beginning():
    loss = SymbolicLoss("mul(sub(1, mul(progress, y)), square(sub(y, f)))", **VALUES)
    plain = SymbolicLoss("square(sub(y, f))", **VALUES)
    task = line()
    assert gradient_norm_ratio(loss, task, 16, 0) == pytest.approx(gradient_norm_ratio(plain, task, 16, 0))
