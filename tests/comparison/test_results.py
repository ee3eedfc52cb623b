import json
from dataclasses import replace
from math import inf, isnan, nan
from statistics import fmean, stdev

import pytest
from scipy.stats import ttest_rel

from evomal.comparison import Comparison, Contender, Origin, SearchSummary, read_comparison, write_tables
from evomal.foundation.errors import DataError, RunFolderError, SettingError, UnknownNameError
from evomal.training import TrainingRun

GOOD = {0: 0.20, 1: 0.25, 2: 0.18, 3: 0.22, 4: 0.21}
POOR = {0: 0.30, 1: 0.33, 2: 0.29, 3: 0.31, 4: 0.32}


def _search(seed, fitness=0.25, seconds=60.0, evaluations=100):
    return SearchSummary(
        seed, seconds, evaluations, 1000, fitness, 0.3, "(y - f)²", f"runs/a/{seed}/loss.json", {"trained": 80}
    )


def _contender(name, by_rate, kind="handcrafted", searches=()):
    """Trainings, {rate: {seed: test}}; the validation metric is the test metric and a little."""
    runs = [
        TrainingRun(lr, seed, test + 0.001, test, 100, 1.5, None if test < inf else "the loss is not finite at step 7")
        for lr, tests in by_rate.items()
        for seed, test in tests.items()
    ]
    return Contender(name, kind, searches, tuple(runs))


def _comparison(*contenders, lrs=(0.01, 0.1, 1.0), seeds=(0, 1, 2, 3, 4), fixed_lr=0.1, settings=None):
    return Comparison("digits/mlp", "error_rate", "ce", fixed_lr, lrs, seeds, contenders, settings or {})


def _moved(tests, by, wobble=0.001):
    """The same tests, all better by something, with a little that differs between seeds."""
    return {seed: test - by + wobble * (seed % 2) for seed, test in tests.items()}


def _ce(fixed=POOR, best=GOOD):
    """Cross-entropy, whose best rate is the smallest but one."""
    return _contender("ce", {0.01: _moved(POOR, -0.2), 0.1: fixed, 0.3: best, 1.0: _moved(POOR, -0.1)})


LRS = (0.01, 0.1, 0.3, 1.0)
TAKEN = ("seconds", "evaluations", "meta_steps")


def test_values_come_in_the_order_of_the_seeds():
    contender = _contender("ce", {0.1: {2: 0.3, 0: 0.1, 1: 0.2}, 1.0: {1: 0.9, 0: 0.8, 2: 0.7}})
    assert contender.values(0.1, (0, 1, 2)) == (0.1, 0.2, 0.3)
    assert contender.values(1.0, (1, 2)) == (0.9, 0.7)
    assert contender.missing((0.1, 0.5), (2, 3)) == [(0.1, 3), (0.5, 2), (0.5, 3)]


def test_the_best_rate_is_chosen_on_validation():
    runs = tuple(
        TrainingRun(lr, seed, valid, test, 10, 1.0)
        for lr, valid, test in ((0.1, 0.3, 0.1), (1.0, 0.2, 0.4))
        for seed in (0, 1)
    )
    assert Contender("ce", "handcrafted", (), runs).best_rate((0.1, 1.0)) == 1.0


@pytest.mark.parametrize("worst", [nan, inf, -inf])
def test_a_rate_at_which_one_seed_diverged_comes_last(worst):
    contender = _contender("ce", {0.1: {0: 0.5, 1: 0.6}, 1.0: {0: 0.1, 1: worst}})
    assert contender.best_rate((0.1, 1.0)) == contender.best_rate((1.0, 0.1)) == 0.1


def test_the_price_of_a_search():
    searches = (_search(0, seconds=10.0, evaluations=90), _search(1, seconds=20.0, evaluations=101))
    learned = _contender("evomal", {0.1: GOOD}, "learned", searches)
    assert tuple(map(learned.mean_of_searches, TAKEN)) == (15.0, 95.5, 1000)
    plain = _contender("ce", {0.1: GOOD})
    assert tuple(map(plain.mean_of_searches, TAKEN)) == (None, None, None)


