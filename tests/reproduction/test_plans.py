"""Plans: what is run, and that it costs what searches and trainings of these settings cost."""

import pytest
import torch

from evomal.config import learn_settings
from evomal.foundation.errors import SettingError, UnknownNameError
from evomal.reproduction.call import plan_price
from evomal.reproduction.made_up import operations
from evomal.reproduction.numbers import borrowed
from evomal.reproduction.plans import GRID, WHATS, Wanted, evaluated, parts_of
from evomal.reproduction.prices import part_price, price_of
from evomal.reproduction.step_times import StepTimes
from evomal.search.pricing import price
from evomal.tasks import named_task
from evomal.tasks.datasets.data import VALID_FRACTION
from evomal.tasks.sampling import split_off

TIMES = StepTimes("lenet5", "cpu", 128, 128, base=0.01, meta=0.03, more=0.02, forward=0.004, repeats=1)
LENET, SVHN = ["mnist/lenet5"], "svhn/wideresnet28-10"


def test_the_papers_own_budget():
    (part,) = parts_of(["table2"], LENET, Wanted())
    # 25 × 50 candidates of three methods and one of ML³, five seeds; ML³ has 500 steps of its own.
    assert part.evaluations == 5 * (3 * 1250 + 1)
    tuned = 5 * (1250 * 250 * 2 + 500 * 2)
    assert part.base_steps == tuned + part.evaluations * 500 + 25 * 10_000
    assert (part.trainings, part.steps) == (25, 10_000)


def test_a_plan_counts_what_the_price_of_a_search_counts():
    flat = {
        "population_size": 4,
        "generations": 3,
        "meta_steps": 2,
        "rejection_steps": 6,
        "rejection_lr": 0.1,
        "rejection_threshold": 0.05,
    }
    (part,) = parts_of(["table2"], LENET, Wanted(methods=("ml3", "evomal"), flat=flat))
    task = named_task("iris", "linear")
    for settings in set(part.searches):
        whole = price(task, settings)
        ours = TIMES.search(settings, valid=100)
        assert ours.candidates == whole.candidates == settings.evaluations
        counts = [(s.name, s.least, s.most, s.generations) for s in whole.stages]
        assert [(s.name, s.least, s.most, s.generations) for s in ours.stages] == counts


def test_hours_from_steps():
    wanted = Wanted(methods=("gplfl",), seeds=(0, 1), flat={"population_size": 4, "generations": 5})
    (part,) = parts_of(["table2"], LENET, wanted)
    cost = part_price(part, {"lenet5": TIMES}, workers=1)
    partial = 500 * 0.01 + 6_000 / 128 * 0.004
    full = 10_000 * 0.01 + 16_000 / 128 * 0.004
    fresh = 18  # nine tenths of 20, whose predictions the filters take
    assert cost.least == pytest.approx(2 * (5 * partial + fresh * 0.004) + 4 * full)
    assert cost.most == pytest.approx(2 * (10 * partial + fresh * 0.004) + 4 * full)
    assert part_price(part, {"lenet5": TIMES}, workers=2).most == pytest.approx(cost.most / 2)


def test_candidates_share_a_meta_step():
    tune = TIMES.search(learn_settings("paper-mnist"), 6_000).stages[0]
    assert tune.seconds(tune.most) == pytest.approx(50 * 250 * (0.03 - 0.02) + 1125 * 250 * 0.02)


def test_scale_shrinks_every_budget_and_says_so():
    whole, small = (parts_of(["table2"], LENET, Wanted(scale=scale))[0] for scale in (1.0, 0.1))
    assert small.base_steps < 0.02 * whole.base_steps
    evomal = next(settings for settings in small.searches if settings.method == "evomal")
    assert (evomal.genetic.generations, evomal.local_search.meta_steps, evomal.partial_steps) == (5, 25, 50)
    assert small.steps == 1_000
    (told,) = Wanted(scale=0.1).changes
    assert told.startswith("scale 0.1: ")
    assert Wanted().changes == []
    assert Wanted(flat={"population_size": 4}).changes == ["population_size is 4, not the paper's"]


def test_parts_that_others_rest_on_come_first_and_once():
    folders = [part.folder for part in parts_of(["table3", "table2", "fig10"], ["cifar100/wideresnet28-10"], Wanted())]
    assert folders == [
        "table2/cifar10-wideresnet28-10",
        "table3/cifar100-wideresnet28-10",
        "table2/cifar100-wideresnet28-10",
        "fig9/cifar100-wideresnet28-10",
    ]
    assert [part.lr for part in parts_of(["fig11"], [], Wanted())] == list(GRID)
    assert len(parts_of(["table4"], [], Wanted())) == 9  # networks


