"""A learned loss that sees how often each class occurs: f is the softmax of logits plus log prior."""

import copy

import pytest
import torch
from torch import nn
from torch.autograd import grad, gradcheck

import evomal
from evomal.config import learn_settings
from evomal.engines.genome import Formula, Network, Polynomial
from evomal.expressions import parse
from evomal.foundation.errors import DataError, SettingError
from evomal.losses import HandcraftedLoss, NeuralLoss, SymbolicLoss, TaylorLoss, get_handcrafted
from evomal.losses.batched import BatchingError
from evomal.losses.batched_families import stack
from evomal.losses.slopes import Predictions, slope, slope_at, slope_gradient
from evomal.tasks import TaskSet

COUNTS = (50, 8, 2)
KIND = {"task_type": "classification"}


def losses():
    torch.manual_seed(0)
    found = [
        SymbolicLoss("mul(square(sub(1, f)), mul(-1, mul(y, log(f))))", **KIND),
        SymbolicLoss("abs(sub(y, f))", output_activation="softplus", scale=0.5, **KIND),
        TaylorLoss([0.1, 0.2, 0.3, -1.0, 0.5, -2.0, 0.1, 0.2], **KIND),
        NeuralLoss(hidden=4, generator=torch.Generator().manual_seed(1), **KIND),
    ]
    for loss in found:
        loss.class_counts = COUNTS
    return found


every = pytest.mark.parametrize("number", range(4))


def batch(classes=3, count=12, seed=0):
    draw = torch.Generator().manual_seed(seed)
    return 2 * torch.randn(count, classes, generator=draw), torch.arange(count) % classes


def test_cross_entropy_becomes_logit_adjusted_cross_entropy():
    loss = SymbolicLoss("mul(-1, mul(y, log(f)))", **KIND)
    loss.class_counts = COUNTS
    outputs, targets = batch()
    expected = get_handcrafted("logit_adjusted_cross_entropy", class_counts=COUNTS)(outputs, targets)
    assert torch.allclose(loss(outputs, targets), expected, rtol=1e-4)


@every
def test_it_is_the_loss_without_counts_at_shifted_logits(number):
    loss = losses()[number]
    plain = copy.deepcopy(loss)
    plain.class_counts = None
    outputs, targets = batch()
    shift = (torch.tensor(COUNTS) / sum(COUNTS)).log()
    assert torch.allclose(loss(outputs, targets), plain(outputs + shift, targets))
    # Of one logit, the classes are two.
    loss.class_counts = (9, 1)
    one, other = torch.randn(6), torch.arange(6) % 2
    assert torch.allclose(loss(one, other), plain(one + torch.tensor(1 / 9).log(), other))
    # Further dimensions stand behind the classes.
    loss.class_counts = COUNTS
    deep, labels = torch.randn(4, 3, 2, 5), torch.randint(0, 3, (4, 2, 5))
    assert torch.allclose(loss(deep, labels), plain(deep + shift.reshape(1, 3, 1, 1), labels))


@every
def test_slopes_are_those_of_autograd(number):
    loss = losses()[number].double()
    outputs, targets = batch()
    leaf = outputs.double().requires_grad_()
    assert gradcheck(lambda z: loss(z, targets), (leaf,))
    (expected,) = grad(loss(leaf, targets), leaf)
    assert torch.allclose(slope(loss, leaf, targets)[1], expected)


def test_the_mixed_derivative_is_that_of_double_backward():
    loss = losses()[0].double().requires_grad_()
    outputs, targets = batch()
    outputs, direction = outputs.double(), torch.randn(12, 3, dtype=torch.float64)
    leaf = outputs.clone().requires_grad_()
    (first,) = grad(loss(leaf, targets), leaf, create_graph=True)
    (expected,) = grad((first * direction).sum(), loss.weights)
    at = Predictions.of(loss, outputs, targets)
    assert torch.allclose(slope_gradient(loss, at, direction), expected)
    assert torch.allclose(slope_at(loss, at)[1], first.detach())
    plain = copy.deepcopy(loss)
    plain.class_counts = None
    assert at.suits(loss)
    assert not at.suits(plain)


def test_in_lanes_as_alone():
    together = [SymbolicLoss(text, **KIND) for text in ("mul(-1, mul(y, log(f)))", "square(sub(y, f))")]
    for loss in together:
        loss.class_counts = COUNTS
    lanes = stack(together)
    outputs, targets = torch.randn(2, 9, 3), torch.arange(9) % 3
    phi = lanes.coefficients()
    _, slopes = lanes.slopes(outputs, targets, phi)
    for number, loss in enumerate(together):
        assert torch.allclose(lanes.values(outputs, targets, phi)[number], loss(outputs[number], targets))
        assert torch.allclose(slopes[number], slope(loss, outputs[number], targets)[1], atol=1e-6)
    together[0].class_counts = None
    with pytest.raises(BatchingError):
        stack(together)


@every
def test_it_is_saved_and_loaded_with_its_counts(number, tmp_path):
    loss = losses()[number]
    loss.save(tmp_path / "loss.json")
    again = evomal.load_loss(tmp_path / "loss.json")
    assert again.class_counts == COUNTS
    outputs, targets = batch()
    assert torch.allclose(again(outputs, targets), loss(outputs, targets))
    plain = evomal.load_loss(tmp_path / "loss.json")
    plain.class_counts = None
    plain.save(tmp_path / "plain.json")
    assert evomal.load_loss(tmp_path / "plain.json").class_counts is None
    assert "class_counts" not in (tmp_path / "plain.json").read_text()


def test_what_does_not_fit_is_refused():
    loss = losses()[0]
    with pytest.raises(DataError, match=r"^class_counts of this symbolic loss are for 3 classes but the outputs"):
        loss(*batch(classes=4))
    for odd in ([], [1.5, 2], [-1, 2], [0, 0], "ab"):
        with pytest.raises(SettingError, match=r"^class_counts of this symbolic loss must be whole numbers"):
            loss.class_counts = odd
    with pytest.raises(SettingError, match=r"^class_counts are for classification"):
        SymbolicLoss("square(sub(y, f))", task_type="regression").class_counts = COUNTS
    assert loss.class_counts == COUNTS


def _task(labels, name="clouds"):
    y = torch.tensor(labels)
    x = torch.randn(len(y), 4, generator=torch.Generator().manual_seed(0)) + y[:, None]
    return TaskSet.of(evomal.Task(lambda: nn.Linear(4, 3), (x, y), (x, y), name=name))


@pytest.mark.parametrize("genome", [Formula(parse("square(sub(y, f))")), Polynomial((0.0,) * 8), Network(4)])
def test_a_search_tells_its_losses_where_classes_are_uneven(genome):
    uneven, even = _task([0] * 30 + [1] * 20 + [2] * 4), _task([0, 1, 2] * 10, "even")
    chosen, off = learn_settings(log_prior=True), learn_settings()
    assert genome.loss(uneven, chosen).class_counts == (30, 20, 4)
    assert genome.loss(even, chosen).class_counts is None
    assert genome.loss(uneven, off).class_counts is None


def test_handcrafted_losses_know_theirs_as_before():
    with pytest.raises(SettingError, match=r"^class_counts of loss 'ldam' must be whole numbers, none below 0 and not"):
        HandcraftedLoss("ldam", class_counts=[1.5, 2])
