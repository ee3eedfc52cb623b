"""What losses with coefficients have in common, whatever they are made of."""

import io
import math

import pytest
import torch

from evomal.config import learn_settings
from evomal.foundation.errors import SettingError
from evomal.local_search import tune
from evomal.losses import NeuralLoss, SymbolicLoss, TaylorLoss
from evomal.tasks import named_task

COUNTS = {"symbolic": 3, "taylor": 8, "neural": 10}


def _make(family, task_type="regression", **settings):
    if family == "symbolic":
        return SymbolicLoss("square(sub(y, f))", task_type=task_type, **settings)
    made = {"taylor": TaylorLoss, "neural": lambda **other: NeuralLoss(hidden=2, **other)}
    return made[family](task_type=task_type, **settings)


every = pytest.mark.parametrize("family", list(COUNTS))


@every
@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        (lambda count: [0.5] * (count - 1), "this {family} loss has {count} weights but those given have shape "
         "[{less}]; give a flat list"),
        (lambda count: [[0.5] * count], "this {family} loss has {count} weights but those given have shape "
         "[1, {count}]; give a flat list"),
        (lambda count: 0.5, "this {family} loss has {count} weights but those given have shape []; give a flat list"),
        (lambda count: [0.5] * (count - 1) + [math.nan], "the weights of this {family} loss hold a number that is not "
         "finite; give finite ones"),
        (lambda count: [math.inf] * count, "the weights of this {family} loss hold a number that is not finite; give "
         "finite ones"),
        (lambda count: [1e39] * count, "the weights of this {family} loss hold a number that is not finite; give "
         "finite ones"),
        (lambda count: ["1"] * count, "the weights of this {family} loss are not numbers; give a flat list of {count}"),
        (lambda count: [1j] * count, "the weights of this {family} loss are not numbers; give a flat list of {count}"),
        (lambda count: None, "the weights of this {family} loss are not numbers; give a flat list of {count}"),
    ],
)  # fmt: skip
def test_odd_coefficients_are_refused_and_the_old_ones_stay(family, numbers, message):
    loss, count = _make(family), COUNTS[family]
    before = loss.coefficients
    with pytest.raises(SettingError) as caught:
        loss.coefficients = numbers(count)
    assert str(caught.value) == message.format(family=family, count=count, less=count - 1)
    assert loss.coefficients == before


@every
def test_coefficients_keep_the_precision_of_the_loss(family):
    loss = _make(family).double()
    loss.coefficients = [0.1 + number for number in range(COUNTS[family])]
    assert loss.coefficients == [0.1 + number for number in range(COUNTS[family])]
    assert all(parameter.requires_grad and parameter.dtype == torch.float64 for parameter in loss.parameters())


def test_coefficients_set_before_the_backward_pass_do_not_go_unseen():
    loss = _make("taylor")
    value = loss(torch.randn(4, 1), torch.randn(4, 1))
    weights = loss.weights
    kept = (weights**2).sum()
    loss.coefficients = range(8)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        (value + kept).backward()


@every
def test_the_scale_travels_through_a_file_of_the_state(family):
    loss = _make(family, scale=0.1)
    stream = io.BytesIO()
    torch.save(loss.state_dict(), stream)
    stream.seek(0)
    other = _make(family)
    assert other.load_state_dict(torch.load(stream, weights_only=True)) == ([], [])
    assert other.scale == 0.1  # to the bit


@every
def test_a_state_of_low_precision_keeps_the_scale(family):
    loss = _make(family, scale=0.1).bfloat16()
    other = _make(family)
    other.load_state_dict({name: value.clone() for name, value in loss.state_dict().items()})
    assert other.scale == 0.1


