"""Exports as files of other programs: ONNX, TorchScript."""

import io
import math
import warnings
from collections.abc import Callable
from copy import deepcopy
from functools import partial
from itertools import count
from typing import Any

import torch

from evomal.expressions import EPSILON, OPERATORS, TERMINALS, Expression
from evomal.foundation.errors import SettingError
from evomal.losses.exports.heads import ignored_by
from evomal.losses.exports.tracing import require_prior
from evomal.losses.learned import LearnedLoss
from evomal.losses.neural import NeuralLoss
from evomal.losses.symbolic import SymbolicLoss
from evomal.losses.taylor import TERMS, TaylorLoss

OPSET, IR_VERSION = 18, 8  # of 2022: old enough for runtimes in use
_NAMES = {"Abs": "Abs", "Min": "Min", "Max": "Max", "sign": "Sign", "sqrt": "Sqrt", "log": "Log", "tanh": "Tanh"}


def torchscript(loss: LearnedLoss) -> bytes:
    """A TorchScript program ``loss(outputs, targets) -> scalar`` of outputs [B, C] and labels [B], or values [B, K].

    It is traced with targets as a loss of its task type usually meets them; batch and classes are free. Of a loss that
    looks at the progress of a training, that is a third argument, a tensor []. Values of targets are not checked.
    """
    classes = loss.task_type == "classification"
    wide = len(loss.prior) if isinstance(loss, SymbolicLoss) and loss.prior is not None else 4
    outputs = torch.linspace(-1.0, 1.0, 3 * wide).reshape(3, wide)
    targets = torch.tensor([0, wide - 1, 1]) if classes else outputs.flip(0)
    targets = (targets > 0).float() if loss.task_type == "multilabel" else targets
    plain = deepcopy(loss).cpu()  # traced as a mean over the batch, whatever is set
    plain.reduction = "mean"
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the branches on shapes are those of every such batch
        if plain.sees_progress:
            traced = torch.jit.trace(_OfProgress(plain), (outputs, targets, torch.tensor(0.5)))
        else:
            traced = torch.jit.trace(plain, (outputs, targets))
        torch.jit.save(traced, buffer)
    return buffer.getvalue()


class _OfProgress(torch.nn.Module):
    """A loss whose progress is an argument, as what is traced has no settings."""

    def __init__(self, loss: LearnedLoss) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, outputs: torch.Tensor, targets: torch.Tensor, progress: torch.Tensor) -> torch.Tensor:
        self.loss.__dict__["_progress"] = progress  # past the check, which would ask for its value
        value: torch.Tensor = self.loss(outputs, targets)
        return value


def onnx(loss: LearnedLoss) -> bytes:
    """An ONNX model of ``outputs`` (float32 [B, C]) and ``targets`` (int64 [B], or float32 [B, C]), giving ``loss``.

    Of a loss that looks at the progress of a training, there is a third input ``progress``, float32 []. Labels of
    the loss's ``ignore_index`` do not count, and those of no class, which a graph cannot refuse, give nan; so do
    targets of several labels that are not between 0 and 1.

    Raises:
        SettingError: The package ``onnx`` is missing.
    """
    try:
        from onnx import TensorProto, checker, helper
    except ImportError:
        raise SettingError("this export needs the package onnx; run pip install 'evomal[onnx]'") from None
    graph = _Graph(helper)
    classes = loss.task_type == "classification"
    y, f = graph.one_hot_and_softmax() if classes else (graph.input("targets"), graph.input("outputs"))
    if loss.task_type == "multilabel":  # each label is a class beside its absence
        absent = graph.node("Sigmoid", graph.node("Neg", f))  # 1 - f would be 0 where it is small
        summed = _value(loss, graph, y, graph.node("Sigmoid", f))
        summed = graph.where_probable(y, summed + _value(loss, graph, graph.constant(1.0) - y, absent))
    else:
        axis = graph.constant([1], TensorProto.INT64)
        summed = graph.node("ReduceSum", _value(loss, graph, y, f), axis, keepdims=0)
    mean = graph.mean_of_labelled(summed, ignored_by(loss)) if classes else graph.node("ReduceMean", summed, keepdims=0)
    graph.node("Mul", mean, graph.constant(loss.scale), output="loss")
    labels = (TensorProto.INT64, ["batch"]) if classes else (TensorProto.FLOAT, ["batch", "outputs"])
    inputs = [
        helper.make_tensor_value_info("outputs", TensorProto.FLOAT, ["batch", "outputs"]),
        helper.make_tensor_value_info("targets", *labels),
    ]
    if loss.sees_progress:
        inputs.append(helper.make_tensor_value_info("progress", TensorProto.FLOAT, []))
    result = [helper.make_tensor_value_info("loss", TensorProto.FLOAT, [])]
    made = helper.make_graph(graph.nodes, "learned_loss", inputs, result, graph.constants)
    opset = helper.make_opsetid("", OPSET)
    model = helper.make_model(made, opset_imports=[opset], ir_version=IR_VERSION, producer_name="evomal")
    checker.check_model(model)
    return bytes(model.SerializeToString())


