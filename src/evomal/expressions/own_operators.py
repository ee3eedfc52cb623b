"""Operators that users add: what they have to say, how they enter the table, and how they reach other processes."""

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evomal.expressions import tangents
from evomal.expressions.operators import ANY, ATOM, OPERATORS, TABLE_1, TERMINALS, Notation, Operator, take_in
from evomal.foundation.errors import SettingError, one_line

if TYPE_CHECKING:
    from torch import Tensor

Function = Callable[..., "Tensor"]

_NAME = re.compile(r"[a-z][a-z0-9_]*")
_POINTS = (-2.3, -1.0, -0.4, 0.3, 1.0, 1.9)


def register_operator(
    name: str,
    arity: int,
    function: Function,
    tangent: Callable[..., Any] | None = None,
    *,
    commutative: bool = False,
    sympy: Callable[..., Any] | None = None,
    module: str | None = None,
) -> Operator:
    """Add an operator that formulas may hold, for as long as this process lives.

    It is computed on tensors of any shape, number by number. A loss file that holds it names its module, and is read
    only where that has been imported: files never import anything.

    Args:
        name: Its name in formulas, such as ``"softsign"``; an operator of one's own of that name is replaced.
        arity: Number of arguments, 1 or 2.
        function: The operation, on tensors; it should be finite wherever its arguments are.
        tangent: Its derivative: ``tangent(x)``, or ``tangent(a, b)`` giving the two partial derivatives. None takes
            that of autograd, which is slower.
        commutative: Whether the arguments can be exchanged.
        sympy: The operation on SymPy expressions, called as ``sympy(module, *arguments)``; exports need it.
        module: What loss files call the module that it is from; None takes the one that `function` was defined in.

    Returns:
        The operator; settings take it, or its name.

    Raises:
        SettingError: The name cannot be had, the function is none of single numbers, the tangent is not its
            derivative, or its arguments cannot be exchanged though it is said.

    Example:
        >>> softsign = register_operator("softsign", 1, lambda x: x / (1 + x.abs()), lambda x: 1 / (1 + x.abs()) ** 2)
        >>> from evomal.losses import SymbolicLoss
        >>> import torch
        >>> loss = SymbolicLoss("softsign(square(sub(y, f)))", task_type="regression")
        >>> loss(torch.tensor([1.0]), torch.tensor([2.0])).item()
        0.5
        >>> forget_operator("softsign")
    """
    _check_name(name)
    if arity not in (1, 2) or isinstance(arity, bool):
        raise SettingError(f"operator '{name}' takes {arity!r} arguments; operators take 1 or 2")
    if not callable(function) or not (tangent is None or callable(tangent)):
        raise SettingError(f"operator '{name}': function and tangent must be functions of {arity} tensors")
    arguments = ", ".join(f"#{place}" for place in range(1, arity + 1))
    latex = name.replace("_", r"\_")
    operator = Operator(
        name=name,
        arity=arity,
        commutative=commutative and arity == 2,
        torch=_named(function),
        tangent=_by_autograd(function) if tangent is None else _by_partials(tangent),
        sympy=_unknown_to_sympy(name) if sympy is None else lambda sp, epsilon, *arguments: sympy(sp, *arguments),
        printed=Notation(f"{name}({arguments})", ATOM, (ANY,) * arity),
        latex=Notation(rf"\operatorname{{{latex}}}\left({arguments}\right)", ATOM, (ANY,) * arity),
        module=module or _module_of(function),
    )
    _check_works(operator)
    take_in(operator)
    return operator


def forget_operator(name: str) -> None:
    """Take an operator of one's own out of the table again."""
    if name in OPERATORS and OPERATORS[name].module is not None:
        take_in(OPERATORS[name], out=True)


def require_modules(modules: Any) -> None:
    """Refuse a formula whose operators are not here.

    Args:
        modules: The module of each operator by name, as a loss file has it; None for none.

    Raises:
        SettingError: An operator is missing, or is that of another module.

    Example:
        >>> require_modules({"ratio": "my_operators"})
        Traceback (most recent call last):
        evomal.foundation.errors.SettingError: it needs operator 'ratio' of module my_operators; import that first
    """
    if modules is None:
        return
    if not isinstance(modules, dict) or not all(isinstance(module, str) for module in modules.values()):
        raise SettingError("its operators must name the module of each; write it anew")
    for name, module in modules.items():
        if name in TABLE_1:
            continue
        if name not in OPERATORS:
            raise SettingError(f"it needs operator '{name}' of module {module}; import that first")
        if OPERATORS[name].module != module:
            raise SettingError(
                f"it needs operator '{name}' of module {module}, and that here is of {OPERATORS[name].module}; import "
                "the other one"
            )


