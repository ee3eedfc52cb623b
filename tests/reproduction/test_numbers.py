"""The paper's numbers, against a second reading: sums of its columns, and single cells."""

import math

import pytest

from evomal.config.presets import PAIRS
from evomal.foundation.errors import UnknownNameError
from evomal.losses.published import PUBLISHED
from evomal.reproduction.numbers import METHODS, PAPER, TABLE5, UNREADABLE, borrowed, checked_rows, known_rows, rows_of

# Means, then standard deviations, added up by columns from the paper's text: Baseline, ML³, TaylorGLO, GP-LFL, EvoMAL.
SUMS = {
    "table2": [(1.1144, 1.1016, 1.1324, 1.2252, 1.0653), (0.0188, 0.0462, 0.0915, 0.2050, 0.0246)],
    "table3": [(2.1970, 2.8411, 2.3781, 2.2180, 2.1875), (0.0252, 0.0658, 0.0322, 0.0210, 0.0178)],
}
HOURS = (2.66, 137.35, 10.77, 375.71)


@pytest.mark.parametrize("table", SUMS)
def test_columns_add_up(table):
    for place, sums in enumerate(SUMS[table]):
        for method, total in zip(METHODS, sums, strict=True):
            assert math.fsum(row[method][place] for row in PAPER[table].values()) == pytest.approx(total, abs=1e-9)


def test_hours_add_up():
    for method, total in zip(list(METHODS)[1:], HOURS, strict=True):
        assert math.fsum(row[method].value for row in PAPER["table4"].values()) == pytest.approx(total, abs=1e-9)


@pytest.mark.parametrize(
    ("table", "row", "method", "printed"),
    [
        ("table2", "mnist/lenet5", "cross_entropy", "0.0203 ± 0.0025"),
        ("table2", "cifar10/vgg16", "gplfl", "0.0686 ± 0.0014"),
        ("table2", "cifar10/resnet18", "taylorglo", "0.0546 ± 0.0033"),
        ("table2", "cifar100/wideresnet28-10", "gplfl", "0.3382 ± 0.1406"),
        ("table2", "svhn/wideresnet28-10", "evomal", "0.0329 ± 0.0013"),
        ("table3", "cifar100/alexnet", "ml3", "0.7735 ± 0.0295"),
        ("table3", "cifar100/preresnet101", "ml3", "0.2838 ± 0.0019"),
        ("table3", "cifar100/squeezenet", "evomal", "0.3166 ± 0.0026"),
        ("table4", "cifar10/wideresnet28-10", "evomal", "66.72 ± None"),
        ("table4", "cifar10/squeezenet", "gplfl", "0.41 ± None"),
    ],
)
def test_single_cells(table, row, method, printed):
    value, sd = PAPER[table][row][method]
    shown = f"{value:.2f} ± None" if sd is None else f"{value:.4f} ± {sd:.4f}"
    assert shown == printed


def test_rows_are_the_pairs_of_the_presets():
    pairs = {number: {f"{pair.dataset}/{pair.model}" for pair in PAIRS if number in pair.tables} for number in (2, 3)}
    assert set(rows_of("table2")) == set(rows_of("table4")) == pairs[2]
    assert set(rows_of("table3")) == pairs[3]


def test_every_letter_of_table_5_is_a_loss_or_has_a_reason():
    assert sorted([*TABLE5.values(), *UNREADABLE]) == list("abcdefghi")
    assert set(TABLE5) <= set(PUBLISHED)


def test_the_nearest_row_is_named():
    with pytest.raises(UnknownNameError, match=r"unknown row of table2 'mnist/lenet'; did you mean 'mnist/lenet5'\?"):
        checked_rows("table2", ("mnist/lenet",))


def test_fashion_mnist_stands_in_for_mnist_where_the_paper_has_that():
    assert [set(known_rows(table)) - set(rows_of(table)) for table in PAPER] == [
        {"fashion-mnist/lenet5"}, set(), {"fashion-mnist/lenet5"}
    ]  # fmt: skip
    assert checked_rows("table2", ("fashion-mnist/lenet5", "mnist/lenet5")) == ("mnist/lenet5", "fashion-mnist/lenet5")
    assert checked_rows("table2", ()) == rows_of("table2")
    assert borrowed(["mnist/lenet5", "fashion-mnist/lenet5"]) == [
        "fashion-mnist/lenet5 is no row of the paper: its settings, and the paper's numbers beside it, are those of "
        "mnist/lenet5"
    ]
