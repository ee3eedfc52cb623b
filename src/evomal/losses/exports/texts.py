"""Exports as text: a function in PyTorch, NumPy, JAX or Keras, a SymPy expression, LaTeX."""

from textwrap import dedent, indent

from evomal.expressions import TERMINALS, to_latex
from evomal.expressions.formula import activated_latex, scaled_latex
from evomal.foundation.errors import SettingError
from evomal.losses.exports.tracing import Dialect, code_of
from evomal.losses.learned import LearnedLoss
from evomal.losses.symbolic import SymbolicLoss
from evomal.losses.taylor import TaylorLoss

DIGITS = 4
WIDE = 100  # letters of a formula that is quoted in a comment

_TORCH = Dialect(
    "torch",
    filled="torch.full_like(f, #1)",
    softplus="torch.nn.functional.softplus(#1)",
    pair="torch.stack([y, f], dim=-1)",
    matrix="torch.tensor(#1, dtype=f.dtype, device=f.device)",
    prior="torch.tensor(#1, dtype=f.dtype, device=f.device).reshape(-1, *[1] * (f.dim() - 2))",
    progress="torch.as_tensor(progress, dtype=f.dtype, device=f.device)",
    relu_layer="torch.relu(#1 @ #2)",
    last="(#1 @ #2).squeeze(-1)",
)
_KERAS = Dialect(
    "ops",
    filled="ops.full_like(f, #1)",
    softplus="ops.softplus(#1)",
    pair="ops.stack([y, f], axis=-1)",
    matrix="ops.convert_to_tensor(#1, dtype=f.dtype)",
    prior="ops.convert_to_tensor(#1, dtype=f.dtype)",
    progress="ops.convert_to_tensor(progress, dtype=f.dtype)",
    relu_layer="ops.relu(ops.matmul(#1, #2))",
    last="ops.squeeze(ops.matmul(#1, #2), axis=-1)",
)
_SYMPY = Dialect(
    "sympy",
    functions={"Abs": "Abs", "Min": "Min", "Max": "Max"},
    filled="sympy.Float(#1)",
    softplus="sympy.log(1 + sympy.exp(#1))",
)


def _numpy_like(module: str, softplus: str) -> Dialect:
    return Dialect(
        module,
        softplus=softplus,
        pair=f"{module}.stack([y, f], axis=-1)",
        matrix=f"{module}.asarray(#1, dtype=f.dtype)",
        prior=f"{module}.asarray(#1, dtype=f.dtype).reshape(-1, *[1] * (f.ndim - 2))",
        progress=f"{module}.asarray(progress, dtype=f.dtype)",
        relu_layer=f"{module}.maximum(#1 @ #2, 0)",
        last="(#1 @ #2)[..., 0]",
    )


def python(loss: LearnedLoss) -> str:
    """One function in plain PyTorch, free of everything else, called as PyTorch's criteria are."""
    head = {"classification": _TORCH_CLASSES, "multilabel": _TORCH_LABELS}.get(loss.task_type, _TORCH_VALUES)
    return _function(loss, _TORCH, "import torch", head, _TORCH_END[loss.task_type])


def numpy(loss: LearnedLoss) -> str:
    """One function in NumPy: values, no gradients."""
    soft = "shifted = np.exp(outputs - outputs.max(axis=1, keepdims=True))\n"
    soft += "f = shifted / shifted.sum(axis=1, keepdims=True)"
    dialect = _numpy_like("np", "np.logaddexp(0, #1)")
    return _arrays(loss, dialect, "import numpy as np", soft)


def jax(loss: LearnedLoss) -> str:
    """One function in JAX, for `jax.grad` and `jax.jit`."""
    dialect = _numpy_like("jnp", "jax.nn.softplus(#1)")
    return _arrays(loss, dialect, "import jax\nimport jax.numpy as jnp", "f = jax.nn.softmax(outputs, axis=1)")


def keras(loss: LearnedLoss) -> str:
    """One function for ``model.compile(loss=learned_loss)`` of Keras 3, on any of its backends."""
    head = {"classification": _KERAS_CLASSES, "multilabel": _KERAS_LABELS}.get(loss.task_type, _KERAS_VALUES)
    lines, value = code_of(loss, _KERAS)
    total = f"ops.sum({value}, axis=-1)"
    total = f"ops.mean({total}, axis=-1)" if loss.task_type == "multilabel" else total
    body = [*_block(head), *lines, f"return {total}"]
    arguments = "y_true, y_pred" + _progress(loss)
    return _text(loss, "from keras import ops", arguments, body, _KERAS_SHAPES[loss.task_type])


