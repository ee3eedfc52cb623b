"""Whether a module is what its class says, so that code of ours may compute in its place."""

from torch import nn
from torch.nn.modules.module import _has_any_global_hook as _has_global_hooks


def untouched(module: nn.Module, nested: bool = False) -> bool:
    """Whether a module computes what its class says: no hook, no method replaced, no parameter made anew or hooked.

    Args:
        module: The module; what it holds is not looked at.
        nested: Whether it may hold others.

    Example:
        >>> import torch
        >>> layer = nn.Linear(1, 1)
        >>> before, layer.forward = untouched(layer), torch.neg
        >>> before, untouched(layer)
        (True, False)
    """
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    if _has_global_hooks() or any(getattr(module, name) for name in hooks):
        return False
    if any(callable(value) and hasattr(type(module), name) for name, value in module.__dict__.items()):
        return False
    own = [parameter for parameter in module._parameters.values() if parameter is not None]
    alone = nested or not module._modules
    return alone and all(type(p) is nn.Parameter and not p._backward_hooks for p in own)
