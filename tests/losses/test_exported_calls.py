"""Exported functions take what the criterion takes, and refuse what it refuses; in a graph they give nan for that."""

import re

import numpy as np
import pytest
import torch

from evomal.foundation.errors import DataError
from evomal.losses import SymbolicLoss
from evomal.losses.exports import export

G = torch.Generator().manual_seed(0)
LOGITS, MANY, IMAGE = (
    torch.randn(6, 3, generator=G),
    torch.randn(6, 200, generator=G),
    torch.randn(2, 1, 4, generator=G),
)
LABELS = torch.tensor([0, 1, 2, -100, 1, 1])
BITS = (LOGITS > 0).long()
SOME = torch.where(LOGITS > 1, -100, BITS)
FORMS = ("python", "numpy", "jax", "keras")
TEXTS = {
    "classification": "mul(-1, mul(y, log(f)))",
    "multilabel": "mul(-1, mul(y, log(f)))",
    "regression": "square(sub(y, f))",
}

TAKEN = {
    "an ignored label": ("classification", LOGITS, LABELS),
    "bytes": ("classification", MANY, torch.tensor([156, 1, 156, 0, 1, 1], dtype=torch.uint8)),
    "one logit": ("classification", LOGITS[:, 0], BITS[:, 1]),
    "one logit, labels [B, 1]": ("classification", LOGITS[:, 0], BITS[:, 1:2]),
    "one logit [B, 1], one ignored": ("classification", LOGITS[:, :1], SOME[:, 0]),
    "one logit, bool": ("classification", LOGITS[:, :1], BITS[:, 1].bool()),
    "one logit, shares": ("classification", LOGITS[:, 0], torch.sigmoid(LOGITS[:, 1])),
    "one logit of pixels": ("classification", IMAGE, (IMAGE[:, 0] > 0).long()),
    "soft labels": ("classification", LOGITS, torch.softmax(LOGITS.flip(0), 1)),
    "several labels": ("multilabel", LOGITS, BITS),
    "several labels, shares": ("multilabel", LOGITS, torch.sigmoid(LOGITS.flip(0))),
    "several labels, bool": ("multilabel", LOGITS, BITS.bool()),
    "several labels, some ignored": ("multilabel", LOGITS, SOME),
    "whole numbers": ("regression", LOGITS, BITS),
    "values [B] and [B, 1]": ("regression", LOGITS[:, 0], LOGITS[:, 1:2]),
    "values [B, 1] and [B]": ("regression", LOGITS[:, :1], LOGITS[:, 1]),
}
MISFITS = {
    "values turned": ("regression", LOGITS, LOGITS.T),
    "values in a row": ("regression", LOGITS[:, 0], LOGITS[:, :1].T),
    "one value for all": ("regression", LOGITS[:, :1], LOGITS[:1, :1]),
    "one label for all": ("classification", LOGITS, LABELS[:1]),
    "one soft label for all": ("classification", LOGITS, torch.softmax(LOGITS, 1)[:1]),
    "soft labels of two classes": ("classification", LOGITS, torch.softmax(LOGITS[:, :2], 1)),
    "labels in another shape": ("classification", LOGITS[:, 0], BITS[:, 0].reshape(2, 3)),
    "one logit, shares in another shape": ("classification", LOGITS[:, :1], torch.sigmoid(LOGITS[:, 0]).reshape(3, 2)),
    "several labels turned": ("multilabel", LOGITS, BITS.T),
    "several labels, one row for all": ("multilabel", LOGITS, BITS[:1].float()),
}
NO_CLASS = {
    "-1": ("classification", LOGITS, torch.tensor([0, 1, 2, -1, 1, 1])),
    "3 of 3": ("classification", LOGITS, torch.tensor([0, 1, 2, 3, 1, 1])),
    "2 for one logit": ("classification", LOGITS[:, 0], torch.tensor([0, 1, 0, 2, 1, 1])),
    "2 of a label": ("multilabel", LOGITS, BITS * 2),
}


def _loss(task_type):
    return SymbolicLoss(TEXTS[task_type], task_type=task_type)


@pytest.fixture(params=FORMS)
def called(request, monkeypatch):
    """A loss as a function of some library, called with tensors, that gives a number for each instance."""
    form = request.param
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    if form in ("jax", "keras"):
        pytest.importorskip(form)

    def call(task_type, outputs, targets):
        names = {}
        exec(export(_loss(task_type), form), names)  # the tests' own text
        function = names["learned_loss"]
        if form == "keras":
            return function(targets, outputs)
        given = (outputs, targets) if form == "python" else (outputs.numpy(), targets.numpy())
        if form == "jax":
            function = pytest.importorskip("jax").jit(function, static_argnames="reduction")
        found = function(*given, reduction="none"), function(*given)
        return found if form == "python" else tuple(torch.as_tensor(np.array(each)) for each in found)

    call.form = form
    return call