def sympy(loss: LearnedLoss) -> str:
    """SymPy code for m(y, f), what the loss gives for one class or output; ε, φ and scale are in it."""
    lines, value = code_of(loss, _SYMPY)
    comment = "# The loss is the sum of m over classes (or outputs), averaged over the batch.\n"
    symbols = ['y, f = sympy.symbols("y f", real=True)']
    for name in loss.expression.extras if isinstance(loss, SymbolicLoss) else ():
        symbols.append(f'{name} = sympy.Symbol("{name}", nonnegative=True)  # {TERMINALS[name].meaning}')
    return "\n".join(["import sympy", "", comment + "\n".join(symbols), *lines, f"m = {value}", ""])


def latex(loss: LearnedLoss) -> str:
    """LaTeX for math mode, φ rounded to four digits."""
    if isinstance(loss, TaylorLoss):
        return loss.latex(DIGITS) + "\n"
    if not isinstance(loss, SymbolicLoss):
        raise SettingError(f"a {loss.family} loss has no formula for latex; export it as python, numpy or onnx")
    text = activated_latex(to_latex(loss.expression, loss.coefficients, DIGITS), loss.output_activation)
    return scaled_latex(text, loss.scale, DIGITS) + "\n"


def _arrays(loss: LearnedLoss, dialect: Dialect, imports: str, soft: str) -> str:
    if loss.task_type == "classification":
        head, end = f"{_ARRAY_CLASSES}\n{soft}", _ARRAY_CLASSES_END
    elif loss.task_type == "multilabel":
        head, end = f"{_ARRAY_LABELS}{soft}", _ARRAY_VALUES_END
    else:
        head, end = _ARRAY_VALUES, _ARRAY_VALUES_END
    return _function(loss, dialect, imports, head.replace("xp.", f"{dialect.module}."), end)


def _function(loss: LearnedLoss, dialect: Dialect, imports: str, head: str, end: str) -> str:
    lines, value = code_of(loss, dialect)
    axis = "dim" if dialect.module == "torch" else "axis"
    summed = f"values = ({value}).sum({axis}=1)"
    body = [*_block(head), *lines, summed, *_block(end.replace("xp.", f"{dialect.module}."))]
    arguments = 'outputs, targets, reduction="mean"'
    arguments += ", ignore_index=-100" if loss.task_type == "classification" else ""
    arguments += _progress(loss)
    return _text(loss, imports, arguments, body, _SHAPES[loss.task_type])


def _progress(loss: LearnedLoss) -> str:
    """The argument of a loss that looks at how far a training is."""
    return ", progress=1.0" if loss.sees_progress else ""


def _text(loss: LearnedLoss, imports: str, arguments: str, body: list[str], shapes: str) -> str:
    formula = loss.formula(digits=DIGITS)
    formula = formula if len(formula) <= WIDE else f"{formula[:WIDE]}…"
    told = "\nprogress: the share of the training's steps that are done." if loss.sees_progress else ""
    doc = f'"""Learned loss: m(y, f) = {formula}\n\n{shapes}{told}\n"""'
    code = indent("\n".join([doc, *body]), "    ", lambda line: bool(line.strip()))
    return f"{imports}\n\n\ndef learned_loss({arguments}):\n{code}\n"


def _block(text: str) -> list[str]:
    return dedent(text).strip("\n").splitlines()


