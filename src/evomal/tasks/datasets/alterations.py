"""Data sets made harder: few instances, rare classes, wrong labels, targets with outliers."""

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from evomal.foundation import seeds
from evomal.foundation.errors import SettingError
from evomal.tasks.datasets.data import Data, Pair
from evomal.tasks.sampling import split_off

GREATEST = 1e9
ONLY_FOR = {"imbalance": "classification", "label_noise": "classification", "target_noise": "regression"}


@dataclass(frozen=True)
class Alterations:
    """What is changed in the training and validation splits of a data set, in the order in which it is done.

    Args:
        train_size: Number of training instances to keep, stratified by class; None keeps all. With fewer
            instances than classes, or very rare classes, a class may be lost.
        imbalance: Ratio r ≥ 1 of the largest class to the last one, see `long_tail`; 1 leaves classes as
            they are.
        label_noise: Share p of labels, ``0 ≤ p < 1``, that become one of the other C − 1 classes, all
            equally likely; afterwards the share of wrong labels is p, rounded to whole instances.
        target_noise: Scale s ≥ 0 of heavy-tailed noise: targets y become y + s·t with t from `student_t`;
            in units of the standardised targets, that is of the clean training targets' standard deviation.

    Raises:
        SettingError: A value is out of its range.

    Example:
        >>> Alterations(label_noise=0.4, imbalance=100).summary
        'imbalance 100, label noise 0.4'
    """

    train_size: int | None = None
    imbalance: float = 1.0
    label_noise: float = 0.0
    target_noise: float = 0.0

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        size = self.train_size
        whole = size is None or (_within(size, 1, GREATEST) and size % 1 == 0)
        for name, fits, advice in (
            ("train_size", whole, "a whole number of instances, at least 1"),
            ("imbalance", _within(self.imbalance, 1, GREATEST), "a ratio from 1 to below 1e9, such as 100"),
            ("label_noise", _within(self.label_noise, 0, 1), "a share from 0 to below 1, such as 0.4"),
            ("target_noise", _within(self.target_noise, 0, GREATEST), "a scale from 0 to below 1e9, such as 0.5"),
        ):
            if not fits:
                raise SettingError(f"{name} is {getattr(self, name)}; choose {advice}")

    @property
    def given(self) -> dict[str, float]:
        """The changes that do something, in order, with their values."""
        return {
            field.name: value
            for field in fields(self)
            if (value := getattr(self, field.name)) not in (None, field.default)
        }

    @property
    def summary(self) -> str:
        """What is changed, in words; empty if nothing is."""
        return ", ".join(f"{name.replace('_', ' ')} {_number(value)}" for name, value in self.given.items())


def altered(data: Data, alterations: Alterations) -> Data:
    """A data set with some of its training and validation instances taken away or spoilt.

    The test split stays as it is. So does `target_scale`: outputs stay in units of the clean targets, and
    inputs keep the shift and scale that `prepare` took from the whole clean training split. The changes are part
    of the data set: drawn from its name and their own kind and value, never from ``--seed``, so that every seed
    and method meets the same wrong labels and runs differ by nothing else.

    Args:
        data: The clean data set.
        alterations: What to change. `train_size` changes training alone, the rest validation as well. With
            an imbalance beside it, fewer than `train_size` instances are left.

    Returns:
        The data set, with a name that tells the changes; `data` itself if there are none.

    Raises:
        SettingError: There are not as many training instances, or a change is for the other kind of task.

    Example:
        >>> from evomal.tasks.datasets import load_dataset
        >>> data = altered(load_dataset("digits"), Alterations(imbalance=10, label_noise=0.2))
        >>> data.name, len(data.train[0]), len(data.test[0])
        ('digits (imbalance 10, label noise 0.2)', 528, 360)
    """
    if not alterations.given:
        return data
    for name in alterations.given:
        if ONLY_FOR.get(name, data.task_type) != data.task_type:
            raise SettingError(
                f"{name} is for {ONLY_FOR[name]}, but data set '{data.name}' is for {data.task_type}; leave it out"
            )
    train = data.train if alterations.train_size is None else _fewer(data, alterations.train_size)
    return replace(
        data,
        name=f"{data.name} ({alterations.summary})",
        train=_disturbed(train, "training", data, alterations),
        valid=_disturbed(data.valid, "validation", data, alterations),
    )


def _fewer(data: Data, size: int) -> Pair:
    x, y = data.train
    if size > len(x):
        raise SettingError(
            f"train_size is {size}, but data set '{data.name}' has {len(x)} training instances; choose at most {len(x)}"
        )
    if size == len(x):
        return x, y
    # Half an instance less, as the share is rounded up; the rest is split off since single members stay.
    stay, _ = split_off(len(x), (len(x) - size - 0.5) / len(x), None if data.classes is None else y)
    return x[stay], y[stay]


