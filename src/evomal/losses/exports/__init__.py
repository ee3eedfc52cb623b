"""A learned loss in the languages of others: every format from the one operator table."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from evomal.foundation.errors import SettingError, unknown_name
from evomal.losses.criterion import Criterion
from evomal.losses.exports import binary, texts
from evomal.losses.learned import LearnedLoss

__all__ = ["FORMATS", "Format", "export"]


class Format(NamedTuple):
    """A format that losses can be exported in.

    Attributes:
        summary: What it is, in a line.
        write: Makes it.
        file: What a file of it ends with.
    """

    summary: str
    write: Callable[[LearnedLoss], str | bytes]
    file: str


FORMATS: Mapping[str, Format] = MappingProxyType(
    {
        "python": Format("one function in plain PyTorch, to be pasted into a project", texts.python, ".py"),
        "numpy": Format("one function in NumPy; values, no gradients", texts.numpy, ".py"),
        "jax": Format("one function in JAX", texts.jax, ".py"),
        "latex": Format("the formula for math mode, φ rounded to four digits", texts.latex, ".tex"),
        "sympy": Format("SymPy code of the value for one class or output", texts.sympy, ".py"),
        "keras": Format("one function for model.compile(loss=…) of Keras 3", texts.keras, ".py"),
        "onnx": Format("an ONNX model of outputs, targets and loss", binary.onnx, ".onnx"),
        "torchscript": Format("a TorchScript program of outputs and targets", binary.torchscript, ".pt"),
    }
)
"""Every format by name."""


def export(loss: Criterion, form: str) -> str | bytes:
    r"""A learned loss in another format, with its coefficients φ, its scale and the ε of its operators.

    Args:
        loss: The loss.
        form: A name in `FORMATS`.

    Returns:
        Text, or the bytes of a file.

    Raises:
        UnknownNameError: There is no such format.
        SettingError: The format cannot express the loss, or needs a package that is not there.

    Example:
        >>> from evomal.losses import SymbolicLoss
        >>> export(SymbolicLoss("square(sub(y, f))", [1.5, 1, 1], task_type="regression"), "latex")
        '\\left(1.5\\,\\left(y - f_\\theta(x)\\right)\\right)^2\n'
    """
    if form not in FORMATS:
        raise unknown_name("format", form, FORMATS)
    if not isinstance(loss, LearnedLoss):
        name = getattr(loss, "name", type(loss).__name__)
        raise SettingError(f"'{name}' is no learned loss, and {form} is made of those alone; PyTorch has most others")
    if loss.class_counts is not None:
        raise SettingError(
            f"this loss sees how often each class occurs (class_counts), which {form} cannot express yet; set "
            "class_counts to None for the formula alone"
        )
    return FORMATS[form].write(loss)