@pytest.mark.parametrize("name", TAKEN)
def test_what_the_criterion_takes(called, name):
    task_type, outputs, targets = TAKEN[name]
    if called.form == "keras" and outputs is IMAGE:
        pytest.skip("Keras has its classes in the last place")
    loss = _loss(task_type)
    mean = loss(outputs, targets)
    loss.reduction = "none"
    values = loss(outputs, targets)
    if called.form != "keras":
        torch.testing.assert_close(
            called(task_type, outputs, targets), (values.detach(), mean.detach()), check_dtype=False
        )
        return
    if task_type == "multilabel":  # a mean over the labels of an instance that count
        values = values.sum(1) / (targets != -100).sum(1).clamp(min=1)
    torch.testing.assert_close(called(task_type, outputs, targets), values)


@pytest.mark.parametrize("kind", ["int64", "float16", "bfloat16"])
@pytest.mark.parametrize("task_type", TEXTS)
@pytest.mark.parametrize("form", ["numpy", "jax"])
def test_whole_numbers_and_half_precision_are_computed_in_float32(form, task_type, kind):
    """As integers, targets between them would be cut off; in half precision, ε is none."""
    module = np if form == "numpy" else pytest.importorskip("jax.numpy")
    names = {}
    exec(export(_loss(task_type), form), names)  # the tests' own text
    if form == "numpy" and kind == "bfloat16":
        kind = pytest.importorskip("ml_dtypes").bfloat16  # as JAX gives it to NumPy
    outputs = module.asarray((LOGITS * 9).round().numpy()).astype(kind)
    targets = torch.softmax(LOGITS.flip(0), 1)
    expected = _loss(task_type)(torch.from_numpy(np.array(outputs.astype("float32"))), targets)
    assert float(names["learned_loss"](outputs, targets.numpy())) == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.parametrize("name", MISFITS)
def test_shapes_that_the_criterion_refuses(called, name):
    task_type, outputs, targets = MISFITS[name]
    with pytest.raises(DataError, match="do not fit outputs"):
        _loss(task_type)(outputs, targets)
    shapes = [re.escape(str(tuple(each.shape))) for each in (targets, outputs)]
    message = r"y_true \(.*\) does not fit y_pred {1}" if called.form == "keras" else "targets {} do not fit outputs {}"
    with pytest.raises(ValueError, match=f"(?m)^{message.format(*shapes)}$"):
        called(task_type, outputs, targets)


@pytest.mark.parametrize("name", NO_CLASS)
def test_labels_of_no_class(called, name):
    task_type, outputs, targets = NO_CLASS[name]
    with pytest.raises(DataError, match="labels must lie in 0"):
        _loss(task_type)(outputs, targets)
    if called.form == "python":
        with pytest.raises(RuntimeError, match="out of bounds"):  # PyTorch's own
            called(task_type, outputs, targets)
    elif called.form == "numpy":
        with pytest.raises(ValueError, match=r"^targets hold label (-1|2|3), but outputs are for [23] classes$"):
            called(task_type, outputs, targets)
    else:
        found = called(task_type, outputs, targets)
        values = found if called.form == "keras" else found[0]
        odd = (targets < 0) | (targets >= max(2, outputs.dim() == 2 and outputs.shape[1]))
        if task_type == "multilabel":
            odd = BITS.bool() if called.form == "jax" else BITS.bool().any(1)
        assert torch.equal(values.isnan(), odd)
        assert called.form == "keras" or found[1].isnan()


def test_an_ignored_label_of_a_class_that_is_ruled_out_has_a_gradient():
    """Its logit is -inf, and what is ignored must not turn the rest into nan."""
    function = {}
    exec(export(_loss("classification"), "python"), function)
    slopes = []
    for loss in (_loss("classification"), function["learned_loss"]):
        outputs = torch.where(torch.tensor([False, True, True]), LOGITS, -torch.inf).requires_grad_()
        slopes += torch.autograd.grad(loss(outputs, torch.tensor([1, 1, 2, -100, 1, 1])), outputs)
    torch.testing.assert_close(slopes[1], slopes[0], equal_nan=True)


@pytest.mark.parametrize("form", ["python", "numpy", "jax"])
@pytest.mark.parametrize("ignored", [255, None])
def test_a_function_ignores_what_its_loss_ignores(form, ignored):
    if form == "jax":
        pytest.importorskip("jax")
    loss = _loss("classification")
    loss.ignore_index = ignored
    targets = torch.tensor([0, 1, 255 if ignored else 2, 1, 0, 2])
    names = {}
    exec(export(loss, form), names)
    given = (LOGITS, targets) if form == "python" else (LOGITS.numpy(), targets.numpy())
    assert float(names["learned_loss"](*given)) == pytest.approx(float(loss(LOGITS, targets).detach()), rel=1e-5)


def test_a_keras_function_and_a_graph_ignore_what_their_loss_ignores():
    loss = _loss("classification")
    loss.ignore_index = 255
    assert "t != 255" in export(loss, "keras")
    assert "255 gives 0" in export(loss, "keras")
    onnx = pytest.importorskip("onnx")
    run = pytest.importorskip("onnx.reference").ReferenceEvaluator(onnx.load_from_string(export(loss, "onnx")))
    targets = torch.tensor([0, 1, 255, 1, 0, 2])
    (found,) = run.run(None, {"outputs": LOGITS.numpy(), "targets": targets.numpy()})
    assert float(found) == pytest.approx(float(loss(LOGITS, targets).detach()), rel=1e-5)
