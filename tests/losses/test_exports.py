"""Every export says what the loss says: each is compared with the loss itself on random inputs."""

import io
import math
import random
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch

from evomal.expressions import OPERATORS, finished, parse, ramped_half_and_half
from evomal.foundation.errors import DataError, SettingError, UnknownNameError
from evomal.losses import HandcraftedLoss, NeuralLoss, SymbolicLoss, TaylorLoss
from evomal.losses.exports import FORMATS, export

FORMULAS = (
    "abs(log(mul(y, f)))",
    "square(sub(y, f))",
    "add(min(y, f), max(square(f), 1))",
    "div(sub(sqrt(y), tanh(f)), add(log(1), square(mul(f, -1))))",
    "sub(mul(sign(sub(f, y)), f), square(square(sub(y, -1))))",
    "min(sqrt(-1), sub(y, abs(div(1, f))))",
)


def _weights(count, seed):
    return (1 + 0.5 * torch.randn(count, generator=torch.Generator().manual_seed(seed))).tolist()


def _symbolic(task_type):
    for seed, formula in enumerate(FORMULAS):
        expression = parse(formula)
        activation, scale = ("softplus", 0.37) if seed % 2 else ("identity", 1.0)
        weights = _weights(expression.edges, seed)
        yield SymbolicLoss(expression, weights, task_type=task_type, output_activation=activation, scale=scale)
    yield SymbolicLoss(FORMULAS[0], task_type=task_type)


def _random_formulas(task_type, count=12):
    rng = random.Random(7)
    trees = ramped_half_and_half(rng, count, 2, 5)
    for seed, tree in enumerate(trees):
        done = finished(tree, parse("mul(y, f)"), rng, 10)
        yield SymbolicLoss(done, _weights(done.edges, seed), task_type=task_type)


def _all(task_type):
    taylor = torch.tensor([0.1, -0.4, 0.3, -1.2, 0.5, 2.0, -0.7, 0.9])
    return [
        *_symbolic(task_type),
        *_random_formulas(task_type),
        TaylorLoss(taylor, task_type=task_type, scale=2.5),
        TaylorLoss([0, 0, 0, -1, 0, 2, 0, 0], task_type=task_type),
        NeuralLoss(task_type=task_type, hidden=4),
    ]


CLASSES, VALUES = _all("classification"), _all("regression")
LOSSES = [*CLASSES, *VALUES]


def _data(loss, count=5):
    draw = torch.Generator().manual_seed(1)
    outputs = 2 * torch.randn(count, 3, generator=draw)
    if loss.task_type == "regression":
        return outputs, torch.randn(count, 3, generator=draw)
    return outputs, torch.randint(3, (count,), generator=draw)


def _importable(loss, form, monkeypatch):
    """The function that an export is; Keras runs on PyTorch, NumPy stands in for JAX."""
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    if form == "keras":
        pytest.importorskip("keras")
    if form == "jax":
        _numpy_as_jax(monkeypatch)
    return _function(export(loss, form))


def _function(text):
    names = {}
    exec(text, names)  # the tests' own text
    return names["learned_loss"]


def _close(given, loss, outputs, targets, **settings):
    reference = loss(outputs, targets)
    torch.testing.assert_close(torch.as_tensor(np.asarray(given)).to(reference.dtype), reference, rtol=2e-5, atol=2e-6)


def test_all_operators_are_exported():
    used = {node.symbol for formula in FORMULAS for node in parse(formula).preorder()}
    assert set(OPERATORS) <= used


