"""The numbers that the paper prints, by table, row and method, and where its print is doubtful.

Source:
    Raymond, Chen, Xue and Zhang, "Learning Symbolic Model-Agnostic Loss Functions via Meta-Learning", 2023.
"""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from evomal.foundation.errors import unknown_name

BASELINE = "cross_entropy"
METHODS = MappingProxyType(
    {BASELINE: "Baseline", "ml3": "ML³", "taylorglo": "TaylorGLO", "gplfl": "GP-LFL", "evomal": "EvoMAL"}
)
"""The columns of Tables 2 to 4: what is called so here, and in the paper."""


class Printed(NamedTuple):
    """A number of the paper.

    Attributes:
        value: A mean test error rate over five seeds (Tables 2 and 3), or hours (Table 4).
        sd: Its standard deviation; None where the table has none.
    """

    value: float
    sd: float | None = None


# Mean and standard deviation of test error: Baseline, ML³, TaylorGLO, GP-LFL, EvoMAL.
_TABLE2 = """
mnist/lenet5             .0203 .0025  .0135 .0039  .0137 .0038  .0115 .0015  .0100 .0010
cifar10/alexnet          .1544 .0012  .1450 .0028  .1499 .0075  .1506 .0047  .1437 .0033
cifar10/vgg16            .0771 .0023  .0700 .0006  .0700 .0022  .0686 .0014  .0687 .0016
cifar10/allcnnc          .0761 .0015  .0712 .0043  .0735 .0030  .0701 .0022  .0697 .0010
cifar10/resnet18         .0658 .0019  .0584 .0022  .0546 .0033  .0818 .0391  .0528 .0015
cifar10/preresnet101     .0661 .0015  .0660 .0016  .0660 .0027  .0658 .0023  .0655 .0018
cifar10/wideresnet28-10  .0548 .0016  .0549 .0040  .0493 .0023  .0489 .0014  .0484 .0018
cifar10/squeezenet       .0838 .0013  .0800 .0012  .0800 .0025  .0810 .0016  .0796 .0017
cifar100/wideresnet28-10 .2293 .0017  .2299 .0027  .2347 .0077  .3382 .1406  .2276 .0033
cifar100/pyramidnet110   .2527 .0028  .2792 .0226  .3064 .0549  .2747 .0087  .2664 .0063
svhn/wideresnet28-10     .0340 .0005  .0335 .0003  .0343 .0016  .0340 .0015  .0329 .0013
"""
_TABLE3 = """
cifar100/alexnet         .5262 .0094  .7735 .0295  .5543 .0138  .5329 .0037  .5324 .0031
cifar100/vgg16           .3025 .0022  .3171 .0019  .3155 .0021  .3171 .0041  .3115 .0038
cifar100/allcnnc         .2830 .0021  .2817 .0032  .4191 .0058  .2849 .0012  .2807 .0028
cifar100/resnet18        .2474 .0018  .6000 .0173  .2436 .0032  .2373 .0013  .2326 .0014
cifar100/preresnet101    .2908 .0065  .2838 .0019  .2993 .0030  .2839 .0025  .2899 .0024
cifar100/wideresnet28-10 .2293 .0017  .2448 .0063  .2285 .0031  .2276 .0028  .2238 .0017
cifar100/squeezenet      .3178 .0015  .3402 .0057  .3178 .0012  .3343 .0054  .3166 .0026
"""
# Hours of meta-training on one RTX A6000: ML³, TaylorGLO, GP-LFL, EvoMAL.
_TABLE4 = """
mnist/lenet5             .03  2.30  .82  3.29
cifar10/alexnet          .03  3.75 1.04  5.90
cifar10/vgg16            .12  4.67  .89  9.12
cifar10/allcnnc          .12  4.55  .90  8.77
cifar10/resnet18         .60  9.14 1.02 54.22
cifar10/preresnet101     .41  8.40  .96 41.73
cifar10/wideresnet28-10  .63 12.85  .98 66.72
cifar10/squeezenet       .12  4.95  .41 11.18
cifar100/wideresnet28-10 .20 20.34 1.34 57.61
cifar100/pyramidnet110   .20 24.83 1.32 49.89
svhn/wideresnet28-10     .20 41.57 1.09 67.28
"""