@pytest.mark.parametrize("state", [torch.tensor(0.0), torch.tensor(math.nan), torch.ones(2), "2", {}])
def test_an_odd_scale_of_a_state_is_refused(state):
    loss = _make("taylor", scale=3)
    with pytest.raises(SettingError, match=r"^scale is .*; give a number above 0 and below 1e30$"):
        loss.load_state_dict({"weights": torch.zeros(8), "_extra_state": state})
    assert loss.scale == 3


def _state_of(loss):
    return {name: value.clone() for name, value in loss.state_dict().items()}


OTHERS = {
    "formula": lambda: SymbolicLoss("square(mul(y, f))", task_type="regression"),
    "task type": lambda: SymbolicLoss("square(sub(y, f))", task_type="classification"),
    "output activation": lambda: SymbolicLoss(
        "square(sub(y, f))", task_type="regression", output_activation="softplus"
    ),
}


@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("other", OTHERS)
def test_a_state_of_another_loss_is_refused_and_changes_nothing(other, strict, inside):
    loss, given = _make("symbolic"), OTHERS[other]()
    given.coefficients = [2, 3, 4]
    modules = [torch.nn.ModuleDict({"loss": module}) if inside else module for module in (loss, given)]
    before = loss.coefficients
    with pytest.raises(SettingError, match=r"^these weights are those of 'square.*, but the loss is 'square\(sub"):
        modules[0].load_state_dict(modules[1].state_dict(), strict=strict)
    assert loss.coefficients == before


def test_a_state_of_another_task_type_is_refused_in_every_family():
    for family in COUNTS:
        with pytest.raises(SettingError, match=r"load them into a loss of that formula and task type$"):
            _make(family).load_state_dict(_make(family, "classification").state_dict())
    with pytest.raises(SettingError, match=r"^these weights are those of neural loss .hidden 2. for regression, but"):
        _make("taylor").load_state_dict(_make("neural").state_dict())


@every
def test_a_state_of_half_precision_or_the_mean_of_several_is_still_of_the_same_loss(family):
    loss, other = _make(family, scale=0.5), _make(family)
    half = {name: value.half() for name, value in loss.state_dict().items()}
    mean = {name: torch.stack([value] * 3).mean(0) for name, value in loss.state_dict().items()}
    for state in (half, mean):
        other.load_state_dict(state)
        assert other.scale == 0.5


@every
def test_a_state_of_before_states_said_whose_they_are_is_taken(family):
    loss = _make(family, scale=0.5)
    other = _make(family)
    other.load_state_dict(_state_of(loss) | {"_extra_state": torch.tensor(0.5, dtype=torch.float64)})
    assert (other.scale, other.coefficients) == (0.5, loss.coefficients)


@every
def test_tuning_afresh_starts_from_what_no_gradient_has_touched(family):
    loss = _make(family)
    loss.coefficients = before = [3.0] * COUNTS[family]
    state = torch.get_rng_state()
    first, same, other = (loss.untuned(torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    assert first == same
    assert loss.coefficients == before
    if family == "neural":
        draw = torch.Generator().manual_seed(1)
        assert first == NeuralLoss(task_type="classification", hidden=2, generator=draw).coefficients != other
    else:
        assert first == other == [1.0 if family == "symbolic" else 0.0] * COUNTS[family]


@every
@pytest.mark.parametrize(("dataset", "task_type"), [("iris", "classification"), ("diabetes", "regression")])
def test_every_fresh_start_can_be_tuned(family, dataset, task_type):
    loss = NeuralLoss(task_type=task_type) if family == "neural" else _make(family, task_type)
    loss.coefficients = start = loss.untuned(torch.Generator().manual_seed(0))
    settings = learn_settings(None, meta_steps=3, meta_lr=0.1)
    (outcome,) = tune([loss], named_task(dataset, "linear"), settings.local_search, settings.base, seed=0)
    assert (outcome.steps, outcome.reason, outcome.note) == (3, None, None)
    moved = [abs(one - other) > 1e-4 for one, other in zip(loss.coefficients, start, strict=True)]
    assert sum(moved) >= len(moved) // 3