@pytest.mark.parametrize("loss", LOSSES, ids=str)
def test_python(loss):
    function = _function(export(loss, "python"))
    outputs, targets = _data(loss)
    here, there = outputs.clone().requires_grad_(), outputs.clone().requires_grad_()
    ours, theirs = loss(here, targets), function(there, targets)
    torch.testing.assert_close(theirs, ours)
    slopes = [
        torch.autograd.grad(value, leaf, allow_unused=True, materialize_grads=True)[0] if value.requires_grad else 0.0
        for value, leaf in ((ours, here), (theirs, there))
    ]
    torch.testing.assert_close(slopes[1], slopes[0], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("loss", CLASSES[:3], ids=str)
def test_python_takes_what_the_loss_takes(loss):
    function = _function(export(loss, "python"))
    draw = torch.Generator().manual_seed(2)
    image, labels = torch.randn(2, 3, 4, 4, generator=draw), torch.randint(3, (2, 4, 4), generator=draw)
    labels[0, 0, 0] = -100
    one, ones = torch.randn(6, generator=draw), torch.tensor([0, 1, 1, 0, 1, 0])
    cases = [
        (image, labels),
        (image, torch.softmax(image.flip(1), 1)),
        (one, ones),
        (one[:, None], ones),
        (one, ones.float() * 0.8),
        (image.half(), labels),
        (image, labels.byte().clamp(max=2)),
    ]
    for outputs, targets in cases:
        torch.testing.assert_close(function(outputs, targets), loss(outputs, targets))
    loss.reduction = "none"
    torch.testing.assert_close(function(image, labels, reduction="none"), loss(image, labels))
    loss.reduction = "sum"
    torch.testing.assert_close(function(image, labels, reduction="sum"), loss(image, labels))
    loss.reduction = "mean"


def test_python_needs_torch_alone():
    imports = [line for line in export(LOSSES[0], "python").splitlines() if "import" in line]
    assert imports == ["import torch"]


@pytest.mark.parametrize("loss", LOSSES, ids=str)
def test_numpy(loss):
    outputs, targets = _data(loss)
    _close(_function(export(loss, "numpy"))(outputs.numpy(), targets.numpy()), loss, outputs, targets)


def test_numpy_takes_one_logit_soft_and_ignored_labels():
    loss = CLASSES[1]
    function = _function(export(loss, "numpy"))
    outputs, labels = _data(loss)
    labels[0] = -100
    _close(function(outputs.numpy(), labels.numpy()), loss, outputs, labels)
    soft = torch.softmax(outputs.flip(1), 1)
    _close(function(outputs.numpy(), soft.numpy()), loss, outputs, soft)
    one, binary = outputs[:, 0], torch.tensor([0, 1, 1, 0, 1])
    _close(function(one.numpy(), binary.numpy()), loss, one, binary)


def _numpy_as_jax(monkeypatch):
    """Where JAX is missing its text runs on NumPy, and the two functions that JAX adds are here."""

    def softmax(outputs, axis):
        return torch.softmax(torch.as_tensor(outputs), axis).numpy()

    jax = ModuleType("jax")
    jax.nn = SimpleNamespace(softplus=lambda x: np.logaddexp(0, x), softmax=softmax)
    jax.numpy = np
    monkeypatch.setitem(sys.modules, "jax", jax)
    monkeypatch.setitem(sys.modules, "jax.numpy", np)


@pytest.mark.parametrize("loss", LOSSES, ids=str)
def test_jax(loss, monkeypatch):
    try:
        import jax.numpy  # noqa: F401
    except ImportError:
        _numpy_as_jax(monkeypatch)
    outputs, targets = _data(loss)
    _close(_function(export(loss, "jax"))(outputs.numpy(), targets.numpy()), loss, outputs, targets)


def test_jax_differentiates():
    jax = pytest.importorskip("jax")
    loss = CLASSES[0]
    outputs, targets = _data(loss)
    slopes = jax.jit(jax.grad(_function(export(loss, "jax"))))(outputs.numpy(), targets.numpy())
    leaf = outputs.requires_grad_()
    (ours,) = torch.autograd.grad(loss(leaf, targets), leaf)
    np.testing.assert_allclose(np.asarray(slopes), ours.numpy(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("loss", LOSSES, ids=str)
def test_keras(loss, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    pytest.importorskip("keras")
    function = _function(export(loss, "keras"))
    outputs, targets = _data(loss)
    _close(function(targets, outputs).mean(), loss, outputs, targets)


def test_keras_takes_its_own_shapes(monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    pytest.importorskip("keras")
    loss = CLASSES[1]
    function = _function(export(loss, "keras"))
    outputs, labels = _data(loss)
    _close(function(labels[:, None], outputs).mean(), loss, outputs, labels)
    one_hot = torch.eye(3)[labels]
    _close(function(one_hot, outputs).mean(), loss, outputs, labels)
    one, binary = outputs[:, :1], torch.tensor([0, 1, 1, 0, 1])
    _close(function(binary, one).mean(), loss, one, binary)


@pytest.mark.parametrize("loss", [loss for loss in LOSSES if not isinstance(loss, NeuralLoss)], ids=str)
def test_sympy(loss):
    names = {}
    exec(export(loss, "sympy"), names)
    y, f, value = names["y"], names["f"], names["m"]
    for point in ((0.0, 0.25), (1.0, 0.75)):
        here = [torch.tensor([[number]]) for number in point]
        ours = loss.per_class(*here).item() * loss.scale
        theirs = float(value.evalf(20, subs={y: point[0], f: point[1]}))
        assert theirs == pytest.approx(ours, rel=1e-4, abs=1e-5)


NO_SHARES = [
    ("classification", [[0.5, 1.0, 0.0], [1.0, 0.0, 0.0]]),
    ("classification", [[1.0, 0.0, 0.0], [1.5, -0.5, 0.0]]),
    ("classification", [[1.0, 0.0, 0.0], [float("nan"), 0.5, 0.5]]),
    ("classification", [1.2, 0.0]),  # of one logit
    ("multilabel", [[0.0, 1.0, 1.5], [1.0, 0.0, 0.0]]),
]


@pytest.mark.parametrize("form", ["python", "numpy", "jax", "keras"])
@pytest.mark.parametrize(("task_type", "targets"), NO_SHARES, ids=str)
def test_soft_labels_that_are_no_shares_are_refused_or_give_nan(form, task_type, targets, monkeypatch):
    """As the loss itself refuses them, even where y is only looked at through a sign, which knows no nan in PyTorch."""
    loss, targets = SymbolicLoss("mul(sign(y), f)", task_type=task_type), torch.tensor(targets)
    outputs = torch.linspace(-1, 1, targets.numel()).reshape(targets.shape)
    with pytest.raises(DataError):
        loss(outputs, targets)
    function = _importable(loss, form, monkeypatch)
    good = torch.softmax(targets.nan_to_num(), 1) if targets.dim() > 1 else targets.clamp(0, 1)
    if form == "keras":
        assert function(targets, outputs.reshape(len(targets), -1)).mean().isnan()
        _close(function(good, outputs.reshape(len(targets), -1)).mean(), loss, outputs, good)
        return
    given, fine, logits = targets, good, outputs
    if form != "python":
        given, fine, logits = (each.numpy() for each in (targets, good, outputs))
    _close(function(logits, fine), loss, outputs, good)
    if form == "numpy":
        with pytest.raises(ValueError, match=r"^soft labels must lie between 0 and 1, and sum to 1 over the classes$"):
            function(logits, given)
    else:
        assert np.isnan(np.asarray(function(logits, given)))


def test_the_text_for_pytorch_is_traced_and_mapped_with_soft_labels():
    function, loss = _function(export(CLASSES[0], "python")), CLASSES[0]
    outputs, _ = _data(loss)
    soft = torch.softmax(outputs.flip(1), 1)
    each = torch.func.vmap(lambda z, t: function(z[None], t[None]))(outputs, soft)
    torch.testing.assert_close(each.mean(), loss(outputs, soft))


def _onnx_value(model, feeds):
    try:
        from onnxruntime import InferenceSession
    except ImportError:
        from onnx.reference import ReferenceEvaluator

        return ReferenceEvaluator(model).run(None, feeds)[0]
    return InferenceSession(model, providers=["CPUExecutionProvider"]).run(None, feeds)[0]


@pytest.mark.parametrize("loss", LOSSES, ids=str)
def test_onnx(loss):
    pytest.importorskip("onnx")
    outputs, targets = _data(loss, count=7)
    value = _onnx_value(export(loss, "onnx"), {"outputs": outputs.numpy(), "targets": targets.numpy()})
    _close(value, loss, outputs, targets)


def test_onnx_keeps_small_probabilities_of_what_is_absent():
    pytest.importorskip("onnx")
    model = export(SymbolicLoss("mul(-1, mul(y, log(f)))", task_type="multilabel"), "onnx")
    for z in (15.0, 17.0, 20.0, 90.0):
        given = {"outputs": np.array([[z]], np.float32), "targets": np.zeros((1, 1), np.float32)}
        expected = -math.log(1 / (1 + math.exp(z)) + 1e-7)
        assert float(_onnx_value(model, given)) == pytest.approx(expected, rel=1e-5)


def test_onnx_ignores_what_the_loss_ignores_and_gives_nan_for_labels_of_no_class():
    pytest.importorskip("onnx")
    loss = CLASSES[0]
    outputs, targets = _data(loss)
    model = export(loss, "onnx")
    targets[1] = -100
    _close(_onnx_value(model, {"outputs": outputs.numpy(), "targets": targets.numpy()}), loss, outputs, targets)
    for label in (-1, 3):
        targets[0] = label
        assert np.isnan(_onnx_value(model, {"outputs": outputs.numpy(), "targets": targets.numpy()}))


def test_onnx_gives_nan_for_several_labels_that_are_none():
    pytest.importorskip("onnx")
    loss = SymbolicLoss("square(sub(y, f))", task_type="multilabel")
    outputs, targets = _data(loss)[0], torch.eye(3)[[0, 1, 2, 0, 1]] * 0.75
    model = export(loss, "onnx")
    _close(_onnx_value(model, {"outputs": outputs.numpy(), "targets": targets.numpy()}), loss, outputs, targets)
    targets[0, 0] = 1.5
    assert np.isnan(_onnx_value(model, {"outputs": outputs.numpy(), "targets": targets.numpy()}))


def test_onnx_without_its_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(SettingError, match=r"^this export needs the package onnx; run pip install 'evomal\[onnx\]'$"):
        export(LOSSES[0], "onnx")


@pytest.mark.parametrize("loss", LOSSES[::4], ids=str)
def test_torchscript(loss):
    program = torch.jit.load(io.BytesIO(export(loss, "torchscript")))
    outputs, targets = _data(loss, count=9)
    torch.testing.assert_close(program(outputs, targets), loss(outputs, targets))
    if loss.task_type == "classification":
        more, labels = torch.randn(4, 11), torch.tensor([10, 0, 3, 7])
        torch.testing.assert_close(program(more, labels), loss(more, labels))


TERMINALS = "sub(mul(log(prior), square(sub(y, f))), max(sqrt(progress), div(f, prior)))"


@pytest.fixture(params=["classification", "regression"])
def of_terminals(request):
    """A loss that looks at everything that a formula may look at, in the middle of a training."""
    loss = SymbolicLoss(TERMINALS, _weights(13, 3), task_type=request.param)
    loss.prior = (0.6, 0.3, 0.1) if loss.needs_prior else None
    loss.progress = 0.3
    return loss


@pytest.mark.parametrize("form", ["python", "numpy", "jax", "keras", "onnx", "torchscript"])
def test_prior_and_progress(of_terminals, form, monkeypatch):
    loss = of_terminals
    outputs, targets = _data(loss)
    if form == "onnx":
        pytest.importorskip("onnx")
        feeds = {"outputs": outputs.numpy(), "targets": targets.numpy(), "progress": np.float32(0.3)}
        _close(_onnx_value(export(loss, "onnx"), feeds), loss, outputs, targets)
        return
    if form == "torchscript":
        program = torch.jit.load(io.BytesIO(export(loss, "torchscript")))
        _close(program(outputs, targets, torch.tensor(0.3)).detach(), loss, outputs, targets)
        return
    function = _importable(loss, form, monkeypatch)
    given = [targets, outputs] if form == "keras" else [outputs, targets]
    given = given if form in ("python", "keras") else [each.numpy() for each in given]
    _close(function(*given, progress=0.3).mean(), loss, outputs, targets)
    loss.progress = 1
    _close(function(*given).mean(), loss, outputs, targets)


def test_prior_and_progress_in_symbols(of_terminals):
    loss, names = of_terminals, {}
    exec(export(loss, "sympy"), names)
    share = 0.1 if loss.needs_prior else 1.0
    at = {"y": 0.0, "f": 0.25, "prior": share, "progress": 0.3}
    value = float(names["m"].evalf(20, subs={names[name]: number for name, number in at.items()}))
    ours = loss.per_class(torch.zeros(1, 3), torch.full((1, 3), 0.25))[0, 2]
    assert value == pytest.approx(ours.item(), rel=1e-4)
    assert r"\pi" in export(loss, "latex")
    assert r"\,t" in export(loss, "latex")


def test_a_prior_that_nobody_has_said_is_not_exported():
    loss = SymbolicLoss(TERMINALS, task_type="classification")
    for form in ("python", "numpy", "jax", "keras", "onnx"):
        with pytest.raises(SettingError, match=r"set criterion\.prior before it is exported"):
            export(loss, form)


def test_latex():
    loss = SymbolicLoss("square(sub(y, f))", [2, 1, 0.5], task_type="regression", scale=0.25)
    assert export(loss, "latex") == "0.25 \\left(\\left(2\\,\\left(y - 0.5\\,f_\\theta(x)\\right)\\right)^2\\right)\n"
    assert export(TaylorLoss([0, 0, 0, 2, 0, 0, 0, 0], task_type="regression"), "latex") == "f_\\theta(x)^2\n"


def test_what_cannot_be_exported_is_refused_by_name():
    neural = NeuralLoss(task_type="regression", hidden=3)
    with pytest.raises(
        SettingError, match=r"^a neural loss has no formula for latex; export it as python, numpy or onnx$"
    ):
        export(neural, "latex")
    with pytest.raises(SettingError, match=r"^a neural loss has no formula \(18 weights\); export it as python"):
        export(neural, "sympy")
    with pytest.raises(UnknownNameError, match=r"^unknown format 'pytorch'; did you mean 'python'\?"):
        export(neural, "pytorch")
    for form in FORMATS:
        with pytest.raises(SettingError, match=r"^'focal' is no learned loss, and "):
            export(HandcraftedLoss("focal"), form)


def test_numbers_are_short_and_exact():
    text = export(SymbolicLoss("mul(y, f)", [0.1, 1.25], task_type="regression"), "python")
    assert "values = (0.1 * y * 1.25 * f).sum(dim=1)" in text or "values = (0.1 * y * (1.25 * f)).sum(dim=1)" in text
