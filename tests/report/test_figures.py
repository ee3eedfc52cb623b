"""Figures: what is on them is what was given, without a display, and names cannot do harm."""

import json
import sys
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from types import SimpleNamespace

import matplotlib
import pytest
from matplotlib.figure import Figure

from evomal.analysis import Point
from evomal.foundation.errors import RunFolderError, SettingError, UnknownNameError
from evomal.losses import HandcraftedLoss, SymbolicLoss
from evomal.report.drawing import FIGURES, draw, plot_result, save_figure
from evomal.report.figures import (
    plot_filters,
    plot_final_rates,
    plot_gradient,
    plot_loss,
    plot_operators,
    plot_promise,
    plot_rates,
    plot_search,
    plot_sizes,
)
from evomal.report.figures.style import DASHES, MARKERS, SERIES, look, new_axes, svg_of
from evomal.search.verdict import Place

LEARNED = SymbolicLoss("square(sub(y, f))", task_type="classification")


def _lines(ax):
    return {line.get_label(): line for line in ax.lines if not line.get_label().startswith("_")}


def _all_figures(name, comparison):
    losses = {name: LEARNED, "cross_entropy": HandcraftedLoss("cross_entropy")}
    return [
        plot_loss(losses),
        plot_loss(losses, of="other"),
        plot_gradient(losses),
        plot_loss({name: HandcraftedLoss("mse")}),
        plot_rates(comparison),
        plot_search({name: [[None, 0.4], [0.6, 0.2]]}, name, baseline=0.5),
        plot_filters([{"trained": 2, name: 1}, {"rejected": 3}]),
        plot_operators({"add": 3, "sub": 1}),
        plot_sizes([Point(4, 0.5, (0, 0), name), Point(6, 0.2, (1, 1), "y")], name),
    ]


def test_curves_are_those_of_the_losses():
    ax = plot_loss({"mse": HandcraftedLoss("mse"), "mae": HandcraftedLoss("mae")})
    squared, absolute = (_lines(ax)[name] for name in ("mse", "mae"))
    assert list(squared.get_ydata()) == pytest.approx([r * r / 2 for r in squared.get_xdata()])  # slope 1 at 1
    assert list(absolute.get_ydata()) == pytest.approx([abs(r) for r in absolute.get_xdata()])


def test_series_differ_without_colour():
    assert len(set(SERIES)) == len(set(map(str, DASHES))) == len(set(MARKERS)) == 8
    lines = list(_lines(plot_loss({name: HandcraftedLoss(name) for name in ("cross_entropy", "focal")})).values())
    assert lines[0].get_linestyle() != lines[1].get_linestyle()
    looks = [tuple(map(str, look(place, marked=True).values())) for place in range(24)]
    assert len(set(looks)) == 24


def test_rates_leave_out_what_diverged(made):
    comparison = made.make_comparison()
    worst = comparison.contenders[2]
    runs = tuple(replace(run, test=float("nan")) if run.lr == 0.3 and run.seed == 1 else run for run in worst.runs)
    comparison = replace(comparison, contenders=(*comparison.contenders[:2], replace(worst, runs=runs)))
    ax = plot_rates(comparison)
    points = {container.get_label(): container[0].get_xdata() for container in ax.containers}
    assert {name: len(x) for name, x in points.items()} == {"cross_entropy": 2, "focal": 2, "evomal": 1}
    assert ax.get_xlabel().startswith("base learning rate α")


def test_a_search_curve_is_a_mean_with_its_spread():
    ax = plot_search({"evomal": [[0.6, 0.4], [0.8, 0.2], [None, 0.3]]}, "error_rate", 0.5)
    (line,) = (line for label, line in _lines(ax).items() if label.startswith("evomal"))
    assert list(line.get_ydata()) == pytest.approx([0.7, 0.3])
    assert "mean ± sd over 3 seeds" in line.get_label()
    assert len(ax.collections) == 1


def test_bars_of_a_generation_add_up():
    ax = plot_filters([{"trained": 3, "rejected": 7}, {"trained": 10}])
    tops = [
        max(bar.get_y() + bar.get_height() for bar in ax.patches if round(bar.get_center()[0]) == x) for x in (1, 2)
    ]
    assert tops == [10, 10]


@pytest.mark.parametrize("place", range(9))
def test_every_figure_is_whole_svg_whatever_names_say(place, made):
    comparison = made.make_comparison(task=made.nasty, names=("cross_entropy", made.nasty, "evomal"))
    ax = _all_figures(made.nasty, comparison)[place]
    text = svg_of(ax, "one", made.nasty)
    root = ElementTree.fromstring(text)
    assert "script" not in {each.tag.rpartition("}")[2] for each in root.iter()}
    assert "<script" not in text
    assert "\x1b" not in text
    shapes = [each for each in root.iter() if each.tag.rpartition("}")[2] in ("path", "use")]
    assert len(shapes) > 10
    titles = [each for each in root.iter() if each.tag.endswith("}title")]
    assert len(titles) >= 2
    assert "var(--ink, " in text
    assert all(each.get("id", "one-").startswith("one-") for each in root.iter())


def test_names_that_are_long_stay_within_the_figure(made):
    metric = "my_own_metric_which_has_" + "a_long_name_" * 5
    comparison = replace(made.make_comparison(), metric=metric)
    place = Place(
        **{"name": "candidate 0.1", "kind": "learned", "fitness": 0.5, "lr": 0.1, "lrs": (0.1,), "folds": 2},
        **{"race": 0.2, "retest": None, "sd": None},
    )
    for ax in (
        plot_rates(comparison),
        plot_promise([place], metric),
        plot_final_rates({"candidate 0.1": {0.1: [0.3, 0.2]}}, [place], metric),
        *_all_figures(metric, comparison),
    ):
        figure = ax.get_figure()
        figure.draw_without_rendering()
        label, whole = ax.yaxis.label.get_window_extent(), figure.bbox
        assert whole.y0 <= label.y0 < label.y1 <= whole.y1, ax.get_ylabel()
        assert whole.x0 <= label.x0, ax.get_ylabel()