def test_each_side_has_its_own_best_rate_in_the_second_column():
    rival = _contender("focal", {0.01: _moved(GOOD, 0.05), 0.1: _moved(POOR, 0.02), 0.3: POOR, 1.0: POOR})
    ce, focal = _comparison(_ce(), rival, lrs=LRS).rows()
    assert (ce.fixed.lr, ce.best.lr, focal.fixed.lr, focal.best.lr) == (0.1, 0.3, 0.1, 0.01)
    assert ce.fixed.test is None
    assert ce.best.test is None
    assert focal.contender is rival
    for cell, baseline in ((focal.fixed, ce.fixed), (focal.best, ce.best)):
        oracle = ttest_rel(baseline.values, cell.values)
        assert cell.mean == pytest.approx(fmean(cell.values))
        assert cell.sd == pytest.approx(stdev(cell.values))
        assert cell.test.p == cell.test.p_holm == pytest.approx(oracle.pvalue)
        assert cell.test.gain == pytest.approx(baseline.mean - cell.mean)
        assert cell.test.seeds == 5
    assert focal.fixed.values == tuple(_moved(POOR, 0.02).values())
    assert ce.best.values == tuple(GOOD.values())


def test_holm_counts_every_contender_but_the_baseline_in_each_column():
    a = _contender("a", {0.1: _moved(POOR, 0.01, 0.01), 1.0: POOR | {0: nan}})
    b = _contender("b", {0.1: dict.fromkeys(POOR, 0.3), 1.0: GOOD})
    c = _contender("c", {0.1: POOR | {3: nan}, 1.0: _moved(GOOD, 0.01)})
    ce = _contender("ce", {0.1: POOR, 1.0: _moved(POOR, 0.001)})
    rows = _comparison(a, ce, b, c, lrs=(0.1, 1.0)).rows()
    assert [row.contender.name for row in rows] == ["a", "ce", "b", "c"]
    fixed = {row.contender.name: row.fixed.test for row in rows}
    assert fixed["ce"] is None
    assert fixed["c"] is None
    # c diverged: it has no test, and the others are no more significant for it.
    small, great = sorted((fixed["a"], fixed["b"]), key=lambda test: test.p)
    assert small.p_holm == min(1, 3 * small.p)
    assert great.p_holm == max(small.p_holm, min(1, 2 * great.p))
    best = {row.contender.name: row.best for row in rows}
    assert (best["a"].lr, best["b"].lr, best["c"].lr) == (0.1, 1.0, 1.0)
    assert min(best[name].test.p for name in "abc") * 3 == min(best[name].test.p_holm for name in "abc")


def test_one_seed_has_neither_deviation_nor_test():
    row = _comparison(
        _contender("ce", {0.1: {7: 0.3}}), _contender("a", {0.1: {7: 0.2}}), lrs=(0.1,), seeds=(7,)
    ).rows()[1]
    assert (row.fixed.mean, row.fixed.sd, row.fixed.test) == (0.2, None, None)


def test_a_training_that_diverged_leaves_no_mean():
    ce = _contender("ce", {0.1: POOR})
    row = _comparison(ce, _contender("a", {0.1: GOOD | {2: inf}}), lrs=(0.1,)).rows()[1]
    assert isnan(row.fixed.mean)
    assert isnan(row.fixed.sd)
    assert row.fixed.test is None


WHERE = "left when each side has its best rate"


def _notes(gain, best):
    """Notes on a loss with a gain at the fixed rate, and tests with seeds 0 to 4 at the rate that is best for both."""
    learned = _contender("evomal", {0.01: _moved(POOR, -0.2), 0.1: _moved(POOR, gain), 0.3: best, 1.0: POOR})
    comparison = _comparison(_ce(), learned, lrs=LRS)
    row = comparison.rows()[1]
    assert row.best.lr == 0.3
    assert row.fixed.test.p_holm < 0.05 < row.best.test.p_holm
    return row.fixed.test.gain, row.best.test, comparison.notes()


@pytest.mark.parametrize("by", [0.00001, 0.0005])
def test_a_gain_that_is_step_size(by):
    gain, best, notes = _notes(0.05, {seed: test + by + 0.002 * (seed - 2) for seed, test in GOOD.items()})
    assert best.gain <= 0
    assert 0 < best.high < gain / 10
    assert notes == [f"the gain of evomal at the fixed rate is step size: none is {WHERE}"]


