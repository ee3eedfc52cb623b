"""Networks as they were written, without what spreads them over devices or compiles them."""

from typing import Any

import torch
from torch import nn

COMPILED = "_orig_mod"  # the network inside that of torch.compile, whose class would be a slow import


def without_wrappers(model: Any) -> Any:
    """A network, and those in it, without wrappers, as these compute with no other parameters than their own.

    One device has one loss at a time, and what is compiled cannot be differentiated twice.

    Args:
        model: What a factory gave; what is no network stays as it is.

    Example:
        >>> without_wrappers(nn.DataParallel(nn.Sequential(torch.compile(nn.Linear(2, 1)))))
        Sequential(
          (0): Linear(in_features=2, out_features=1, bias=True)
        )
    """
    model = unwrapped(model)
    if isinstance(model, nn.Module):
        for module in model.modules():
            if not isinstance(module, torch.jit.ScriptModule):
                _plain(module)
    return model


def unwrapped(model: Any) -> Any:
    """A network out of what was put around it; the network itself stays as it is.

    Args:
        model: What is no network stays as it is.

    Example:
        >>> unwrapped(nn.DataParallel(torch.compile(nn.Linear(2, 1))))
        Linear(in_features=2, out_features=1, bias=True)
    """
    while isinstance(model, nn.Module):
        if isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel):
            model = model.module
        elif COMPILED in model._modules:
            model = model._modules[COMPILED]
        else:
            break
    return model


def _plain(module: nn.Module) -> None:
    """The networks right inside a module without wrappers, and the module itself not compiled in place."""
    if module._compiled_call_impl is not None:  # by module.compile()
        module._compiled_call_impl = None
    for name, child in module._modules.items():
        if child is not None and COMPILED in child._modules:
            module._modules[name] = unwrapped(child)