def _disturbed(pair: Pair, part: str, data: Data, alterations: Alterations) -> Pair:
    x, y = pair

    def draws(kind: str) -> torch.Generator:
        return seeds.generator("alteration", data.name, kind, _number(getattr(alterations, kind)), part)

    if "imbalance" in alterations.given:
        kept = long_tail_rows(y, alterations.imbalance, data.outputs, draws("imbalance"))
        x, y = x[kept], y[kept]
    if "label_noise" in alterations.given:
        y = mislabelled(y, alterations.label_noise, data.outputs, draws("label_noise"))
    if "target_noise" in alterations.given:
        noise = alterations.target_noise * student_t(y.numel(), draws("target_noise"))
        y = (y.double() + noise.reshape(y.shape)).to(y.dtype)
    return x, y


def _within(value: Any, least: float, below: float) -> bool:
    # Compared as it is: whole numbers may be too great for a float.
    number = isinstance(value, int | float | np.number) and type(value) is not bool
    return number and bool(least <= value < below)


def _number(value: float) -> str:
    return f"{value:.15g}"  # 100 and 100.0 are one change


def long_tail(counts: Tensor, ratio: float) -> Tensor:
    """Sizes of classes that fall exponentially: ``n_k = n_max · r^(−k / (C − 1))``, rounded down.

    Args:
        counts: Instances that there are of each class, int64 [C]; n_max is the greatest.
        ratio: r, what the size of class 0 over that of class C − 1 becomes in a balanced set.

    Returns:
        Instances to keep, int64 [C]: never more than there are, and at least one of each class that is there.

    Example:
        >>> long_tail(torch.full((10,), 5000), 100).tolist()  # the long-tailed CIFAR-10
        [5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50]

    Source:
        Cui, Jia, Lin, Song, Belongie, 2019, "Class-balanced loss based on effective number of samples".
    """
    place = torch.arange(len(counts), dtype=torch.float64) / max(len(counts) - 1, 1)
    sizes = counts.max() * ratio**-place
    # 50 must not become 49 where a power falls just short of it.
    return torch.minimum((sizes * (1 + 1e-12)).long().clamp(min=1), counts)


def long_tail_rows(labels: Tensor, ratio: float, classes: int, generator: torch.Generator) -> Tensor:
    """Which instances a long tail keeps; those of each class are drawn at random.

    Args:
        labels: int64 [N], from 0 to C − 1.
        ratio: See `long_tail`.
        classes: C.
        generator: A CPU generator.

    Returns:
        Sorted rows, int64 [M].

    Example:
        >>> labels = torch.arange(12) % 3
        >>> labels[long_tail_rows(labels, 4, 3, torch.Generator().manual_seed(0))].bincount()
        tensor([4, 2, 1])
    """
    sizes = long_tail(labels.bincount(minlength=classes), ratio).tolist()
    order = torch.randperm(len(labels), generator=generator)
    return torch.cat([order[labels[order] == k][:size] for k, size in enumerate(sizes)]).sort().values


def mislabelled(labels: Tensor, share: float, classes: int, generator: torch.Generator) -> Tensor:
    """Labels with symmetric noise: ``round(share · N)`` of them, anywhere, become another class.

    Args:
        labels: int64 [N], from 0 to C − 1.
        share: p, the share of labels that are wrong afterwards.
        classes: C ≥ 2; each of the other C − 1 is equally likely.
        generator: A CPU generator.

    Returns:
        New labels, int64 [N].

    Example:
        >>> labels = torch.arange(10) % 5
        >>> (mislabelled(labels, 0.4, 5, torch.Generator().manual_seed(0)) != labels).sum()
        tensor(4)

    Source:
        Patrini, Rozza, Menon, Nock, Qu, 2017, "Making deep neural networks robust to label noise".
    """
    wrong = torch.randperm(len(labels), generator=generator)[: round(share * len(labels))]
    shift = torch.randint(1, classes, (len(wrong),), generator=generator)
    return labels.index_put((wrong,), (labels[wrong] + shift) % classes)


def student_t(length: int, generator: torch.Generator) -> Tensor:
    """Draws from Student's t distribution with 2 degrees of freedom: mean 0, infinite variance.

    The quantile function ``(2u − 1) / sqrt(2u(1 − u))`` of uniform u; torch's own sampler takes no generator.

    Args:
        length: Number of draws N.
        generator: A CPU generator.

    Returns:
        Finite numbers, float64 [N].

    Example:
        >>> student_t(1001, torch.Generator().manual_seed(0)).abs().median() < 1
        tensor(True)
    """
    u = torch.rand(length, generator=generator, dtype=torch.float64).clamp(min=2.0**-53)
    return (2 * u - 1) / (2 * u * (1 - u)).sqrt()