@pytest.mark.parametrize("what", WHATS)
def test_everything_can_be_planned_at_the_papers_size(what):
    parts = parts_of([what], [], Wanted())
    assert parts
    assert all(part.base_steps > 0 or part.kind == "steps" for part in parts)


def test_a_network_without_time_is_priced_by_its_operations(monkeypatch):
    wanted = Wanted(methods=("ml3",))
    parts = parts_of(["table2"], ["mnist/lenet5", "cifar10/wideresnet28-10"], wanted)
    found = price_of(parts, wanted, seconds=0.5)
    small, large = found.parts
    assert small.note.startswith("timed at batch ")
    assert large.note == "not timed: lenet5's times, in proportion to the operations of a prediction"
    # 5.2 billion multiplications and additions apart, as its paper has it.
    assert operations("cifar10", "wideresnet28-10") == pytest.approx(2 * 5.2e9, rel=0.05)
    assert found.absent == ("mnist", "cifar10")
    assert large.most > 1000 * small.least


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"scale": 0.0}, r"^setting 'scale': 0.0 is no share of the paper's budgets; give `scale=0.05`$"),
        ({"scale": -1.0}, r"^setting 'scale': -1.0 is no share"),
        ({"scale": 1.5}, r"^setting 'scale': 1.5 is no share"),
        ({"scale": float("nan")}, r"^setting 'scale': nan is no share"),
        ({"seeds": (3,)}, r"needs at least two of them; give `seeds="),
        ({"seeds": (3, 3)}, r"needs at least two of them; give `seeds="),
        ({"lr_grid": (0.1, 0.0)}, r"^setting 'lr_grid': 0.0 is no learning rate; give numbers above 0$"),
        ({"lr_grid": (float("nan"),)}, r"^setting 'lr_grid': nan is no learning rate; give numbers above 0$"),
        ({"methods": ("evomla",)}, r"unknown method of the paper 'evomla'; did you mean 'evomal'\?"),
    ],
)
def test_odd_wishes_are_refused(options, error):
    with pytest.raises(SettingError, match=error):
        Wanted(**options)


@pytest.mark.parametrize("what", ["fig6", "fig7", "fig8", "fig9", "fig10"])
def test_a_figure_of_searches_that_are_left_out_is_refused_before_any_of_them(what):
    wanted = Wanted(methods=("ml3", "gplfl"))
    with pytest.raises(SettingError) as caught:
        parts_of(["table2", what], LENET, wanted)
    assert str(caught.value) == f"figure '{what}' is of EvoMAL's searches; add evomal to `methods`"
    with pytest.raises(SettingError, match=r"^figure 'fig5' is of searches with generations; add taylorglo, gplfl or "):
        parts_of(["fig5"], LENET, Wanted(methods=("ml3",)))
    assert parts_of(["fig5", "fig11"], LENET, wanted)


def test_what_is_given_twice_is_priced_once():
    once, twice = (
        plan_price("table2", LENET, seeds=seeds, lr_grid=grid, scale=0.01, seconds=0.1)
        for seeds, grid in (((0, 1), (0.1,)), ((0, 1, 0), (0.1, 0.1)))
    )
    assert [part.part for part in once.parts] == [part.part for part in twice.parts]


@pytest.mark.parametrize(("row", "training"), [("mnist/lenet5", 60_000), ("cifar10/vgg16", 50_000), (SVHN, 73_257)])
def test_instances_for_validation_are_those_that_are_split_off(row, training):
    assert evaluated(row)[0] == len(split_off(training, VALID_FRACTION, torch.arange(training) % 10)[1])


def test_odd_names_are_refused():
    with pytest.raises(UnknownNameError, match=r"unknown table or figure 'tabel2'; did you mean 'table2'\?"):
        parts_of(["tabel2"], [], Wanted())
    with pytest.raises(
        UnknownNameError, match=r"unknown row of table3 'cifar10/vgg16'; did you mean 'cifar100/vgg16'\?"
    ):
        parts_of(["table3"], ["cifar10/vgg16"], Wanted())
    with pytest.raises(SettingError, match=r"^name what to reproduce: table2, "):
        parts_of([], [], Wanted())


def test_a_row_of_a_data_set_that_stands_in_is_planned_and_priced_as_the_papers():
    paper, own = (plan_price("table2", row, scale=0.1, seconds=1.0) for row in ("mnist/lenet5", "fashion-mnist/lenet5"))
    assert [each.part.folder for each in own.parts] == ["table2/fashion-mnist-lenet5"]
    assert [(each.part.evaluations, each.part.base_steps) for each in own.parts] == [
        (each.part.evaluations, each.part.base_steps) for each in paper.parts
    ]
    assert set(own.changes) - set(paper.changes) == {*borrowed(["fashion-mnist/lenet5"])}