def _check_name(name: Any) -> None:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise SettingError(f"operator {name!r}: give a name of small letters, digits and _, such as 'softsign'")
    if name in TABLE_1 or name in TERMINALS:
        raise SettingError(f"operator '{name}': there is one of that name already; give another name")


def _module_of(function: Function) -> str:
    """The module of a function, under the name that others would import it by."""
    name = str(getattr(function, "__module__", None) or "__main__").removeprefix("evomal_user_task_")
    main = getattr(sys.modules.get("__main__"), "__file__", None)
    return Path(main).stem if name == "__main__" and main else name


def _named(function: Function) -> Function:
    """The function under a name, which compiled formulas look for: lambdas and callable objects have none."""

    def operation(*arguments: "Tensor") -> "Tensor":
        return function(*arguments)

    return operation


def _by_partials(partials: Callable[..., Any]) -> tangents.Rule:
    def rule(result: "Tensor", arguments: tangents.Values, changes: tangents.Tangents) -> "Tensor":
        found = partials(*arguments)
        slopes = found if isinstance(found, tuple | list) else (found,)
        parts = [slope * change for slope, change in zip(slopes, changes, strict=True) if change is not None]
        total: Tensor = sum(parts[1:], start=parts[0])
        return total

    return rule


def _by_autograd(function: Function) -> tangents.Rule:
    def rule(result: "Tensor", arguments: tangents.Values, changes: tangents.Tangents) -> "Tensor":
        import torch

        whole = torch.broadcast_shapes(*(each.shape for each in (*arguments, *changes) if each is not None))
        values = tuple(each.expand(whole).contiguous() for each in arguments)
        moved = tuple(
            torch.zeros_like(value) if change is None else change.expand(whole).contiguous()
            for value, change in zip(values, changes, strict=True)
        )
        found: Tensor = torch.func.jvp(function, values, moved)[1]
        return found

    return rule


def _unknown_to_sympy(name: str) -> Callable[..., Any]:
    def refuse(*arguments: Any) -> Any:
        raise SettingError(
            f"operator '{name}' says nothing of SymPy, which this needs; register it with sympy=…, or use the loss"
        )

    return refuse


def _check_works(operator: Operator) -> None:
    """Try the operator on some numbers.

    Raises:
        SettingError: It fails, or gives what no operator gives.
    """
    import torch

    points = torch.tensor(_POINTS, dtype=torch.float64)
    pairs = (points, points.roll(1))[: operator.arity]
    try:
        whole = operator.torch(*(each.reshape(2, 3) for each in pairs))
        single = torch.stack([operator.torch(*numbers) for numbers in zip(*pairs, strict=True)])
        low = operator.torch(*(each.float() for each in pairs))
    except Exception as error:
        raise SettingError(f"operator '{operator.name}' fails on tensors: {one_line(error)}") from error
    if whole.shape != (2, 3) or not torch.allclose(whole.reshape(-1), single, equal_nan=True):
        raise SettingError(f"operator '{operator.name}' is no function of single numbers; let it look at each alone")
    if operator.commutative and not torch.allclose(operator.torch(*reversed(pairs)), whole.reshape(-1), equal_nan=True):
        raise SettingError(f"operator '{operator.name}' changes when its arguments are exchanged; omit commutative")
    if whole.dtype != torch.float64 or low.dtype != torch.float32:
        raise SettingError(f"operator '{operator.name}' gives another dtype than its arguments have; keep it")
    for place in range(operator.arity):
        _check_tangent(operator, pairs, place)


def _check_tangent(operator: Operator, pairs: "tuple[Tensor, ...]", place: int) -> None:
    import torch

    changes = tuple(torch.ones_like(each) if number == place else None for number, each in enumerate(pairs))
    leaves = tuple(each.clone().requires_grad_() for each in pairs)
    result = operator.torch(*leaves)
    slope = torch.zeros_like(result)
    if result.requires_grad:
        (slope,) = torch.autograd.grad(result.sum(), leaves[place], allow_unused=True, materialize_grads=True)
    assert operator.tangent is not None
    try:
        found = operator.tangent(result.detach(), pairs, changes).expand_as(slope)
    except Exception as error:
        raise SettingError(f"operator '{operator.name}': its tangent fails: {one_line(error)}") from error
    wrong = ~torch.isclose(found, slope, rtol=1e-6, atol=1e-8, equal_nan=True)
    if bool(wrong.any()):
        at = ", ".join(f"{float(each[wrong][0]):g}" for each in pairs)
        raise SettingError(
            f"operator '{operator.name}': its tangent in argument {place + 1} at ({at}) is "
            f"{float(found[wrong][0]):.6g}, but its derivative is {float(slope[wrong][0]):.6g}; mend or omit it"
        )