def _value(loss: LearnedLoss, graph: "_Graph", y: "_Value", f: "_Value") -> "_Value":
    if isinstance(loss, SymbolicLoss):
        constants = {n: t.constant for n, t in TERMINALS.items() if t.constant is not None}
        leaves = {"y": y, "f": f} | {name: graph.constant(value) for name, value in constants.items()}
        if loss.sees_progress:
            leaves["progress"] = graph.input("progress")
        if "prior" in loss.expression.extras:
            leaves["prior"] = graph.constant(list(require_prior(loss)))
        value = _node(loss.expression, iter(loss.coefficients), graph, leaves)
        return graph.node("Softplus", value) if loss.output_activation == "softplus" else value
    if isinstance(loss, TaylorLoss):
        return _polynomial(loss, graph, y, f)
    if isinstance(loss, NeuralLoss):
        last = graph.constant([-1], graph.helper.TensorProto.INT64)
        units = graph.node("Concat", graph.node("Unsqueeze", y, last), graph.node("Unsqueeze", f, last), axis=-1)
        for matrix in (loss.first, loss.second):
            units = graph.node("Relu", graph.node("MatMul", units, graph.constant(matrix.detach().T)))
        product = graph.node("MatMul", units, graph.constant(loss.last.detach().T))
        return graph.node("Softplus", graph.node("Squeeze", product, last))
    raise SettingError(f"a loss of the family '{loss.family}' cannot be exported; train with the loss itself")


def _node(node: Expression, weights: Any, graph: "_Graph", leaves: dict[str, "_Value"]) -> "_Value":
    if not node.children:
        return leaves[node.symbol]
    arguments = []
    for child in node.children:
        weight = next(weights)  # before those below it: φ is in pre-order of the child node
        arguments.append(graph.constant(weight) * _node(child, weights, graph, leaves))
    value: _Value = OPERATORS[node.symbol].sympy(graph, EPSILON, *arguments)
    return value


def _polynomial(loss: TaylorLoss, graph: "_Graph", y: "_Value", f: "_Value") -> "_Value":
    theta = loss.coefficients
    sign = 1.0 if loss.task_type == "regression" else -1.0
    a, b = y - theta[0], f - theta[1]
    value = b * 0.0
    for place, factor, on_y, on_f in TERMS:
        term = graph.constant(sign * factor * theta[place])
        for leaf, power in ((a, on_y), (b, on_f)):
            for _ in range(power):
                term = term * leaf
        value = value + term
    return value