_SHAPES = {
    "classification": "outputs: logits [B, C, ...], or one logit per instance [B] or [B, 1, ...].\n"
    "targets: class labels [B, ...], or soft labels of the outputs' shape.\n"
    "f is the softmax of the outputs, y one-hot; summed over classes, then averaged.",
    "multilabel": "outputs: logits [B, C, ...], one for each label. targets: 0 and 1 in the same shape.\n"
    "Each label is a class beside its absence: f is [1 - sigmoid, sigmoid] of its output; averaged over labels too.",
    "regression": "outputs and targets: [B], [B, K] or [B, K, ...] of one shape; summed over outputs, then averaged.",
}
_KERAS_SHAPES = {
    "classification": "y_pred: logits [B, C] or [B, 1], no softmax before.\n"
    "y_true: labels [B] or [B, 1], or one-hot [B, C].\n"
    "Returns one value for each instance, as Keras wants it.",
    "multilabel": "y_pred: logits [B, C], no sigmoid before; y_true: 0 and 1 in the same shape.\n"
    "Returns one value for each instance, as Keras wants it.",
    "regression": "y_pred and y_true: [B] or [B, K]. Returns one value for each instance, as Keras wants it.",
}
_TORCH_CLASSES = """
outputs = outputs.float() if outputs.dtype in (torch.float16, torch.bfloat16) else outputs
kept = None
if outputs.dim() == 1 or outputs.shape[1] == 1:  # one logit z stands for [1 - sigmoid(z), sigmoid(z)]
    outputs = outputs.reshape(len(outputs), 1, *outputs.shape[2:])
    targets = targets.reshape(outputs.shape)
    outputs = torch.cat([torch.zeros_like(outputs), outputs], dim=1)
    targets = torch.cat([1 - targets, targets], dim=1) if targets.is_floating_point() else targets.squeeze(1)
if not targets.is_floating_point():
    kept = targets != ignore_index
    labels = torch.where(kept, targets, 0).long()
    targets = torch.zeros_like(outputs).scatter(1, labels.unsqueeze(1), 1.0)
y, f = targets.to(outputs.dtype), torch.softmax(outputs, dim=1)
"""
_TORCH_LABELS = """
outputs = outputs.float() if outputs.dtype in (torch.float16, torch.bfloat16) else outputs
z, t = outputs.unsqueeze(1), targets.unsqueeze(1).to(outputs.dtype)
y = torch.cat([1 - t, t], dim=1)
f = torch.softmax(torch.cat([torch.zeros_like(z), z], dim=1), dim=1)
"""
_TORCH_VALUES = """
outputs = outputs.float() if outputs.dtype in (torch.float16, torch.bfloat16) else outputs
f = outputs.unsqueeze(1) if outputs.dim() == 1 else outputs
y = targets.reshape(f.shape).to(f.dtype)
"""
_TORCH_END = {
    "classification": """
values = values if kept is None else torch.where(kept, values, 0.0)
if reduction == "none":
    return values
if reduction == "sum":
    return values.sum()
return values.mean() if kept is None else values.sum() / kept.sum()
""",
    "multilabel": """
return values if reduction == "none" else values.sum() if reduction == "sum" else values.mean()
""",
    "regression": """
return values if reduction == "none" else values.sum() if reduction == "sum" else values.mean()
""",
}
_ARRAY_CLASSES = """
outputs, targets = xp.asarray(outputs), xp.asarray(targets)
kept = None
if outputs.ndim == 1 or outputs.shape[1] == 1:  # one logit z stands for [1 - sigmoid(z), sigmoid(z)]
    outputs = outputs.reshape(len(outputs), 1, *outputs.shape[2:])
    targets = targets.reshape(outputs.shape)
    outputs = xp.concatenate([xp.zeros_like(outputs), outputs], axis=1)
    soft = xp.issubdtype(targets.dtype, xp.floating)
    targets = xp.concatenate([1 - targets, targets], axis=1) if soft else targets[:, 0]
if not xp.issubdtype(targets.dtype, xp.floating):
    kept = targets != ignore_index
    labels = xp.where(kept, targets, 0)
    targets = xp.moveaxis(xp.eye(outputs.shape[1], dtype=outputs.dtype)[labels], -1, 1)
y = targets.astype(outputs.dtype)"""
_ARRAY_LABELS = """
outputs, targets = xp.asarray(outputs), xp.asarray(targets)
z, t = outputs[:, None], targets[:, None].astype(outputs.dtype)
outputs, y = xp.concatenate([xp.zeros_like(z), z], axis=1), xp.concatenate([1 - t, t], axis=1)
"""
_ARRAY_VALUES = """
outputs, targets = xp.asarray(outputs), xp.asarray(targets)
f = outputs[:, None] if outputs.ndim == 1 else outputs
y = targets.reshape(f.shape).astype(f.dtype)
"""
_ARRAY_CLASSES_END = """
values = values if kept is None else xp.where(kept, values, 0.0)
if reduction == "none":
    return values
if reduction == "sum":
    return values.sum()
return values.mean() if kept is None else values.sum() / kept.sum()
"""
_ARRAY_VALUES_END = _TORCH_END["regression"]
_KERAS_CLASSES = """
y_pred = ops.convert_to_tensor(y_pred)
y_true = ops.convert_to_tensor(y_true)
if y_pred.shape[-1] == 1:  # one logit z stands for [1 - sigmoid(z), sigmoid(z)]
    y_true = ops.cast(ops.reshape(y_true, ops.shape(y_pred)), y_pred.dtype)
    y_pred = ops.concatenate([ops.zeros_like(y_pred), y_pred], axis=-1)
    y_true = ops.concatenate([1 - y_true, y_true], axis=-1)
elif len(y_true.shape) < len(y_pred.shape) or y_true.shape[-1] == 1:
    labels = ops.reshape(y_true, ops.shape(y_pred)[:-1])
    y_true = ops.one_hot(ops.cast(labels, "int32"), y_pred.shape[-1], dtype=y_pred.dtype)
y = ops.cast(y_true, y_pred.dtype)
f = ops.softmax(y_pred, axis=-1)
"""
_KERAS_LABELS = """
z = ops.expand_dims(ops.convert_to_tensor(y_pred), -1)
t = ops.cast(ops.expand_dims(ops.convert_to_tensor(y_true), -1), z.dtype)
y = ops.concatenate([1 - t, t], axis=-1)
f = ops.softmax(ops.concatenate([ops.zeros_like(z), z], axis=-1), axis=-1)
"""
_KERAS_VALUES = """
f = ops.convert_to_tensor(y_pred)
f = ops.expand_dims(f, -1) if len(f.shape) == 1 else f
y = ops.cast(ops.reshape(ops.convert_to_tensor(y_true), ops.shape(f)), f.dtype)
"""
