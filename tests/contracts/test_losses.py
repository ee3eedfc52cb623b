"""The one contract that every loss keeps: it is used as PyTorch's own criteria are."""

import copy
import pickle

import pytest
import torch
from torch.func import functional_call, grad, jvp

from evomal.foundation.errors import DataError
from evomal.losses import HANDCRAFTED, NeuralLoss, SymbolicLoss, TaylorLoss, get_handcrafted

CLASSIFICATION = {
    "hindsight": "abs(log(mul(y, f)))",
    "squares": "square(sub(y, f))",
    "mixed": "sub(tanh(mul(f, add(y, 1))), mul(y, log(f)))",
    "quotient": "div(sub(f, y), sqrt(add(f, 1)))",
    "edges": "max(mul(y, f), min(sub(f, -1), square(y)))",
    "flat": "mul(sign(sub(y, f)), y)",
}
REGRESSION = {
    "squares": "square(sub(y, f))",
    "absolute": "abs(sub(y, f))",
    "log_cosh_like": "log(add(square(sub(y, f)), 1))",
    "quotient": "div(square(sub(y, f)), tanh(y))",
}


def _symbolic(formula, task_type, **settings):
    def make(**other):
        loss = SymbolicLoss(formula, task_type=task_type, **settings | other)
        with torch.no_grad():
            loss.weights += torch.linspace(-0.3, 0.4, len(loss.weights))
        return loss

    return make


def _handcrafted(name):
    def make(classes=3, **settings):
        return get_handcrafted(name, class_counts=[40, 5, 15][:classes], **settings)

    return make


def _taylor(task_type):
    parameters = torch.randn(8, generator=torch.Generator().manual_seed(3))
    return lambda **settings: TaylorLoss(parameters, task_type=task_type, **settings)


def _neural(task_type, **settings):
    return lambda **other: NeuralLoss(task_type=task_type, **settings | other)


TABLE = {name: (_handcrafted(name), HANDCRAFTED[name].task_type) for name in HANDCRAFTED}
SEVERAL = {"squares": CLASSIFICATION["squares"]}
for task_type, formulas in (("classification", CLASSIFICATION), ("regression", REGRESSION), ("multilabel", SEVERAL)):
    for name, formula in formulas.items():
        TABLE[f"{task_type}-{name}"] = (_symbolic(formula, task_type), task_type)
        TABLE[f"{task_type}-{name}-softplus"] = (
            _symbolic(formula, task_type, output_activation="softplus"),
            task_type,
        )

    TABLE[f"{task_type}-squares-scaled"] = (_symbolic(formulas["squares"], task_type, scale=0.3), task_type)
    TABLE[f"{task_type}-taylor"] = (_taylor(task_type), task_type)
    TABLE[f"{task_type}-neural"] = (_neural(task_type), task_type)
    TABLE[f"{task_type}-neural-scaled"] = (_neural(task_type, hidden=9, scale=2.5), task_type)

every = pytest.mark.parametrize("name", list(TABLE))
every_learned = pytest.mark.parametrize("name", [name for name in TABLE if name not in HANDCRAFTED])
every_classifier = pytest.mark.parametrize("name", [n for n, (_, kind) in TABLE.items() if kind == "classification"])
every_regressor = pytest.mark.parametrize("name", [n for n, (_, kind) in TABLE.items() if kind == "regression"])


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def _make(name, **settings):
    return TABLE[name][0](**settings)


def _data(name, batch=6, dtype=torch.float32):
    if TABLE[name][1] == "classification":
        return torch.randn(batch, 3, dtype=dtype), torch.randint(0, 3, (batch,))
    if TABLE[name][1] == "multilabel":
        return torch.randn(batch, 2, dtype=dtype), torch.randint(0, 2, (batch, 2)).to(dtype)
    return torch.randn(batch, 2, dtype=dtype), torch.randn(batch, 2, dtype=dtype)


def _gradient(function, outputs):
    leaf = outputs.detach().clone().requires_grad_()
    (gradient,) = torch.autograd.grad(function(leaf).sum(), leaf)
    return gradient


def _same(one, other, outputs):
    """Two functions of the outputs have one value and one gradient."""
    torch.testing.assert_close(one(outputs), other(outputs))
    torch.testing.assert_close(_gradient(one, outputs), _gradient(other, outputs))


@every
def test_a_mean_is_a_finite_scalar_with_a_gradient_for_every_output(name):
    outputs, targets = _data(name)
    value = _make(name)(outputs, targets)
    assert value.shape == ()
    assert value.dtype == torch.float32
    assert value.isfinite()
    gradient = _gradient(lambda f: _make(name)(f, targets), outputs)
    assert gradient.shape == outputs.shape
    assert gradient.isfinite().all()
    assert bool(gradient.any()) == ("flat" not in name)


