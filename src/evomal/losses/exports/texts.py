"""Exports as text: a function in PyTorch, NumPy, JAX or Keras, a SymPy expression, LaTeX."""

from textwrap import indent

from evomal.expressions import TERMINALS, to_latex
from evomal.expressions.formula import activated_latex, scaled_latex
from evomal.foundation.errors import SettingError
from evomal.losses.exports.heads import (
    ENDS,
    JAX_HEADS,
    KERAS_ENDS,
    KERAS_HEADS,
    KERAS_SHAPES,
    NUMPY_HEADS,
    SHAPES,
    TORCH_ENDS,
    TORCH_HEADS,
    ignored_by,
    lines_of,
)
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
    return _function(loss, _TORCH, "import torch", TORCH_HEADS[loss.task_type])


def numpy(loss: LearnedLoss) -> str:
    """One function in NumPy: values, no gradients."""
    return _function(loss, _numpy_like("np", "np.logaddexp(0, #1)"), "import numpy as np", NUMPY_HEADS[loss.task_type])


def jax(loss: LearnedLoss) -> str:
    """One function in JAX, for `jax.grad` and `jax.jit`."""
    dialect = _numpy_like("jnp", "jax.nn.softplus(#1)")
    return _function(loss, dialect, "import jax\nimport jax.numpy as jnp", JAX_HEADS[loss.task_type])


def keras(loss: LearnedLoss) -> str:
    """One function for ``model.compile(loss=learned_loss)`` of Keras 3, on any of its backends."""
    lines, value = code_of(loss, _KERAS)
    head, end, shapes = (
        lines_of(texts[loss.task_type], ignored=ignored_by(loss)) for texts in (KERAS_HEADS, KERAS_ENDS, KERAS_SHAPES)
    )
    body = [*head, *lines, f"values = ops.sum({value}, axis=-1)", *end]
    arguments = "y_true, y_pred" + _progress(loss)
    return _text(loss, "from keras import ops", arguments, body, "\n".join(shapes))


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


def _function(loss: LearnedLoss, dialect: Dialect, imports: str, head: str) -> str:
    lines, value = code_of(loss, dialect)
    axis = "dim" if dialect.module == "torch" else "axis"
    ends = TORCH_ENDS if dialect.module == "torch" else ENDS
    before, after = (lines_of(text, dialect.module) for text in (head, ends[loss.task_type]))
    body = [*before, *lines, f"values = ({value}).sum({axis}=1)", *after]
    arguments = 'outputs, targets, reduction="mean"'
    arguments += f", ignore_index={ignored_by(loss)}" if loss.task_type != "regression" else ""
    arguments += _progress(loss)
    return _text(loss, imports, arguments, body, SHAPES[loss.task_type])


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