def test_rates_of_finals_are_those_of_the_retest():
    shared = {"kind": "learned", "fitness": 0.5, "lr": 0.1, "lrs": (0.1,), "folds": 2, "race": 0.2, "sd": None}
    places = [Place(name=name, retest=retest, **shared) for name, retest in (("a", 0.2), ("b", None), ("c", 0.3))]
    metrics = {name: {0.1: [0.3, 0.2]} for name in "abc"}
    assert [bar.get_label() for bar in plot_final_rates(metrics, places).containers] == ["a", "c"]
    assert [bar.get_label() for bar in plot_final_rates(metrics, places[1:2]).containers] == ["b"]


def test_fitness_of_two_metrics_shares_no_axis(made, tmp_path):
    one, other = (made.write_run(tmp_path / name) for name in ("a", "b"))
    loss = json.loads((other / "loss.json").read_text())
    loss["learned_on"]["metric"] = "macro_f1"
    (other / "loss.json").write_text(json.dumps(loss))
    for what in ("search", "sizes"):
        message = f"^figure '{what}' shows one metric, but these have error_rate and macro_f1; draw each alone$"
        with pytest.raises(SettingError, match=message):
            draw(what, [one, other])
    assert draw("operators", [one, other]).get_ylabel() == "occurrences"


def test_no_display_is_asked_for_and_settings_stay():
    before = dict(matplotlib.rcParams)
    ax = plot_operators({"add": 1})
    assert isinstance(ax.get_figure(), Figure)
    assert dict(matplotlib.rcParams) == before


def test_a_new_figure_has_the_colours_of_pages_whatever_its_size():
    text = svg_of(plot_operators({"add": 1, "sub": 2}, new_axes(size=(9.0, 5.2))), "one", "operators")
    assert "#000000" not in text
    assert text.count("var(--ink, ") > 5


def test_axes_that_are_given_are_drawn_on():
    ax = Figure().subplots()
    assert plot_loss({"focal": HandcraftedLoss("focal")}, ax=ax) is ax
    assert HandcraftedLoss("mse").plot(ax=Figure().subplots()).get_xlabel().startswith("residual")


def test_a_criterion_draws_itself_beside_the_usual_one():
    ax = LEARNED.plot("gradient", classes=3)
    assert list(_lines(ax))[:2] == ["learned", "cross_entropy"]
    with pytest.raises(UnknownNameError, match=r"^unknown figure of a loss 'rates'"):
        LEARNED.plot("rates")


@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_a_loss_with_class_counts_is_drawn_for_their_classes(what, tmp_path):
    loss = HandcraftedLoss("logit_adjusted_cross_entropy", class_counts=[30, 10, 2])
    plain = HandcraftedLoss("cross_entropy")
    drawn = (plot_loss if what == "loss" else plot_gradient)({"rare": loss, "plain": plain}, 3)
    curves = [list(line.get_ydata()) for line in _lines(drawn).values()]
    loss.save(tmp_path / "rare.json")
    result = SimpleNamespace(loss=loss, learned=LEARNED)
    by_file = draw(what, [tmp_path / "rare.json", "cross_entropy"])
    for ax in (loss.plot(what), plot_result(result, what, None), by_file):
        assert [list(line.get_ydata()) for line in _lines(ax).values()] == curves
    assert (
        len(_lines(draw(what, [tmp_path / "rare.json", "class_weighted_cross_entropy"]))) == 2
    )  # known by name: 3 too


def test_figures_by_name(run_folder, comparison_folder, tmp_path):
    for what in FIGURES.keys() - {"finals"}:
        source = comparison_folder if what == "rates" else run_folder
        path = save_figure(draw(what, [source]), tmp_path / f"{what}.svg")
        assert path.read_text().count("<path") > 5
    both = draw("search", [comparison_folder])
    assert any("3 seeds" in label for label in _lines(both))


def test_what_cannot_be_drawn_is_refused(run_folder, tmp_path):
    with pytest.raises(UnknownNameError, match=r"^unknown figure 'los'; did you mean 'loss'\?"):
        draw("los", [run_folder])
    for what in ("rates", "finals"):
        with pytest.raises(RunFolderError, match=r"^'a' has no verdict of finals; give a run whose finals are held$"):
            draw(what, [run_folder])
    with pytest.raises(SettingError, match=r"^a figure shows losses of one task type"):
        draw("loss", ["mse", "focal"])
    with pytest.raises(SettingError, match=r"ends with none of .svg, .png, .pdf; give a name that does$"):
        save_figure(draw("loss", ["mse"]), tmp_path / "x.txt")
    with pytest.raises(SettingError, match=r"cannot be written \("):
        save_figure(draw("loss", ["mse"]), run_folder / "loss.json" / "x.svg")


def test_importing_evomal_does_not_import_matplotlib():
    import subprocess

    code = "import sys, evomal.losses, evomal.report.drawing; print('matplotlib' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_a_loss_that_changes_over_a_training_is_drawn_twice():
    loss = SymbolicLoss("add(mul(progress, square(sub(y, f))), abs(sub(y, f)))", task_type="regression")
    ax = plot_loss({"mine": loss})
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["mine, at the beginning", "mine, at the end"]
    first, last = (line.get_ydata() for line in ax.get_lines()[:2])
    assert max(abs(a - b) for a, b in zip(first, last, strict=True)) > 0.1
    assert loss.progress == 1