def _has_values_of_outputs(name):
    """PyTorch's own losses of regression keep one for each output, and all losses of several labels."""
    return TABLE[name][1] == "multilabel" or (name in HANDCRAFTED and HANDCRAFTED[name].task_type == "regression")


@every
def test_reductions_belong_together(name):
    outputs, targets = _data(name)
    values = _make(name, reduction="none")(outputs, targets)
    assert values.shape == (outputs.shape if _has_values_of_outputs(name) else (6,))
    torch.testing.assert_close(_make(name, reduction="mean")(outputs, targets), values.mean())
    torch.testing.assert_close(_make(name, reduction="sum")(outputs, targets), values.sum())


@every
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_no_instances_are_reduced_as_pytorch_does(name, reduction):
    outputs, targets = _data(name, batch=0)
    value = _make(name, reduction=reduction)(outputs, targets)
    oracle = torch.nn.L1Loss(reduction=reduction)(outputs, outputs)
    torch.testing.assert_close(value.sum(), oracle.sum(), equal_nan=True)


@every
def test_instances_do_not_see_each_other(name):
    outputs, targets = _data(name)
    loss = _make(name, reduction="none")
    alone = torch.cat([loss(outputs[i : i + 1], targets[i : i + 1]) for i in range(6)])
    torch.testing.assert_close(loss(outputs, targets), alone)


@every
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_a_sample_weight_counts_instances(name, reduction):
    outputs, targets = _data(name)
    weight = torch.tensor([1, 3, 0, 2, 1, 1])
    index = torch.arange(6).repeat_interleave(weight)
    loss = _make(name, reduction=reduction)
    _same(lambda f: loss(f, targets, weight.float()), lambda f: loss(f[index], targets[index]), outputs)


@every
def test_further_dimensions_are_more_instances(name):
    outputs, targets = _data(name, batch=4 * 5 * 2)
    # [B·5·2, C] as [B, C, 5, 2], targets along.
    wide = outputs.reshape(4, 5, 2, -1).movedim(-1, 1)
    labels = targets.dim() == 1
    wide_targets = targets.reshape(4, 5, 2) if labels else targets.reshape(4, 5, 2, -1).movedim(-1, 1)
    torch.testing.assert_close(_make(name)(wide, wide_targets), _make(name)(outputs, targets))
    shape = wide.shape if _has_values_of_outputs(name) else (4, 5, 2)
    assert _make(name, reduction="none")(wide, wide_targets).shape == shape


@every
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_outputs_are_computed_in_full(name, dtype):
    outputs, targets = _data(name)
    low = outputs.to(dtype)
    targets = targets if targets.dim() == 1 else targets.to(dtype)
    full_targets = targets if targets.dim() == 1 else targets.float()
    value = _make(name)(low, targets)
    assert value.dtype == torch.float32
    assert torch.equal(value, _make(name)(low.float(), full_targets))
    assert _gradient(lambda f: _make(name)(f, targets), low).dtype == dtype


@every
def test_under_autocast_the_loss_computes_in_float32(name):
    outputs, targets = _data(name)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        low = outputs @ torch.eye(outputs.shape[1])
        assert low.dtype == torch.bfloat16
        value = _make(name)(low, targets)
        in_float32 = _make(name)(outputs, targets)
    assert value.dtype == torch.float32
    assert torch.equal(value, _make(name)(low.float(), targets))
    assert torch.equal(in_float32, _make(name)(outputs, targets))


@every
def test_double_precision_stays(name):
    outputs, targets = _data(name, dtype=torch.float64)
    value = _make(name)(outputs, targets)
    assert value.dtype == torch.float64
    torch.testing.assert_close(value.float(), _make(name)(outputs.float(), targets))


@every
def test_function_transforms_pass_through(name):
    outputs, targets = _data(name, dtype=torch.float64)
    tangent = torch.randn_like(outputs)
    loss = _make(name)
    value, forward = jvp(lambda f: loss(f, targets), (outputs,), (tangent,))
    torch.testing.assert_close(value, loss(outputs, targets))
    gradient = grad(lambda f: loss(f, targets))(outputs)
    torch.testing.assert_close(forward, (gradient * tangent).sum())
    torch.testing.assert_close(gradient, _gradient(lambda f: loss(f, targets), outputs))


@pytest.mark.parametrize("name", ["mse", "regression-squares"])
def test_compiled_it_computes_the_same_whatever_the_reduction(name):
    torch.compiler.reset()
    outputs, targets = _data(name)
    loss = _make(name)
    compiled = torch.compile(loss, backend="eager", fullgraph=True)
    for reduction in ("sum", "none"):
        loss.reduction = reduction
        torch.testing.assert_close(compiled(outputs, targets), loss(outputs, targets))


@every
@pytest.mark.parametrize("way", [copy.deepcopy, lambda loss: pickle.loads(pickle.dumps(loss))], ids=["copy", "pickle"])
def test_copies_compute_the_same(name, way):
    outputs, targets = _data(name)
    loss = _make(name)
    assert torch.equal(way(loss)(outputs, targets), loss(outputs, targets))