@pytest.mark.parametrize(("fixed", "by", "wobble"), [(0.1, -0.04, 0.022), (0.05, -0.001, 0.002), (0.05, 0.001, 0.02)])
def test_a_gain_that_is_partly_step_size(fixed, by, wobble):
    """An interval below the gain at the fixed rate leaves room for something, be its middle below 0 or above."""
    gain, best, notes = _notes(fixed, {seed: test + by + wobble * (seed - 2) for seed, test in GOOD.items()})
    assert best.high < gain
    assert best.gain > 0 or best.high >= gain / 10
    assert notes == [f"part of the gain of evomal at the fixed rate is step size: what is {WHERE} is not significant"]


def test_a_gain_that_is_more_than_step_size():
    learned = _contender(
        "evomal", {0.01: _moved(POOR, -0.2), 0.1: _moved(POOR, 0.1), 0.3: _moved(GOOD, 0.05), 1.0: POOR}
    )
    comparison = _comparison(_ce(), learned, lrs=LRS)
    assert comparison.rows()[1].best.test.p_holm < 0.05
    assert comparison.notes() == []


def test_a_gain_that_may_be_step_size():
    """What is left is not significant, but its interval holds the whole gain: that shows nothing."""
    noisy = {seed: test - 0.02 + 0.1 * (seed - 2) for seed, test in GOOD.items()}
    learned = _contender("evomal", {0.01: _moved(POOR, -0.2), 0.1: _moved(POOR, 0.02), 0.3: noisy, 1.0: POOR})
    assert _comparison(_ce(), learned, lrs=LRS).notes() == [
        "whether the gain of evomal at the fixed rate is step size stays open: what is left when each side has its "
        "best rate is not significant, yet may be as large; use more seeds"
    ]


def test_a_gain_that_turns_into_a_loss_with_a_wide_interval_stays_open():
    noisy = {seed: test + 0.02 + 0.1 * (seed - 2) for seed, test in GOOD.items()}
    gain, best, notes = _notes(0.02, noisy)
    assert best.gain < 0 < gain < best.high
    assert [note.partition(":")[0] for note in notes] == [
        "whether the gain of evomal at the fixed rate is step size stays open"
    ]


def test_a_loss_that_is_worse_at_both_has_no_gain_to_explain():
    worse = _contender("a", {0.01: _moved(POOR, -0.2), 0.1: _moved(POOR, -0.1), 0.3: _moved(GOOD, 0), 1.0: POOR})
    assert _comparison(_ce(), worse, lrs=LRS).notes() == []


@pytest.mark.parametrize(
    ("rates", "further"), [((0.3, 1.0), "smaller"), ((1.0, 0.3), "smaller"), ((0.1, 0.3), "greater")]
)
def test_a_best_rate_at_the_edge(rates, further):
    comparison = _comparison(
        _contender("ce", {lr: GOOD if lr == 0.3 else POOR for lr in rates}), lrs=rates, fixed_lr=0.3
    )
    assert comparison.notes() == [f"the best lr 0.3 of ce is at the edge of those tried; try {further} ones too"]


def test_diverged_trainings_are_counted_and_their_rate_is_no_edge():
    bad = _contender("a", {0.1: POOR | {1: nan}, 1.0: dict.fromkeys(POOR, nan)})
    ce = _contender("ce", {0.1: POOR, 1.0: POOR | {0: 0.9}})
    assert _comparison(ce, bad, lrs=(0.1, 1.0)).notes() == [
        "6 of 10 trainings with a diverged (1 of 5 at lr 0.1, 5 of 5 at lr 1)",
        "the best lr 0.1 of ce is at the edge of those tried; try smaller ones too",
    ]


@pytest.mark.parametrize(
    ("seeds", "note"),
    [
        ((4,), ["with a single seed nothing tells a difference from chance; five or more are better"]),
        ((0, 1), ["a paired t over 2 seeds detects only large effects; five or more are better"]),
        ((0, 1, 2, 3), ["a paired t over 4 seeds detects only large effects; five or more are better"]),
        ((0, 1, 2, 3, 4), []),
    ],
)
def test_few_seeds(seeds, note):
    assert _comparison(_contender("ce", {0.1: GOOD}), lrs=(0.1,), seeds=seeds).notes() == note


