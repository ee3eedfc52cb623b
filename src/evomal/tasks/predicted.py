"""What outputs predict, beside the labels: classes, how often each was taken for which, and who stands above whom."""

import torch
from torch import Tensor

from evomal.losses.criterion import IGNORED


def classes_of(outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Predicted classes and labels, both [N, ...]."""
    if outputs.dim() > 1 and outputs.shape[1] > 1:
        soft = targets.is_floating_point() and targets.shape == outputs.shape
        return outputs.argmax(1), targets.argmax(1) if soft else targets.long()
    single = outputs if outputs.dim() == 1 else outputs.squeeze(1)
    labels = targets.reshape(single.shape)
    return (single > 0).long(), (labels > 0.5).long() if labels.is_floating_point() else labels.long()


def confusion(outputs: Tensor, targets: Tensor) -> Tensor:
    """Counts [C, C]: rows are labels, columns predictions."""
    predicted, labels = classes_of(outputs, targets)
    classes = outputs.shape[1] if outputs.dim() > 1 and outputs.shape[1] > 1 else 2
    kept = labels != IGNORED
    cells = labels[kept] * classes + predicted[kept]
    return torch.bincount(cells, minlength=classes**2).reshape(classes, classes).to(exact_dtype(outputs))


def exact_dtype(outputs: Tensor) -> torch.dtype:
    """The type that counts are divided in."""
    # Counts divide exactly enough to be compared and printed in float64, which Apple's GPUs lack.
    return torch.float32 if outputs.device.type == "mps" else torch.float64


def as_rows(values: Tensor) -> Tensor:
    """Values [N] as [N, 1]; others as they are."""
    return values.unsqueeze(1) if values.dim() == 1 else values


def area_under_curve(scores: Tensor, positive: Tensor) -> Tensor:
    """Area under the ROC curve: how often a positive instance scores higher than a negative one; ties count half.

    Args:
        scores: [N].
        positive: bool [N], some and not all of them true.

    Example:
        >>> area_under_curve(torch.tensor([0.1, 0.4, 0.4, 0.8]), torch.tensor([False, False, True, True]))
        tensor(0.8750, dtype=torch.float64)

    Source: J. A. Hanley and B. J. McNeil, "The meaning and use of the area under a receiver operating characteristic
    curve", Radiology 143, 1982: it is the Mann-Whitney statistic over the number of pairs.
    """
    _, place, counts = scores.unique(return_inverse=True, return_counts=True)
    exact = exact_dtype(scores)
    ranks = (counts.cumsum(0).to(exact) - (counts.to(exact) - 1) / 2)[place]
    many = positive.sum().to(exact)
    above: Tensor = ranks[positive].sum() - many * (many + 1) / 2
    return above / (many * (len(scores) - many))
