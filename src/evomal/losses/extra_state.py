"""What a learned loss's `state_dict` says beside its weights: the scale, and whose weights they are."""

import json
from typing import Any

import torch
from torch import Tensor


def written_state(scale: float, identity: dict[str, Any]) -> Tensor:
    """Scale and identity as one tensor, which every way of keeping a state can hold.

    The identity follows the scale as JSON, a number for each byte: these come through half precision, and through the
    mean of several states, as they were.

    Args:
        scale: What the loss multiplies its values by.
        identity: The entries of the loss that no coefficient changes.

    Example:
        >>> written_state(0.5, {"family": "taylor"})[:4]
        tensor([  0.5000, 123.0000,  34.0000, 102.0000], dtype=torch.float64)
    """
    return torch.tensor([scale, *json.dumps(identity).encode()], dtype=torch.float64, device="cpu")


def read_state(state: Any) -> tuple[Any, dict[str, Any] | None]:
    """Scale and identity from what `written_state` gave.

    Args:
        state: Such a tensor, or a scale alone, as states were written before they had an identity.

    Returns:
        The scale, or whatever stands in its place; and the identity, None where the state has none.

    Example:
        >>> read_state(written_state(0.5, {"family": "taylor"}))
        (0.5, {'family': 'taylor'})
    """
    if not isinstance(state, Tensor):
        return state, None
    if state.numel() == 1:
        return state.item(), None
    try:
        scale, *numbers = state.tolist()
        identity = json.loads(bytes(map(int, numbers)))
    except (TypeError, ValueError):
        return state, None
    return (scale, identity) if isinstance(identity, dict) else (state, None)


def described(identity: dict[str, Any]) -> str:
    """A loss in a few words, such as "'square(sub(y, f))' for regression".

    Example:
        >>> described({"family": "neural", "task_type": "regression", "hidden": 50})
        'neural loss (hidden 50) for regression'
    """
    rest = dict(identity)
    family, task_type, formula = (rest.pop(name, None) for name in ("family", "task_type", "expression"))
    if rest.get("output_activation") == "identity":
        del rest["output_activation"]
    named = f"{family} loss" if formula is None else f"'{formula}'"
    more = ", ".join(f"{name} {value}" for name, value in rest.items())
    return f"{named}{f' ({more})' if more else ''} for {task_type}"
