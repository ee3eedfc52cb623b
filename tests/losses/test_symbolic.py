import ast
import copy
import io
import operator
import pickle

import pytest
import torch
from torch.func import functional_call, jvp, vmap
from torch.nn.functional import cross_entropy, one_hot, softmax

import evomal
from evomal.expressions import evaluate, parse, to_formula
from evomal.foundation.errors import ExpressionError, SettingError
from evomal.losses import SymbolicLoss, load_loss

# Together they hold every operator but sign, which has no gradient.
FORMULAS = [
    "abs(log(mul(y, f)))",
    "square(sub(y, f))",
    "sub(tanh(mul(f, add(y, 1))), mul(y, log(f)))",
    "div(sub(f, y), sqrt(add(f, 1)))",
    "max(mul(y, f), min(sub(f, -1), square(y)))",
]
FLOAT64 = {"dtype": torch.float64}


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def _loss(formula, seed=0, **settings):
    draw = torch.Generator().manual_seed(seed)
    loss = SymbolicLoss(formula, **{"task_type": "classification"} | settings).double()
    with torch.no_grad():
        loss.weights += 0.2 * torch.randn(loss.weights.shape, generator=draw, **FLOAT64)
    return loss


def _data(batch=4, classes=3, seed=7):
    """Logits and soft labels: no value lies on a kink of any operator."""
    draw = torch.Generator().manual_seed(seed)
    logits = torch.randn(batch, classes, generator=draw, **FLOAT64)
    return logits, softmax(torch.randn(batch, classes, generator=draw, **FLOAT64), dim=1)


OPERATIONS = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
    ast.USub: operator.neg,
}
FUNCTIONS = {"abs": torch.abs, "log": torch.log, "sqrt": torch.sqrt, "tanh": torch.tanh, "sign": torch.sign}
FUNCTIONS |= {"min": torch.minimum, "max": torch.maximum}


def _read(node, names):
    """The value of printed text by Python's own grammar: shares nothing with what is tested."""
    if isinstance(node, ast.Constant):
        return torch.tensor(float(node.value), **FLOAT64)
    if isinstance(node, ast.Name):
        return names[node.id]
    if isinstance(node, ast.UnaryOp):
        return OPERATIONS[type(node.op)](_read(node.operand, names))
    if isinstance(node, ast.BinOp):
        return OPERATIONS[type(node.op)](_read(node.left, names), _read(node.right, names))
    assert isinstance(node, ast.Call)
    return FUNCTIONS[node.func.id](*(_read(argument, names) for argument in node.args))


@pytest.mark.parametrize("formula", [*FORMULAS, "add(sign(sub(y, f)), square(mul(f, -1)))"])
def test_the_printed_formula_is_the_one_computed(formula):
    loss = _loss(formula)
    logits, y = _data()
    printed = to_formula(loss.expression, loss.weights.tolist(), ascii=True)
    values = _read(ast.parse(printed, mode="eval").body, {"y": y, "f": softmax(logits, dim=1)})
    torch.testing.assert_close(loss(logits, y), values.sum(1).mean(), rtol=1e-12, atol=0)
    people = loss.formula().translate(str.maketrans({"·": "*", "²": "**2", "√": "sqrt", "ε": "1e-07"}))
    assert people == printed
    assert loss.formula(digits=4) in repr(loss)


def test_softplus_is_computed_per_class_and_printed():
    plain, soft = (_loss(FORMULAS[2], output_activation=kind) for kind in ("identity", "softplus"))
    logits, y = _data()
    values = evaluate(plain.expression, y, softmax(logits, dim=1), plain.weights)
    expected = torch.log1p(values.exp()).sum(1).mean()
    torch.testing.assert_close(soft(logits, y), expected, rtol=1e-12, atol=0)
    assert soft.formula() == f"softplus({plain.formula()})"


@pytest.mark.parametrize("task_type", ["classification", "regression"])
@pytest.mark.parametrize("formula", FORMULAS)
def test_first_and_second_derivatives(formula, task_type):
    loss = _loss(formula, task_type=task_type)
    outputs, y = _data()
    if task_type == "regression":
        outputs = outputs.abs() + 0.3
    outputs.requires_grad_()
    phi = loss.weights.detach().clone().requires_grad_()

    def value(outputs, phi):
        return functional_call(loss, {"weights": phi}, (outputs, y))

    assert torch.autograd.gradcheck(value, (outputs, phi))
    assert torch.autograd.gradgradcheck(value, (outputs, phi))


