"""What exported functions begin and end with: how outputs and targets become f and y, and values one number.

They take what the criterion takes, and refuse what it refuses; where nothing can be refused, as in a traced graph,
within vmap or on a device, a label of no class gives nan, and so do soft labels that are no shares.
"""

from textwrap import indent

from evomal.losses.criterion import IGNORED, Criterion
from evomal.losses.preparing import SOFT_SUM


def lines_of(text: str, module: str = "", ignored: int = IGNORED) -> list[str]:
    """A template as lines of code; ``xp`` in it is the module of arrays, ``IGNORED`` the label that does not count.

    Example:
        >>> lines_of("y = xp.where(y == IGNORED, 0, y)", "np", 255)
        ['y = np.where(y == 255, 0, y)']
    """
    text = text.replace("MISFIT", _MISFIT).replace("xp.", f"{module}.").replace("IGNORED", str(ignored))
    text = text.replace("SOFT_SUM", f"{SOFT_SUM}")
    return [line for line in text.splitlines() if line.strip()]


def ignored_by(loss: Criterion) -> int:
    """The label that does not count; one that no data hold where all count."""
    return IGNORED if loss.ignore_index is None else loss.ignore_index


def _array_heads(soft: str, odd: str, softmax: str) -> dict[str, str]:
    """By task type, with what happens to soft labels that are no shares, and to labels of no class."""
    checked = _ARRAY_CHECKED.replace("    SOFT\n", soft.lstrip("\n")).replace("    ODD\n", odd.lstrip("\n")) + softmax
    return {
        "classification": _ARRAY_CLASSES + checked,
        "multilabel": _ARRAY_LABELS + checked,
        "regression": _ARRAY_VALUES,
    }


