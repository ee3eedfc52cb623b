"""From raw arrays to splits: held-out parts are taken off first, and only training data normalises."""

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from evomal.losses import TaskType
from evomal.tasks.augmentation import Augmentation, Normalisation
from evomal.tasks.sampling import split_off
from evomal.tasks.splits import Split

TEST_FRACTION = 0.2
VALID_FRACTION = 0.1  # of what is left for training
EPSILON = torch.finfo(torch.float64).eps

Pair = tuple[Tensor, Tensor]


class Raw(NamedTuple):
    """Instances as files hold them: x [N, ...] numbers, y [N] labels (int64) or targets (floats)."""

    x: Tensor
    y: Tensor  # of several labels [N, C], 0 and 1; of several outputs [N, D]
    test: Pair | None = None  # the original test set, where there is one
    augmentation: Augmentation | None = None  # usual for this data set


@dataclass(frozen=True, eq=False)
class Data:
    """A data set ready for training.

    Args:
        name: Its registered name.
        task_type: ``"classification"``, ``"regression"`` or ``"multilabel"``.
        train: Training split: x [N, *input_shape] float32, or uint8 where there is a `normalisation`; y [N] int64
            labels, or [N] float32 targets ([N, D] for several outputs), or [N, C] floats of 0 and 1 for several labels.
        valid: Validation split, never part of training.
        test: Test split, never part of either.
        classes: Number of classes; None for regression.
        target_scale: Mean and standard deviation of the raw training targets, which turn outputs of a
            regression back into the data's own units, float64 [D] for several; None for classification.
        normalisation: What makes inputs of each batch of coloured images, which are kept as bytes: a quarter of the
            memory.
        augmentation: What is usually done to its training batches; None for nothing.
        black: What 0 has become in images that are normalised here, for what pads them.
    """

    name: str
    task_type: TaskType
    train: Pair
    valid: Pair
    test: Pair
    classes: int | None
    target_scale: tuple[float, float] | tuple[Tensor, Tensor] | None
    normalisation: Normalisation | None = None
    augmentation: Augmentation | None = None
    black: float = 0.0

    @property
    def splits(self) -> tuple[Split, Split, Split]:
        """Training, validation and test data as a task takes them; only training data are augmented."""
        valid, test = (Split(*pair, normalisation=self.normalisation) for pair in (self.valid, self.test))
        views = None if self.augmentation is None else replace(self.augmentation, black=self.black)
        return Split(*self.train, self.normalisation, views), valid, test

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one instance."""
        return tuple(self.train[0].shape[1:])

    @property
    def outputs(self) -> int:
        """Outputs that a model needs: the number of classes, of labels or of values."""
        return self.train[1].shape[1] if self.train[1].dim() > 1 else self.classes or 1


def prepare(name: str, raw: Raw, classes: int | None, labels: bool = False) -> Data:
    """Split and normalise raw instances.

    A set without an original test set gives 20 % to it; 10 % of the rest become the validation split; both
    stratified by class, and always the same. Then x, and y of a regression, are shifted and scaled by mean
    and standard deviation of the training split: one of each per feature for tables and for several y, one of each per
    channel for coloured images of bytes, whose batches are normalised when they are taken, else one of each.

    Args:
        name: What the data set is called.
        raw: The instances.
        classes: Number of classes, or None for regression and for several labels.
        labels: Whether y [N, C] are several labels, and not the outputs of a regression.

    Returns:
        The data set.

    Example:
        >>> data = prepare("ramp", Raw(torch.arange(50.0).reshape(50, 1), torch.arange(50.0)), classes=None)
        >>> [len(x) for x, _ in (data.train, data.valid, data.test)], f"{data.train[0].std(correction=0):.4f}"
        ([36, 4, 10], '1.0000')
    """
    (x, y), test = (raw.x, raw.y), raw.test
    if test is None:
        (x, y), test = _divide((x, y), TEST_FRACTION, classes)
    (x, y), valid = _divide((x, y), VALID_FRACTION, classes)
    coloured = x.dtype == torch.uint8 and x.dim() == 4 and x.shape[1] > 1
    normalisation = channel_normalisation(x) if coloured else None
    mean, deviation = moments(x, per_feature=x.dim() == 2)
    values = classes is None and not labels
    centre, spread = moments(y.double(), per_feature=y.dim() > 1)  # as they are, bytes would be pixels

    def normal(pair: Pair) -> Pair:
        targets = _normal(pair[1], centre, spread) if values else pair[1].float() if labels else pair[1].long()
        return (pair[0] if coloured else _normal(pair[0], mean, deviation)), targets

    return Data(
        name,
        "multilabel" if labels else "regression" if values else "classification",
        train=normal((x, y)),
        valid=normal(valid),
        test=normal(test),
        classes=classes,
        target_scale=None if not values else (centre, spread) if y.dim() > 1 else (float(centre), float(spread)),
        normalisation=normalisation,
        augmentation=raw.augmentation,
        black=float(_normal(x.new_zeros(()), mean, deviation)) if x.dim() == 4 and not coloured else 0.0,
    )


def channel_normalisation(x: Tensor) -> Normalisation:
    """The normalisation by mean and standard deviation of each channel of uint8 images [N, C, H, W].

    Example:
        >>> channel_normalisation(torch.tensor([[[[0, 2]], [[5, 5]]]], dtype=torch.uint8))
        Normalisation(mean=(1.0, 5.0), deviation=(1.0, 1.0))
    """
    found = [moments(x[:, channel], per_feature=False) for channel in range(x.shape[1])]
    return Normalisation(*(tuple(float(number) for number in numbers) for numbers in zip(*found, strict=True)))


def moments(values: Tensor, per_feature: bool) -> tuple[Tensor, Tensor]:
    """Mean and population standard deviation in float64; the deviation of what is constant becomes 1.

    Pixels (uint8) are summed as integers, so that the result is the same to the bit on every machine; in a table bytes
    are numbers as others.
    """
    if values.dtype == torch.uint8 and not per_feature:
        counts = torch.bincount(values.reshape(-1), minlength=256).double()
        levels = torch.arange(256, dtype=torch.float64)
        mean = (counts * levels).sum() / counts.sum()
        deviation = ((counts * levels**2).sum() / counts.sum() - mean**2).sqrt()
        return mean, torch.where((counts > 0).sum() > 1, deviation, 1.0)
    flat = values.double() if per_feature else values.double().reshape(-1)
    mean, deviation = flat.mean(0), flat.std(0, correction=0)
    return mean, torch.where(is_constant(mean, deviation, len(flat)), 1.0, deviation)


def is_constant(mean: Any, deviation: Any, count: int) -> Any:
    """Whether a deviation in float64, a tensor or an array, is no more than what rounding makes of equal numbers.

    The rounded mean of 200 times 0.1 is not 0.1, and leaves a deviation of 7e-17 to divide by.

    Example:
        >>> values = torch.full((200,), 0.1, dtype=torch.float64)
        >>> bool(is_constant(values.mean(), values.std(correction=0), 200)), bool(is_constant(0.0, 1e-9, 200))
        (True, False)

    Source:
        Chan, Golub and LeVeque, "Algorithms for Computing the Sample Variance", 1983; as scikit-learn's StandardScaler.
    """
    return deviation**2 <= count * EPSILON * deviation**2 + (count * mean * EPSILON) ** 2


def _divide(pair: Pair, fraction: float, classes: int | None) -> tuple[Pair, Pair]:
    x, y = pair
    stay, off = split_off(len(x), fraction, None if classes is None else y)
    return (x[stay], y[stay]), (x[off], y[off])


def _normal(values: Tensor, mean: Tensor, deviation: Tensor) -> Tensor:
    # float64 images of 60,000 would take 376 MB for nothing.
    wide = values.float() if values.dtype == torch.uint8 else values.double()
    return ((wide - mean.to(wide.dtype)) / deviation.to(wide.dtype)).float()