class _Value:
    """A value of the graph, with the arithmetic that the operator table uses."""

    def __init__(self, graph: "_Graph", name: str) -> None:
        self.graph, self.name = graph, name

    def __add__(self, other: "_Value | float") -> "_Value":
        return self.graph.node("Add", self, self.graph.value(other))

    def __radd__(self, other: float) -> "_Value":
        return self + other

    def __sub__(self, other: "_Value | float") -> "_Value":
        return self.graph.node("Sub", self, self.graph.value(other))

    def __mul__(self, other: "_Value | float") -> "_Value":
        return self.graph.node("Mul", self, self.graph.value(other))

    def __truediv__(self, other: "_Value | float") -> "_Value":
        return self.graph.node("Div", self, self.graph.value(other))

    def __pow__(self, exponent: int) -> "_Value":
        return self.graph.node("Mul", self, self) if exponent == 2 else self.graph.node("Pow", self, exponent)


class _Graph:
    """An ONNX graph under construction; what the operator table calls a module of functions makes its nodes."""

    def __init__(self, helper: Any) -> None:
        self.helper = helper
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self._names = (f"v{place}" for place in count())

    def __getattr__(self, name: str) -> Callable[..., _Value]:
        if name.startswith("__"):
            raise AttributeError(name)
        if name not in _NAMES:
            raise SettingError(f"the formula needs the function '{name}', which no export knows; train with the loss")
        return partial(self.node, _NAMES[name])

    def input(self, name: str) -> _Value:
        """An input of the model."""
        return _Value(self, name)

    def value(self, given: "_Value | float") -> _Value:
        """The value itself, or that of a number."""
        return given if isinstance(given, _Value) else self.constant(float(given))

    def constant(self, numbers: Any, kind: int | None = None) -> _Value:
        """A number, a list of numbers or a matrix, in float32 unless another kind is asked for."""
        tensor = torch.as_tensor(numbers)
        name = next(self._names)
        kind = self.helper.TensorProto.FLOAT if kind is None else kind
        made = self.helper.make_tensor(name, kind, list(tensor.shape), tensor.reshape(-1).tolist())
        self.constants.append(made)
        return _Value(self, name)

    def node(self, kind: str, *arguments: "_Value | float", output: str | None = None, **attributes: Any) -> _Value:
        """A node of the graph."""
        name = output or next(self._names)
        inputs = [self.value(argument).name for argument in arguments]
        self.nodes.append(self.helper.make_node(kind, inputs, [name], **attributes))
        return _Value(self, name)

    def one_hot_and_softmax(self) -> tuple[_Value, _Value]:
        """Targets and predictions of a classification: one-hot labels, and the softmax of the outputs."""
        one_hot = self.node("OneHot", self.input("targets"), self._classes(), self.constant([0.0, 1.0]), axis=1)
        return one_hot, self.node("Softmax", self.input("outputs"), axis=1)

    def mean_of_labelled(self, values: _Value, ignored: int) -> _Value:
        """The mean of values over labels that count, nan where one is of no class: OneHot would count from the end."""
        labels, whole = self.input("targets"), self.helper.TensorProto.INT64
        kept = self.node("Not", self.node("Equal", labels, self.constant(ignored, whole)))
        known = self.node("GreaterOrEqual", labels, self.constant(0, whole))
        known = self.node("And", known, self.node("Less", labels, self._classes()))
        counted = self.node("Where", kept, self.node("Where", known, values, math.nan), 0.0)
        number = self.node("Cast", kept, to=self.helper.TensorProto.FLOAT)
        return self.node("ReduceSum", counted, keepdims=0) / self.node("ReduceSum", number, keepdims=0)

    def where_probable(self, targets: _Value, values: _Value) -> _Value:
        """Values where a target is 0, 1 or between them, and nan where it is not."""
        known = self.node("And", self.node("GreaterOrEqual", targets, 0.0), self.node("LessOrEqual", targets, 1.0))
        return self.node("Where", known, values, math.nan)

    def _classes(self) -> _Value:
        """How many classes the outputs are for, int64 []."""
        place = self.constant(1, self.helper.TensorProto.INT64)
        return self.node("Gather", self.node("Shape", self.input("outputs")), place)