SHAPES = {
    "classification": "outputs: logits [B, C, ...], or one logit per instance [B] or [B, 1, ...].\n"
    "targets: class labels [B, ...] (ignore_index: does not count), or soft labels of the outputs' shape, which lie\n"
    "between 0 and 1 and sum to 1 over the classes; where they do not, and cannot be refused, the value is nan.\n"
    "f is the softmax of the outputs, y one-hot; summed over classes, then averaged.",
    "multilabel": "outputs: logits [B, C, ...], one for each label. targets: 0 and 1 in the same shape (or ignored).\n"
    "Each label is a class beside its absence: f is [1 - sigmoid, sigmoid] of its output; averaged over labels too.",
    "regression": "outputs and targets: [B], [B, K] or [B, K, ...] of one shape; summed over outputs, then averaged.",
}
KERAS_SHAPES = {
    "classification": "y_pred: logits [B, C] or [B, 1], no softmax before.\n"
    "y_true: labels [B] or [B, 1], or one-hot or soft [B, C]; IGNORED gives 0. A label of no class gives nan, and so\n"
    "do soft labels that are not between 0 and 1 or do not sum to 1 over the classes.\n"
    "Returns one value for each instance, as Keras wants it.",
    "multilabel": "y_pred: logits [B, C], no sigmoid before; y_true: 0 and 1 in the same shape; IGNORED does not "
    "count.\n"
    "Returns one value for each instance, as Keras wants it.",
    "regression": "y_pred and y_true: [B] or [B, K]. Returns one value for each instance, as Keras wants it.",
}
_MISFIT = 'raise ValueError(f"targets {tuple(targets.shape)} do not fit outputs {tuple(outputs.shape)}")'
_TORCH_CLASSES = """
z, t = outputs.float() if outputs.dtype in (torch.float16, torch.bfloat16) else outputs, targets
if z.dim() == 1 or z.shape[1] == 1:  # one logit stands for [1 - sigmoid, sigmoid]
    z = z if z.dim() == 1 else z[:, 0]
    t = t[:, 0] if t.shape == z[:, None].shape else t
    z = torch.stack([torch.zeros_like(z), z], dim=1)
    t = torch.stack([1 - t, t], dim=1) if t.is_floating_point() else t
"""
_TORCH_LABELS = """
z, t = outputs.float() if outputs.dtype in (torch.float16, torch.bfloat16) else outputs, targets
z = torch.stack([torch.zeros_like(z), z], dim=1)
t = torch.stack([1 - t, t], dim=1) if t.is_floating_point() else t
"""
_TORCH_SOFTMAX = """
soft, kept, odd = t.is_floating_point(), None, None
if t.shape != (z.shape if soft else z[:, 0].shape):
    MISFIT
if soft:
    odd = ((t < 0) | (t > 1)).any(dim=1) | ~((t.sum(dim=1) - 1).abs() <= SOFT_SUM)
else:
    kept = t.long() != ignore_index  # as bytes -100 would be 156
    labels = torch.where(kept, t.long(), 0).unsqueeze(1)
    t = torch.zeros_like(z).scatter(1, labels, kept.to(z.dtype).unsqueeze(1))
y, f = t.to(z.dtype), torch.softmax(z, dim=1)
"""
_TORCH_VALUES = """
f = outputs.float() if outputs.dtype in (torch.float16, torch.bfloat16) else outputs
f, y = (each.unsqueeze(1) if each.dim() == 1 else each for each in (f, targets))
if y.shape != f.shape:
    MISFIT
y = y.to(f.dtype)
"""
_TORCH_END = """
values = values if odd is None else torch.where(odd, torch.nan, values)
"""
_CLASSES_END = """
values = values if kept is None else xp.where(kept, values, 0.0)
if reduction == "none":
    return values
if reduction == "sum":
    return values.sum()
return values.mean() if kept is None else values.sum() / kept.sum()
"""
_VALUES_END = """
return values if reduction == "none" else values.sum() if reduction == "sum" else values.mean()
"""
_ARRAY_CLASSES = """
outputs, targets = xp.asarray(outputs), xp.asarray(targets)
if outputs.dtype.itemsize < 4 or not xp.issubdtype(outputs.dtype, xp.floating):  # half precision, or integers
    outputs = outputs.astype(xp.float32)
z, t, soft = outputs, targets, xp.issubdtype(targets.dtype, xp.floating)
if z.ndim == 1 or z.shape[1] == 1:  # one logit stands for [1 - sigmoid, sigmoid]
    z = z if z.ndim == 1 else z[:, 0]
    t = t[:, 0] if t.shape == z[:, None].shape else t
    z = xp.stack([xp.zeros_like(z), z], axis=1)
    t = xp.stack([1 - t, t], axis=1) if soft else t
"""
_ARRAY_LABELS = """
outputs, targets = xp.asarray(outputs), xp.asarray(targets)
if outputs.dtype.itemsize < 4 or not xp.issubdtype(outputs.dtype, xp.floating):  # half precision, or integers
    outputs = outputs.astype(xp.float32)
z, t, soft = outputs, targets, xp.issubdtype(targets.dtype, xp.floating)
z = xp.stack([xp.zeros_like(z), z], axis=1)
t = xp.stack([1 - t, t], axis=1) if soft else t
"""
_ARRAY_CHECKED = """
kept = None
if t.shape != (z.shape if soft else z[:, 0].shape):
    MISFIT
if soft:
    odd = ((t < 0) | (t > 1)).any(axis=1) | ~(abs(t.sum(axis=1) - 1) <= SOFT_SUM)
    SOFT
else:
    t = t.astype(int)  # as bytes -100 would be 156
    kept = t != ignore_index
    odd = kept & ((t < 0) | (t >= z.shape[1]))
    ODD
y = t.astype(z.dtype)
"""
_ONE_HOT = "xp.moveaxis(t[..., None] == xp.arange(z.shape[1]), -1, 1)"
_NUMPY_SOFT = """
    if odd.any():
        raise ValueError("soft labels must lie between 0 and 1, and sum to 1 over the classes")
"""
_JAX_SOFT = """
    t = jnp.where(odd[:, None], jnp.nan, t)  # no shares of one label, and jit cannot raise
"""
_NUMPY_ODD = f"""
    if odd.any():
        raise ValueError(f"targets hold label {{t[odd][0]}}, but outputs are for {{z.shape[1]}} classes")
    t = {_ONE_HOT}
"""
_JAX_ODD = f"""
    t = {_ONE_HOT}
    t = jnp.where(odd[:, None], jnp.nan, t)  # no class has this label, and jit cannot raise
"""
_ARRAY_VALUES = """
outputs, targets = xp.asarray(outputs), xp.asarray(targets)
if outputs.dtype.itemsize < 4 or not xp.issubdtype(outputs.dtype, xp.floating):  # half precision, or integers
    outputs = outputs.astype(xp.float32)
f, y = (each[:, None] if each.ndim == 1 else each for each in (outputs, targets))
if y.shape != f.shape:
    MISFIT
y = y.astype(f.dtype)
"""
_KERAS_FITS = """
if len(t.shape) != len(shape) or any(None not in pair and pair[0] != pair[1] for pair in zip(t.shape, shape)):
    raise ValueError(f"y_true {tuple(t.shape)} does not fit y_pred {tuple(y_pred.shape)}")
"""
_KERAS_ONE_LOGIT = """
z, t = ops.concatenate([ops.zeros_like(z), z], axis=-1), ops.cast(t, z.dtype)
y = ops.concatenate([1 - t, t], axis=-1)
"""
_KERAS_KEPT = """
kept, odd = t != IGNORED, (t < 0) | (t > z.shape[-1] - 1)  # of no class; a graph cannot raise
y, kept, odd = ops.where(kept, y, 0.0), ops.squeeze(kept, -1), ops.squeeze(odd, -1)
"""
_KERAS_CLASSES = f"""
z, t = ops.convert_to_tensor(y_pred), ops.convert_to_tensor(y_true)
z = ops.expand_dims(z, -1) if len(z.shape) == 1 else z
t = ops.expand_dims(t, -1) if len(t.shape) < len(z.shape) else t
shape = (*z.shape[:-1], 1) if t.shape[-1] == 1 else z.shape
{_KERAS_FITS}
kept = None
if z.shape[-1] == 1:  # one logit stands for [1 - sigmoid, sigmoid]
{indent(_KERAS_ONE_LOGIT, "    ")}
elif t.shape[-1] == 1:
    t = ops.cast(t, "int32")  # as bytes -100 would be 156
    y = ops.cast(t == ops.arange(z.shape[-1], dtype="int32"), z.dtype)
else:
    y = ops.cast(t, z.dtype)
    odd = ops.any((y < 0) | (y > 1), axis=-1) | ops.logical_not(ops.abs(ops.sum(y, axis=-1) - 1) <= SOFT_SUM)
if t.shape[-1] == 1:
{indent(_KERAS_KEPT, "    ")}
f = ops.softmax(z, axis=-1)
"""
_KERAS_LABELS = f"""
z, t = ops.convert_to_tensor(y_pred), ops.convert_to_tensor(y_true)
shape = z.shape
{_KERAS_FITS}
z, t = ops.expand_dims(z, -1), ops.expand_dims(t, -1)
{_KERAS_ONE_LOGIT}
{_KERAS_KEPT}
f = ops.softmax(z, axis=-1)
"""
_KERAS_VALUES = f"""
f, t = ops.convert_to_tensor(y_pred), ops.convert_to_tensor(y_true)
f, t = (ops.expand_dims(each, -1) if len(each.shape) == 1 else each for each in (f, t))
shape = f.shape
{_KERAS_FITS}
y = ops.cast(t, f.dtype)
"""
KERAS_ENDS = {
    "classification": """
values = ops.where(odd, float("nan"), values)
return values if kept is None else ops.where(kept, values, 0.0)
""",
    "multilabel": """
values = ops.where(odd, float("nan"), values)
values = ops.sum(ops.where(kept, values, 0.0), axis=-1)
return values / ops.maximum(ops.sum(ops.cast(kept, values.dtype), axis=-1), 1)
""",
    "regression": "return values",
}

TORCH_HEADS = {
    "classification": _TORCH_CLASSES + _TORCH_SOFTMAX,
    "multilabel": _TORCH_LABELS + _TORCH_SOFTMAX,
    "regression": _TORCH_VALUES,
}
NUMPY_HEADS = _array_heads(
    _NUMPY_SOFT,
    _NUMPY_ODD,
    "shifted = np.exp(z - z.max(axis=1, keepdims=True))\nf = shifted / shifted.sum(axis=1, keepdims=True)",
)
JAX_HEADS = _array_heads(_JAX_SOFT, _JAX_ODD, "f = jax.nn.softmax(z, axis=1)")
KERAS_HEADS = {"classification": _KERAS_CLASSES, "multilabel": _KERAS_LABELS, "regression": _KERAS_VALUES}
ENDS = {"classification": _CLASSES_END, "multilabel": _CLASSES_END, "regression": _VALUES_END}
TORCH_ENDS = {name: end if name == "regression" else _TORCH_END + end for name, end in ENDS.items()}