def _numbers(text: str, width: int, methods: list[str]) -> Mapping[str, Mapping[str, Printed]]:
    """Rows of a table above; each method has `width` numbers."""
    found = {}
    for line in text.strip().splitlines():
        row, *cells = line.split()
        values = [float(cell) for cell in cells]
        each = (Printed(*values[start : start + width]) for start in range(0, len(values), width))
        found[row] = MappingProxyType(dict(zip(methods, each, strict=True)))
    return MappingProxyType(found)


PAPER: Mapping[str, Mapping[str, Mapping[str, Printed]]] = MappingProxyType(
    {
        "table2": _numbers(_TABLE2, 2, list(METHODS)),
        "table3": _numbers(_TABLE3, 2, list(METHODS)),
        "table4": _numbers(_TABLE4, 1, list(METHODS)[1:]),
    }
)
"""By table, row and method, such as ``PAPER["table2"]["mnist/lenet5"]["evomal"]``."""

TABLE5 = MappingProxyType({f"evomal_{letter}": letter for letter in "abcdefg"})
"""The losses of Table 5 that can be trained with, by their names in `evomal.losses.published.PUBLISHED`."""
UNREADABLE = MappingProxyType(
    {
        "h": "divides by a root without the 1 that every quotient of Table 1 has: no formula of theirs as printed",
        "i": "empty in the print",
    }
)
"""The losses of Table 5 that cannot."""

DOUBTS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "table2": (
            "the text says that EvoMAL is best on all pairs but VGG-16; in the table the baseline is best on "
            "cifar100/pyramidnet110, too",
        ),
        "table3": (
            "the table has five executions, while the text takes one loss from each method, the best of five seeds: "
            "read as five trainings with that one loss",
        ),
        "table4": (
            "0.20 h for ML³ on cifar100/wideresnet28-10 and svhn/wideresnet28-10 stands beside 0.63 h for the same "
            "network on cifar10",
            "the text has 1.7 GPU days as EvoMAL's average on CIFAR-10; the seven rows printed have a mean of 1.2",
        ),
        "table5": (
            "coefficients φ are left out in the print; here all are 1, so that a loss may do worse than it did there",
        ),
        "fig11": ("the rates of the grid are in the picture alone; those used here are a decision of ours",),
    }
)
"""What is doubtful in the print, or had to be read in one of several ways, one sentence each."""


STAND_INS: Mapping[str, str] = MappingProxyType({"fashion-mnist": "mnist"})
"""Data sets that may stand in for one of the paper's, of the same form, for whoever does not have that."""


def original(row: str) -> str:
    """The paper's row that a row has its settings, and the numbers beside it, from.

    Example:
        >>> original("fashion-mnist/lenet5"), original("svhn/wideresnet28-10")
        ('mnist/lenet5', 'svhn/wideresnet28-10')
    """
    dataset, _, model = row.partition("/")
    return f"{STAND_INS.get(dataset, dataset)}/{model}"


def borrowed(rows: Iterable[str]) -> list[str]:
    """What to say of rows whose data set stands in for one of the paper's, one sentence each.

    Example:
        >>> borrowed(["mnist/lenet5"])
        []
    """
    return [
        f"{row} is no row of the paper: its settings, and the paper's numbers beside it, are those of {original(row)}"
        for row in dict.fromkeys(rows)
        if original(row) != row
    ]


def rows_of(table: str) -> tuple[str, ...]:
    """The rows of a table, in the paper's order.

    Example:
        >>> rows_of("table3")[:2], len(rows_of("table2"))
        (('cifar100/alexnet', 'cifar100/vgg16'), 11)
    """
    return tuple(PAPER[table])


def known_rows(table: str) -> tuple[str, ...]:
    """The rows of a table, and those of data sets that stand in for the paper's.

    Example:
        >>> set(known_rows("table2")) - set(rows_of("table2"))
        {'fashion-mnist/lenet5'}
    """
    rows = rows_of(table)
    models = dict.fromkeys(row.partition("/")[2] for row in rows)
    others = (f"{dataset}/{model}" for dataset in STAND_INS for model in models)
    return rows + tuple(row for row in others if original(row) in rows)


def checked_rows(table: str, rows: tuple[str, ...]) -> tuple[str, ...]:
    """Rows that were asked for, in the order of the table; all of the paper's if none was.

    Raises:
        UnknownNameError: The table does not have one of them.

    Example:
        >>> checked_rows("table2", ("mnist/lenet5",))
        ('mnist/lenet5',)
    """
    known = known_rows(table)
    for row in rows:
        if row not in known:
            raise unknown_name(f"row of {table}", row, known)
    return tuple(row for row in known if row in rows) if rows else rows_of(table)
