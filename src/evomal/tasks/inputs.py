"""Models as they are: several inputs in one tensor of bytes, so that every path sees one, and outputs picked."""

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from evomal.foundation.errors import DataError, EvomalError, ModelError, one_line
from evomal.tasks.tensors import as_tensor, require_finite

Outputs = Callable[[Any], Tensor]

ALIGNED = 8  # bytes: a view of a part in its own type begins at a multiple of the widest type's size
OWN_FORM = "a tuple of inputs is called as model(*inputs), a dict as model(**inputs)"


@dataclass(frozen=True)
class Form:
    """How several inputs of an instance lie in one row of bytes.

    Training, tuning and batched evaluation take a batch's inputs as one tensor; the model that they call (`Adapted`)
    takes the row apart again. Types and values pass unchanged, to the bit.

    Args:
        names: What the model calls its inputs, sorted; None where they go by their places.
        shapes: Of each input of one instance.
        dtypes: As many.

    Example:
        >>> form = Form.of({"ids": torch.tensor([[3, 5]]), "share": torch.tensor([0.5])})
        >>> packed = form.pack((torch.tensor([[3, 5]]), torch.tensor([0.5])), "x", "mine")
        >>> packed.shape, packed.dtype, form.unpack(packed)
        (torch.Size([1, 24]), torch.uint8, {'ids': tensor([[3, 5]]), 'share': tensor([0.5000])})
    """

    names: tuple[str, ...] | None
    shapes: tuple[tuple[int, ...], ...]
    dtypes: tuple[torch.dtype, ...]

    @classmethod
    def of(cls, inputs: Mapping[str, Tensor] | Sequence[Tensor]) -> "Form":
        """The form of inputs [N, ...] each, a tensor for each name or place."""
        names = tuple(sorted(inputs)) if isinstance(inputs, Mapping) else None
        parts = in_order(inputs)
        return cls(names, tuple(tuple(part.shape[1:]) for part in parts), tuple(part.dtype for part in parts))

    def pack(self, parts: Sequence[Tensor], what: str, where: str) -> Tensor:
        """Inputs [N, ...] each, in the order of the form, as bytes [N, D].

        Raises:
            DataError: Their shapes or types are others than the form's.
        """
        for label, part, shape, dtype in zip(self.labels, parts, self.shapes, self.dtypes, strict=True):
            if part.shape[1:] != shape or part.dtype != dtype:
                raise DataError(
                    f"{what}{label} of {where} has instances of shape {list(part.shape[1:])} ({part.dtype}), but "
                    f"the first ones {list(shape)} ({dtype}); give all of them one form"
                )
        rows = torch.zeros(len(parts[0]), self._ends[-1], dtype=torch.uint8, device=parts[0].device)
        for part, start, size in zip(parts, (0, *self._ends), self._sizes, strict=False):
            flat = part.contiguous().reshape(len(part), size // part.dtype.itemsize)
            rows[:, start : start + size] = flat.view(torch.uint8)
        return rows

    def unpack(self, x: Tensor) -> tuple[Tensor, ...] | dict[str, Tensor]:
        """What `pack` packed, [B, ...] each: by name, or in a tuple."""
        parts = []
        for shape, dtype, start, size in zip(self.shapes, self.dtypes, (0, *self._ends), self._sizes, strict=False):
            parts.append(x[:, start : start + size].contiguous().view(dtype).reshape(len(x), *shape))
        return tuple(parts) if self.names is None else dict(zip(self.names, parts, strict=True))

    @property
    def labels(self) -> list[str]:
        """What is written behind x for each input, such as ``[0]`` or ``['ids']``."""
        return [f"[{name!r}]" for name in (self.names or range(len(self.shapes)))]

    def __str__(self) -> str:
        """The shapes of the inputs of one instance, for messages."""
        pairs = zip(self.names or range(len(self.shapes)), self.shapes, strict=True)
        return ", ".join(f"{name}: {list(shape)}" for name, shape in pairs)

    @property
    def _sizes(self) -> list[int]:
        return [prod(shape) * dtype.itemsize for shape, dtype in zip(self.shapes, self.dtypes, strict=True)]

    @property
    def _ends(self) -> list[int]:
        ends = [0]
        for size in self._sizes:
            ends.append(ends[-1] + -(-size // ALIGNED) * ALIGNED)
        return ends[1:]


def pack(
    inputs: Any, what: str, where: str, floating: torch.dtype | None = None, form: Form | None = None
) -> tuple[Tensor, Form]:
    """Several inputs, a row per instance in each, as the bytes of one tensor.

    Args:
        inputs: A tuple, a list or a dict of tensors or arrays.
        what: How messages call them, such as ``"x"``.
        where: And what they belong to.
        floating: What floats become; see `as_tensor`.
        form: That they should have; None takes their own.

    Returns:
        uint8 [N, D], and the form.

    Raises:
        DataError: They are no tensors with a row per instance, of different lengths, not finite, or of another form.

    Example:
        >>> packed, form = pack({"a": [[1.0], [2.0]], "b": [3, 4]}, "x", "mine")
        >>> packed.shape, str(form)
        (torch.Size([2, 16]), 'a: [1], b: []')
    """
    named = isinstance(inputs, Mapping)
    if not inputs or (named and not all(isinstance(name, str) for name in inputs)):
        raise DataError(
            f"{what} of {where} is a {type(inputs).__name__} of no inputs; name each by a word that the model knows"
        )
    pairs = inputs.items() if named else enumerate(inputs)
    read = {name: as_tensor(part, f"{what}[{name!r}] of {where}", floating) for name, part in pairs}
    first = next(iter(read))
    for name, part in read.items():
        if part.dim() == 0:
            raise DataError(f"{what}[{name!r}] of {where} is one number; give a row for each instance")
        if len(part) != len(read[first]):
            raise DataError(
                f"{what}[{name!r}] of {where} has {len(part)} rows but {what}[{first!r}] has {len(read[first])}; give "
                "one row for each instance"
            )
        require_finite(part, f"{what}[{name!r}] of {where}")
    tensors: Any = read if named else list(read.values())
    own = Form.of(tensors)
    if form is not None and own.names != form.names:
        raise DataError(f"{what} of {where} has the inputs {own}, but others have {form}; give all of them one form")
    form = own if form is None else form
    return form.pack(in_order(tensors), what, where), form


def in_order(inputs: Mapping[str, Tensor] | Sequence[Tensor]) -> list[Tensor]:
    """Inputs in the order of their form: by their names where they have some, else as they come."""
    return [inputs[name] for name in sorted(inputs)] if isinstance(inputs, Mapping) else list(inputs)


class Adapted(nn.Module):
    """A user's model behind one tensor of inputs and one of outputs.

    Args:
        model: The network.
        form: How its inputs are packed; None where it takes one tensor.
        outputs: Picks the raw outputs from what it gives; None where it gives nothing else.

    Raises:
        ModelError: In a call, `outputs` fails or gives no tensor.

    Example:
        >>> model = Adapted(nn.Identity(), None, lambda out: out.transpose(1, 2))
        >>> model(torch.zeros(5, 7, 3)).shape
        torch.Size([5, 3, 7])
    """

    def __init__(self, model: nn.Module, form: Form | None, outputs: Outputs | None) -> None:
        super().__init__()
        self.model, self.form, self.outputs = model, form, outputs
        self.training = model.training

    def forward(self, x: Any) -> Tensor:
        """Raw outputs for packed inputs, or for inputs in the model's own form."""
        if self.form is not None and isinstance(x, Tensor):
            x = self.form.unpack(x)
        inputs = (x,) if self.form is None else x
        given = self.model(**inputs) if isinstance(inputs, Mapping) else self.model(*inputs)
        return given if self.outputs is None else _picked(self.outputs, given)


def adapted(model: nn.Module, form: Form | None, outputs: Outputs | None) -> nn.Module:
    """A model that takes and gives one tensor; as it is where it does so by itself."""
    return model if form is None and outputs is None else Adapted(model, form, outputs)


def _picked(outputs: Outputs, given: Any) -> Tensor:
    try:
        picked = outputs(given)
    except EvomalError:
        raise
    except Exception as error:
        if isinstance(error, RuntimeError) and isinstance(given, Tensor):
            raise  # of a computation: those who differentiate look at such errors
        raise ModelError(
            f"the task's outputs fails on what the model gives ({described(given)}): {one_line(error)}"
        ) from (error)
    if not isinstance(picked, Tensor):
        raise ModelError(
            f"the task's outputs gives a {type(picked).__name__} of what the model gives ({described(given)}); let it "
            "return one tensor of raw outputs, such as outputs=lambda out: out['logits']"
        )
    return picked


def described(given: Any) -> str:
    """What a model gives, in a few words.

    Example:
        >>> described({"logits": torch.zeros(2, 3), "loss": None})
        'a dict with logits, loss'
    """
    if isinstance(given, Tensor):
        return f"a tensor {list(given.shape)}"
    keys = f" with {', '.join(map(str, given))}" if isinstance(given, Mapping) else ""
    many = f" of {len(given)}" if isinstance(given, tuple | list) else ""
    return f"a {type(given).__name__}{keys or many}"


def how_to_pick(given: Any) -> str:
    """How the outputs of such a model can be picked, as a task's argument.

    Example:
        >>> how_to_pick({"loss": None, "logits": torch.zeros(2, 3)})
        "outputs=lambda out: out['logits']"
    """
    pairs: Iterable[tuple[Any, Any]] = ()
    if isinstance(given, Mapping):
        pairs = given.items()
    elif isinstance(given, tuple | list):
        pairs = enumerate(given)
    tensors = [key for key, value in pairs if isinstance(value, Tensor)]
    key = "logits" if "logits" in tensors else tensors[0] if tensors else None
    return f"outputs=lambda out: out[{key!r}]" if key is not None else "outputs=lambda out: out.logits"


def require_taken(model: nn.Module, form: Form, name: str) -> None:
    """Refuse inputs that the model's ``forward`` does not take by their names, or not so many.

    Args:
        model: The user's model.
        form: Of its inputs.
        name: What messages call it.

    Raises:
        ModelError: A name or a place is not to be had, or one that is needed is missing.

    Example:
        >>> require_taken(nn.Bilinear(2, 3, 1), Form(None, ((2,), (3,)), (torch.float32,) * 2), "both")
    """
    try:
        signature = inspect.signature(model.forward)
        signature.bind(*form.shapes) if form.names is None else signature.bind(**dict.fromkeys(form.names))
    except ValueError:  # nothing is known of it
        return
    except TypeError as error:
        takes = ", ".join(map(str, signature.parameters.values()))
        given = f"{len(form.shapes)} inputs" if form.names is None else f"inputs {', '.join(form.names)}"
        raise ModelError(
            f"model '{name}' takes ({takes}), but instances have {given}: {one_line(error)}; {OWN_FORM}"
        ) from None