@pytest.mark.parametrize(("without", "seeds"), [((1,), "seed 1"), ((0, 3), "seeds 0, 3")])
def test_a_search_that_found_nothing(without, seeds):
    searches = tuple(_search(seed, None if seed in without else 0.2) for seed in range(5))
    learned = _contender("evomal", {0.1: _moved(POOR, 0.01)}, "learned", searches)
    assert _comparison(_contender("ce", {0.1: POOR}), learned, lrs=(0.1,)).notes() == [
        f"the search of evomal found nothing with {seeds}: the loss that stands for it has no fitness"
    ]


def test_one_loss_from_a_file_is_no_method():
    file = _contender("old.json", {0.1: _moved(POOR, 0.01)}, "file")
    assert _comparison(_contender("ce", {0.1: POOR}), file, lrs=(0.1,)).notes() == [
        "old.json is one loss from a file: p speaks of this loss, not of the method that found it, which would need a "
        "search of its own for each seed"
    ]


@pytest.mark.parametrize(
    ("kind", "lrs", "told"),
    [
        (
            "learned",
            (0.4, 0.1, 0.025, 0.4, None),
            "losses of a were tuned or chosen for lr 0.025 (seed 2), lr 0.4 (seeds 0, 3)",
        ),
        ("file", (0.4,) * 5, "the loss of a was tuned or chosen for lr 0.4"),
        ("learned", (0.1, 0.1 + 1e-17, None, 0.1, 0.1), None),
        ("handcrafted", (None,) * 5, None),
    ],
)
def test_losses_for_another_rate_than_the_fixed_one(kind, lrs, told):
    contender = replace(_contender("a", {0.1: _moved(POOR, 0.01)}, kind), tuned_lrs=lrs)
    notes = _comparison(_contender("ce", {0.1: POOR}), contender, lrs=(0.1,)).notes()
    assert [note for note in notes if "tuned" in note] == ([f"{told}, not for the fixed lr 0.1"] if told else [])


def test_times_of_searches_that_shared_the_machine():
    ce, alone, *shared = (
        _contender(name, {0.1: POOR}, "learned", tuple(replace(_search(seed), workers=count) for seed, count in ran))
        for name, ran in {"ce": (), "a": ((0, 1), (1, None)), "b": ((0, 1), (1, 2)), "c": ((0, 3), (1, 3))}.items()
    )
    assert _comparison(ce, alone, lrs=(0.1,)).notes() == []
    assert _comparison(ce, alone, *shared, lrs=(0.1,)).notes() == [
        "search times of b, c are wall times with up to 3 searches on the machine at a time; alone, a search may take "
        "less"
    ]


def test_other_versions_are_told():
    now, old = {"torch": "2.1", "numpy": "1.26", "cma": "4"}, {"torch": "2.0", "numpy": "1.25", "cma": "4", "x": "1"}
    comparison = replace(_comparison(_ce(), lrs=LRS), origin=Origin("evomal compare", now, (old,)))
    assert comparison.notes() == ["finished parts were made with torch 2.0, numpy 1.25, now torch 2.1, numpy 1.26"]
    document = comparison.as_dict()
    assert [document[name] for name in ("command", "versions", "earlier_versions")] == ["evomal compare", now, [old]]


def test_a_test_that_is_not_defined_is_told_for_each_column():
    ce = _contender("ce", {0.01: POOR, 0.1: GOOD, 1.0: POOR})
    other = _contender("a", {0.01: POOR, 0.1: _moved(GOOD, 0.01, 0), 1.0: POOR})
    told = "a differs from ce by the same amount at every seed {}: no t test is defined"
    assert _comparison(ce, other).notes() == [told.format("at lr 0.1"), told.format("at the best rates")]
    alone = [replace(each, runs=tuple(run for run in each.runs if run.lr == 0.1)) for each in (ce, other)]
    assert _comparison(*alone, lrs=(0.1,)).notes() == [told.format("at lr 0.1")]


