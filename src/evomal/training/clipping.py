"""Gradients shortened to a greatest norm, of one network or of each of several."""

import torch
from torch import Tensor

from evomal.training.optimizer import Tensors

CLIP_EPS = 1e-6  # as in PyTorch


def shortened(gradients: Tensors, most: float | None, lanes: bool = False) -> list[Tensor]:
    """Gradients whose norm, all of them taken together, is at most `most`: ``clip_grad_norm_`` as a function.

    Args:
        gradients: Of one network, or of several, [N, ...] each.
        most: The norm; None leaves them as they are.
        lanes: Whether there are several networks, each with a norm of its own.
    """
    if most is None:
        return list(gradients)
    factor = (most / (norm_of(gradients, lanes) + CLIP_EPS)).clamp(max=1.0)
    return [g * like(factor, g) for g in gradients]


def norm_of(gradients: Tensors, lanes: bool) -> Tensor:
    """The norm of all gradients together: 0-dim, or [N]."""
    start = 1 if lanes else 0
    parts = [g.flatten(start) if g.dim() > start else g.unsqueeze(-1) for g in gradients]
    norms = [torch.linalg.vector_norm(part, dim=-1) for part in parts]
    total: Tensor = torch.linalg.vector_norm(torch.stack([n.to(norms[0]) for n in norms], dim=-1), dim=-1)
    return total


def like(factor: Tensor, tensor: Tensor) -> Tensor:
    """A factor for each lane, or one for all, such that it multiplies a tensor [N, ...]."""
    return factor.to(tensor.dtype).reshape(factor.shape + (1,) * (tensor.dim() - factor.dim()))