@every_learned
def test_a_state_brings_coefficients_and_scale_wherever_the_loss_sits(name):
    outputs, targets = _data(name)
    loss, other = _make(name, scale=0.37), _make(name)
    loss.coefficients = [0.9 * number + 0.01 for number in loss.coefficients]
    torch.nn.ModuleDict({"inner": other}).load_state_dict(torch.nn.ModuleDict({"inner": loss}).state_dict())
    assert (other.scale, other.coefficients) == (0.37, loss.coefficients)
    assert torch.equal(other(outputs, targets), loss(outputs, targets))
    other.load_state_dict(_make(name, scale=1).state_dict())
    assert other.scale == 1


@every_learned
def test_weights_alone_are_a_state_that_leaves_the_scale(name):
    loss, other = _make(name, scale=0.37), _make(name, scale=2)
    with torch.no_grad():
        weights = {key: parameter + 1 for key, parameter in loss.named_parameters()}
    other.load_state_dict(weights)
    assert other.scale == 2
    assert all(torch.equal(parameter, weights[key]) for key, parameter in other.named_parameters())
    key, _ = weights.popitem()
    with pytest.raises(RuntimeError, match=rf'Missing key\(s\) in state_dict: "{key}"\. '):
        other.load_state_dict(weights)


@every_learned
def test_a_state_serves_as_the_parameters_of_a_functional_call(name):
    outputs, targets = _data(name)
    loss = _make(name)
    assert torch.equal(functional_call(_make(name), loss.state_dict(), (outputs, targets)), loss(outputs, targets))


@every_classifier
@pytest.mark.parametrize("ignored", [-100, 1, 255])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_ignored_labels_are_as_if_they_were_not_there(name, reduction, ignored):
    outputs, targets = _data(name, batch=8)
    targets[targets == ignored] = 0
    targets[[1, 4]] = ignored
    kept = targets != ignored
    loss = _make(name, reduction=reduction, ignore_index=ignored)
    _same(lambda z: loss(z, targets), lambda z: loss(z[kept], targets[kept]), outputs)
    values = _make(name, reduction="none", ignore_index=ignored)(outputs, targets)
    assert values[~kept].tolist() == [0, 0]


@every_classifier
def test_nothing_but_ignored_labels_has_no_mean(name):
    outputs, targets = _data(name)
    targets[:] = -100
    assert _make(name)(outputs, targets).isnan()
    assert _make(name, reduction="sum")(outputs, targets) == 0


@every_classifier
def test_certain_soft_labels_are_labels(name):
    outputs, targets = _data(name)
    soft = torch.eye(3)[targets]
    _same(lambda z: _make(name)(z, soft), lambda z: _make(name)(z, targets), outputs)


@every_classifier
def test_one_logit_is_two_classes(name):
    z, targets = 2 * torch.randn(6), torch.tensor([0, 1, 1, 0, 1, 0])
    two = {"classes": 2} if name in HANDCRAFTED else {}
    loss = _make(name, reduction="none", **two)

    def two_classes(z):
        return loss(torch.stack([torch.zeros_like(z), z], dim=1), targets)

    _same(lambda z: loss(z, targets), two_classes, z)
    _same(lambda z: loss(z.unsqueeze(1), targets), two_classes, z)
    _same(lambda z: loss(z.unsqueeze(1), targets.unsqueeze(1)), two_classes, z)
    _same(lambda z: loss(z, targets.float()), two_classes, z)
    _same(lambda z: loss(z.reshape(2, 1, 3), targets.reshape(2, 3)).flatten(), two_classes, z)


@every_classifier
def test_labels_without_a_class_are_named(name):
    outputs, _ = _data(name, batch=2)
    with pytest.raises(DataError) as caught:
        _make(name)(outputs, torch.tensor([1, 3]))
    assert str(caught.value) == (
        "targets hold labels from 1 to 3 (label 3 first in row 1) but the outputs are for 3 classes; labels must lie "
        "in 0…2: mend them, or set the loss's ignore_index to a label that does not count"
    )
    with pytest.raises(DataError, match=r"^targets \[3\] \(torch.int64\) do not fit outputs \[2, 3\]: class labels"):
        _make(name)(outputs, torch.tensor([0, 1, 2]))


@every_regressor
def test_a_row_is_a_column_and_never_a_square(name):
    f, y = torch.randn(5), torch.randn(5)
    loss = _make(name, reduction="none")
    expected = loss(f, y)
    assert expected.shape == (5,)
    for outputs, targets in ((f[:, None], y), (f, y[:, None]), (f[:, None], y[:, None])):
        torch.testing.assert_close(loss(outputs, targets), expected)
    with pytest.raises(DataError, match=r"^targets \[5\] \(torch.float32\) do not fit outputs \[5, 2\]: regression"):
        loss(torch.randn(5, 2), y)
