"""What spoils data: rare classes, wrong labels, noise with outliers; pure functions, random only by a generator."""

import torch
from torch import Tensor


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