@pytest.mark.parametrize("formula", FORMULAS)
def test_forward_mode_agrees_with_reverse_mode(formula):
    loss = _loss(formula, output_activation="softplus")
    logits, y = _data()
    phi = loss.weights.detach()
    tangents = (torch.randn_like(logits), torch.randn_like(phi))

    def value(logits, phi):
        return functional_call(loss, {"weights": phi}, (logits, y))

    _, forward = jvp(value, (logits, phi), tangents)
    leaves = [logits.clone().requires_grad_(), phi.clone().requires_grad_()]
    gradients = torch.autograd.grad(value(*leaves), leaves)
    reverse = sum((g * t).sum() for g, t in zip(gradients, tangents, strict=True))
    torch.testing.assert_close(forward, reverse, rtol=1e-10, atol=1e-12)


def test_many_phi_at_once_by_vmap():
    loss = _loss(FORMULAS[2])
    logits, y = _data()
    labels = y.argmax(1)
    phis = loss.weights.detach() + 0.1 * torch.randn(6, *loss.weights.shape, **FLOAT64)

    def value(phi):
        return functional_call(loss, {"weights": phi}, (logits, labels))

    torch.testing.assert_close(vmap(value)(phis), torch.stack([value(phi) for phi in phis]), rtol=1e-12, atol=0)
    gradients = vmap(torch.func.grad(value))(phis)
    torch.testing.assert_close(gradients[3], torch.func.grad(value)(phis[3]), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("way", [copy.deepcopy, lambda loss: pickle.loads(pickle.dumps(loss))], ids=["copy", "pickle"])
def test_copies_are_equal_and_their_own(way):
    loss = _loss(FORMULAS[2], reduction="sum", ignore_index=None, output_activation="softplus")
    loss.info = {"seed": 3}
    logits, y = _data()
    other = way(loss)
    assert torch.equal(other(logits, y), loss(logits, y))
    assert (other.info, other.reduction, other.ignore_index) == ({"seed": 3}, "sum", None)
    with torch.no_grad():
        other.weights += 1
    other.info["seed"] = 4
    assert not torch.equal(other(logits, y), loss(logits, y))
    assert loss.info == {"seed": 3}


def test_state_dict_round_trip():
    loss, other = _loss(FORMULAS[2], seed=1, scale=0.3), _loss(FORMULAS[2], seed=2)
    stream = io.BytesIO()
    torch.save(loss.state_dict(), stream)
    stream.seek(0)
    other.load_state_dict(torch.load(stream, weights_only=True))
    assert torch.equal(loss(*_data()), other(*_data()))


def test_phi_is_one_parameter_in_the_default_dtype_and_one_where_nothing_is_given():
    loss = SymbolicLoss("square(sub(y, f))", task_type="regression")
    ((name, weights),) = loss.named_parameters()
    assert (name, weights.tolist(), weights.dtype) == ("weights", [1.0, 1.0, 1.0], torch.float32)
    given = torch.tensor([1.0, 2.0, 3.0], **FLOAT64)
    loss = SymbolicLoss(parse("square(sub(y, f))"), given, task_type="regression")
    assert loss.weights.dtype == torch.float32
    given += 1
    assert loss.weights.tolist() == [1.0, 2.0, 3.0]


def test_phi_follows_the_outputs_dtype_and_still_learns():
    loss = SymbolicLoss("square(sub(y, f))", task_type="regression")
    value = loss(torch.tensor([0.5], **FLOAT64), torch.tensor([1.0], **FLOAT64))
    assert value.dtype == torch.float64
    value.backward()
    assert loss.weights.grad.dtype == torch.float32
    # (a(by - cf))² with y = 1, f = 0.5 and all weights 1: derivatives 2·r², 2·r·y, -2·r·f for r = 0.5.
    assert loss.weights.grad.tolist() == [0.5, 1.0, -0.5]


def test_constants_have_the_precision_of_the_outputs():
    loss = SymbolicLoss("mul(mul(y, f), log(add(1, 1)))", [1, 1, 1, 1, 1, 0.75, 1.25], task_type="regression")
    f, y = torch.tensor([0.3, 0.7]), torch.tensor([1.0, 2.0])
    exact = loss(f, y)
    assert torch.equal(loss.bfloat16()(f, y), exact)  # the weights themselves are exact in eight bits


def test_cross_entropy_with_hindsight():
    # Σ_c |log(y f)| is cross-entropy plus a constant for every other class; the ε inside shifts it a little.
    draw = torch.Generator().manual_seed(0)
    logits = (3 * torch.randn(50, 10, generator=draw, **FLOAT64)).requires_grad_()
    labels = torch.randint(0, 10, (50,), generator=draw)
    loss = SymbolicLoss("abs(log(mul(y, f)))", task_type="classification").double()
    constants = 9 * abs(torch.log(torch.tensor(1e-7, **FLOAT64)))
    likely = softmax(logits, dim=1)[one_hot(labels, 10).bool()]
    torch.testing.assert_close(loss(logits, labels) - constants, -(likely + 1e-7).log().mean(), rtol=1e-12, atol=0)
    (ours,) = torch.autograd.grad(loss(logits, labels), logits)
    (theirs,) = torch.autograd.grad(cross_entropy(logits, labels), logits)
    sure = (likely > 1e-3).nonzero().squeeze(1)
    assert len(sure) > 30
    torch.testing.assert_close(ours[sure], theirs[sure], rtol=1e-4, atol=0)
    torch.testing.assert_close(ours, theirs * (likely / (likely + 1e-7)).unsqueeze(1), rtol=1e-9, atol=1e-15)


def test_a_learned_loss_is_one_line_of_pytorch(tmp_path):
    loss = _loss(FORMULAS[0])
    loss.save(tmp_path / "loss.json")
    criterion = evomal.load_loss(tmp_path / "loss.json")
    assert type(criterion) is evomal.SymbolicLoss
    assert torch.equal(criterion.weights, loss.weights.float())
    assert load_loss is evomal.load_loss


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"expression": "abs(f)"}, ExpressionError, "formula 'abs(f)' lacks y; a loss needs both y and f"),
        ({"expression": "abs(1)"}, ExpressionError, "formula 'abs(1)' lacks y and f; a loss needs both y and f"),
        (
            {"weights": [1.0, 1.0]},
            SettingError,
            "formula 'square(sub(y, f))' has 3 weights but those given have shape [2]; give a flat list",
        ),
        (
            {"weights": [[1.0, 1.0, 1.0]]},
            SettingError,
            "formula 'square(sub(y, f))' has 3 weights but those given have shape [1, 3]; give a flat list",
        ),
        (
            {"weights": [1.0, float("nan"), 1.0]},
            SettingError,
            "the weights of formula 'square(sub(y, f))' hold a number that is not finite; give finite ones",
        ),
        (
            {"weights": [1.0, 1e39, 1.0]},  # infinite in float32
            SettingError,
            "the weights of formula 'square(sub(y, f))' hold a number that is not finite; give finite ones",
        ),
        (
            {"weights": [1.0, "2", 1.0]},
            SettingError,
            "the weights of formula 'square(sub(y, f))' are not numbers; give a flat list of 3",
        ),
        (
            {"weights": [1.0, 10**400, 1.0]},
            SettingError,
            "the weights of formula 'square(sub(y, f))' are not numbers; give a flat list of 3",
        ),
        (
            {"output_activation": "relu"},
            SettingError,
            "output_activation is 'relu'; use 'identity' or 'softplus'",
        ),
        (
            {"task_type": "ranking"},
            SettingError,
            "task_type is 'ranking'; use 'classification', 'regression' or 'multilabel'",
        ),
        ({"reduction": "max"}, SettingError, "reduction is 'max'; use 'mean', 'sum' or 'none'"),
    ],
)
def test_what_cannot_be_a_loss(settings, error, message):
    with pytest.raises(error) as caught:
        SymbolicLoss(**{"expression": "square(sub(y, f))", "task_type": "regression"} | settings)
    assert str(caught.value) == message