def test_everything_as_plain_values():
    searches = (replace(_search(0), baseline=inf), _search(1, None))
    learned = replace(
        _contender("evomal", {0.1: {0: 0.2, 1: 0.3}, 1.0: {0: nan, 1: 0.3}}, "learned", searches), ratios=(2.5, None)
    )
    ce = _contender("ce", {0.1: {0: 0.3, 1: 0.35}, 1.0: {0: 0.4, 1: 0.4}})
    comparison = _comparison(
        ce, learned, lrs=(0.1, 1.0), seeds=(0, 1), settings={"steps": 10, "nested": {"lrs": (1, inf)}}
    )
    document = comparison.as_dict()
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    assert list(document) == [
        *("task", "metric", "baseline", "fixed_lr", "lrs", "seeds", "settings", "command", "versions"),
        *("earlier_versions", "contenders", "remarks", "notes", "verdict"),
    ]
    assert document["settings"] == {"steps": 10, "nested": {"lrs": [1, None]}}
    assert (document["lrs"], document["seeds"], document["notes"]) == ([0.1, 1.0], [0, 1], comparison.notes())
    one, other = document["contenders"]
    assert list(other) == ["name", "kind", "searches", "runs", "ratios", "tuned_lrs", "fixed", "best"]
    assert (one["name"], one["kind"], one["searches"], one["ratios"]) == ("ce", "handcrafted", [], [])
    assert other["ratios"] == [2.5, None]
    assert [(search["seed"], search["fitness"], search["baseline"]) for search in other["searches"]] == [
        (0, 0.25, None),
        (1, None, 0.3),
    ]
    assert other["searches"][0]["outcomes"] == {"trained": 80}
    assert other["runs"][2] == {
        **{"lr": 1.0, "seed": 0, "valid": None, "test": None, "steps": 100, "seconds": 1.5},
        "reason": "the loss is not finite at step 7",
    }
    assert list(other["fixed"]) == ["lr", "mean", "sd", "values", "test"]
    assert other["fixed"]["values"] == [0.2, 0.3]
    assert list(other["fixed"]["test"]) == ["gain", "low", "high", "effect", "p", "p_holm", "seeds"]
    assert other["fixed"]["test"]["gain"] == pytest.approx(0.075)
    assert (other["best"]["lr"], one["fixed"]["test"]) == (0.1, None)


def test_cells_of_what_diverged_are_none():
    bad = _contender("ce", {0.1: {0: nan, 1: 0.3}})
    cell = _comparison(bad, lrs=(0.1,), seeds=(0, 1)).as_dict()["contenders"][0]["fixed"]
    assert cell == {"lr": 0.1, "mean": None, "sd": None, "values": [None, 0.3], "test": None}


def test_a_baseline_that_is_not_there():
    with pytest.raises(UnknownNameError) as caught:
        _comparison(_contender("cee", {0.1: GOOD}), lrs=(0.1,))
    assert str(caught.value) == "unknown baseline 'ce'; did you mean 'cee'? (known: cee)"


def test_one_name_for_two():
    with pytest.raises(SettingError) as caught:
        _comparison(_contender("ce", {0.1: GOOD}), _contender("ce", {0.1: POOR}), lrs=(0.1,))
    assert str(caught.value) == "'ce' is compared twice; give each loss or method once"


def test_a_fixed_rate_that_was_not_tried():
    with pytest.raises(SettingError) as caught:
        _comparison(_contender("ce", {0.1: GOOD, 1.0: GOOD}), lrs=(0.1, 1.0), fixed_lr=0.5)
    assert str(caught.value) == "the fixed learning rate 0.5 is not among those tried (0.1, 1); add it"


def test_a_training_that_is_missing():
    with pytest.raises(DataError) as caught:
        _comparison(_contender("ce", {0.1: GOOD}), _contender("a", {0.1: {0: 0.1, 1: 0.1}}), lrs=(0.1,))
    assert (
        str(caught.value)
        == "the comparison lacks the training of 'a' at lr 0.1 with seed 2; finish it or leave 'a' out"
    )


def test_what_is_read_is_what_was_written(tmp_path):
    remarks = ("cross_entropy itself hardly learns", "the loss of a.json was tuned for optimizer adam")
    comparison = replace(_comparison(_contender("ce", {0.1: GOOD}), lrs=(0.1,)), remarks=remarks)
    *_, table = write_tables(comparison, tmp_path)
    assert read_comparison(tmp_path) == comparison
    assert read_comparison(tmp_path).notes() == comparison.notes() == [*remarks]
    older = json.loads(table.read_text())
    assert older.pop("remarks") == [*remarks]
    table.write_text(json.dumps(older))
    assert read_comparison(tmp_path) == replace(comparison, remarks=())
    table.write_text(json.dumps(older | {"remarks": 3}))
    with pytest.raises(RunFolderError, match=r"^'.*table.json' is no table of a comparison \(TypeError"):
        read_comparison(tmp_path)
