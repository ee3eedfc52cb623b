"""The report: its parts, what unfinished and damaged runs get, and that nothing in it comes alive."""

import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from evomal.analysis import audit, class_curve
from evomal.analysis.gradients import classes_of, counts_of
from evomal.analysis.runs import read_search
from evomal.comparison import write_tables
from evomal.expressions import Simplified
from evomal.foundation.errors import RunFolderError, SettingError
from evomal.losses import HandcraftedLoss, load_loss
from evomal.report.drawing import draw
from evomal.report.page import make_report, write_report
from evomal.report.page.blocks import Drawer
from evomal.report.page.comparing import searches_section
from evomal.report.page.searching import action_section, rivals
from evomal.search.verdict import Against, Place, Verdict


@pytest.fixture(autouse=True)
def _no_sympy(monkeypatch):
    """SymPy takes seconds, and its own tests."""
    short = Simplified("short", "y", "ε omitted")
    monkeypatch.setattr("evomal.report.described.simplify", lambda *given: short)


class Page(HTMLParser):
    """What a browser would see of a page."""

    VOID = ("meta", "br", "hr", "img", "link")

    def __init__(self, text):
        super().__init__()
        self.tags, self.open, self.attributes, self.shown, self.figures = [], [], [], "", []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]
        if tag == "figure":
            self.figures.append(0)
        if self.figures and tag in ("path", "use") and "figure" in self.open:
            self.figures[-1] += 1
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] not in (["script"], ["style"]):
            self.shown += data


def _checked(text):
    """A page that is whole: tags in pairs, one script that is ours, nothing from elsewhere, no identifier twice."""
    page = Page(text)
    assert not page.open
    assert page.tags.count("script") == 1
    assert not {"iframe", "object", "embed", "link", "img", "base", "form"} & set(page.tags)
    for tag, name, value in page.attributes:
        assert not name.startswith("on"), (tag, name)
        if name in ("src", "href", "xlink:href"):
            assert value.startswith("#"), (tag, name, value)
    assert not re.search(r"url\((?!#)", text)
    identifiers = [value for _, name, value in page.attributes if name == "id"]
    assert len(identifiers) == len(set(identifiers))
    targets = {value[1:] for _, name, value in page.attributes if name in ("href", "xlink:href")}
    assert targets <= set(identifiers)
    assert "default-src 'none'" in text
    assert all(count > 10 for count in page.figures)
    return page


def test_a_search(run_folder):
    text = make_report([run_folder])
    page = _checked(text)
    assert len(page.figures) == 8
    for part in (
        *("evomal on digits/mlp", "error_rate on validation data after partial training is 0.25"),
        *("where cross_entropy reached 0.4", "That is fitness, not a test", "abs(1.1·log("),
        *("It is proper", "4 candidates in 2 generations: trained 2, rejected 1, elite 1; 50% of them"),
        *("It took 1 min 15 s", "evomal learn --out digits/mlp", "settings: genetic: generations", "crossover"),
    ):
        assert part in page.shown, part
    assert "not finished" not in page.shown
    # Values show under a pointer.
    assert "<title>evomal, generation 2: 0.25</title>" in text
    assert "<title>generation 1: 1 rejected</title>" in text
    assert make_report([run_folder]) == text


def test_a_comparison(comparison_folder):
    page = _checked(make_report([comparison_folder]))
    assert len(page.figures) == 7
    for part in (
        *("evomal has the lowest test error_rate at its own best rate", "Significantly better than cross_entropy"),
        *("test error_rate at lr 0.1 (mean ± sd)", "test error_rate at best lr (mean ± sd)", "gain left [95 %]"),
        *("a paired t over 3 seeds detects only large effects", "mean over 3 searches", "evomal compare"),
    ):
        assert part in page.shown, part


def test_several_at_once(made, run_folder, comparison_folder, tmp_path):
    for folder in (run_folder, made.write_run(tmp_path / "b", with_loss=False)):
        (folder / "loss.json").unlink(missing_ok=True)  # the page is as whole, and quicker made
    page = _checked(make_report([run_folder, tmp_path / "b", comparison_folder]))
    for part in ("The searches together", "Verdict: a", "Verdict: b", "Meta-testing", "mean ± sd over 2 seeds"):
        assert part in page.shown, part


def test_searches_of_two_metrics_have_a_curve_each(made, run_folder, tmp_path):
    other = made.write_run(tmp_path / "b", name="iris/linear")
    loss = json.loads((other / "loss.json").read_text())
    loss["learned_on"]["metric"] = "macro_f1"
    (other / "loss.json").write_text(json.dumps(loss))
    section = searches_section({"one": [read_search(run_folder)], "other": [read_search(other)]}, Drawer())
    curves = [block.svg for block in section.blocks if "Best fitness so far" in block.caption]
    assert [re.findall("best ([a-z_0-9]+) so far", curve) for curve in curves] == [["error_rate"], ["macro_f1"]]


def test_a_page_is_not_named_as_something_else(run_folder, tmp_path):
    message = r"^'x\.pdf' ends with \.pdf, but a report is an HTML page; give a name that ends with \.html$"
    with pytest.raises(SettingError, match=message):
        write_report([run_folder], "x.pdf")


def test_names_from_files_show_as_text_and_do_nothing(made, tmp_path):
    nasty = made.nasty
    lines = [*made.lines, made.line(1, 2, nasty, origin=nasty, parents=[0])]
    folder = made.write_run(tmp_path / "a", name=nasty, lines=lines)
    comparison = tmp_path / "c"
    comparison.mkdir()
    write_tables(made.make_comparison(task=nasty, names=("cross_entropy", nasty, "evomal")), comparison)
    text = make_report([folder, comparison])
    page = _checked(text)
    assert "<script>alert" not in text
    assert "<script>alert(1)</script> $x_{$" in page.shown
    assert "\x1b" not in text


def test_runs_that_are_not_finished_say_so_each(made, tmp_path):
    write = made.write_run
    rejected = [made.line(0, 0, "rejected"), made.line(0, 1, "failed", reason="it raised")]
    write(tmp_path / "begun", ended=None, lines=[], with_loss=False)
    (tmp_path / "begun" / "journal.jsonl").unlink()
    write(tmp_path / "going", ended=None, lines=rejected, with_loss=False)
    write(tmp_path / "timed", ended="time", lines=rejected, with_loss=False)
    page = _checked(make_report(sorted(tmp_path.iterdir())))
    for part in (
        "There is no loss to speak of",
        "there is no loss yet: no candidate was trained before the run ended, or it has just begun",
        "the search is not finished: 2 candidates in 1 of 2 generations so far",
        "the search ended before its last generation: its time was used up",
        "The journal holds no candidate",
    ):
        assert part in page.shown, part
    assert len(page.figures) == 3


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("config.yaml", "format: evomal-run\nversion: 7\nsettings: {}\n", "comes from the future (version 7"),
        ("config.yaml", "settings:\n  seed: 3\n", "is not of format evomal-run"),
        ("config.yaml", "a: !!python/object:os.system {}\n", "config.yaml"),
        ("journal.jsonl", "{}\n", "is damaged in line 1"),
        ("journal.jsonl", "\xff", "holds no readable journal.jsonl"),
        ("loss.json", "{", "loss file"),
    ],
)
def test_what_is_damaged_or_older_is_told_and_the_rest_read(run_folder, name, content, told):
    (run_folder / name).write_bytes(content.encode("latin-1"))
    record = read_search(run_folder)
    assert [told in problem for problem in record.problems] == [True]
    assert (record.loss is None) == (name == "loss.json")
    assert bool(record.records) == (name != "journal.jsonl")
    assert bool(record.settings) == (name != "config.yaml" or "seed" in content)


def test_a_damaged_run_still_has_a_report(run_folder):
    (run_folder / "journal.jsonl").write_text("{}\n")
    (run_folder / "config.yaml").unlink()
    page = _checked(make_report([run_folder]))
    assert "is damaged in line 1; delete that line to read the others" in page.shown
    assert "holds no run (config.yaml is missing)" in page.shown
    assert "abs(1.1·log(" in page.shown


def test_a_comparison_that_is_not_finished_says_so(comparison_folder):
    (comparison_folder / "table.json").unlink()
    document = "format: evomal-comparison\ntask: {}\ntraining: {}\nmethods: {}\n"
    (comparison_folder / "comparison.yaml").write_text(document)
    page = _checked(make_report([comparison_folder]))
    assert "it is not finished: 0 trainings so far; run the same evomal compare again" in page.shown
    assert "The searches" in page.shown
    (comparison_folder / "table.json").write_text("{}")
    assert "is no table of a comparison" in _checked(make_report([comparison_folder])).shown


def test_what_holds_no_run_and_what_cannot_be_written(run_folder, tmp_path):
    with pytest.raises(RunFolderError, match=r"holds no run; give a run folder, or that of a comparison$"):
        write_report([tmp_path], tmp_path / "x.html")
    (run_folder / "loss.json").unlink()
    (run_folder / "journal.jsonl").unlink()
    with pytest.raises(SettingError, match=r"cannot be written \(.*\); give another `out`$"):
        write_report([run_folder], run_folder / "config.yaml" / "x.html")


def _verdict(name):
    def place(name, kind, fitness, race, retest):
        spread = {"retest": retest, "sd": None if retest is None else 0.01}
        return Place(name=name, kind=kind, fitness=fitness, lr=0.1, lrs=(0.1, 0.3), folds=5, race=race, **spread)

    return Verdict(
        kind="handcrafted", name="focal", loss_kind="handcrafted", lr=0.1, metric="error_rate", value=0.1,
        against=(
            Against(name=name, kind="learned", lr=0.1, value=0.2, gain=0.1, low=0.05, high=0.15, p=0.01),
            Against(name="cross_entropy", kind="task", lr=0.3, value=0.3, gain=0.2, low=0.1, high=0.3, p=0.001),
        ),
        splits=5, chance=0.9, steps=40, spent=900, budget=1000, rank_correlation=0.5,
        places=(
            place("focal", "handcrafted", None, 0.1, 0.1),
            place(name, "learned", 0.2, 0.22, 0.2),
            place("cross_entropy", "task", None, 0.3, 0.3),
            place("candidate 1.0", "learned", 0.1, 0.5, None),
            place("candidate 1.1", "learned", 0.3, 0.4, None),
        ),
        notes=("focal was best at 0.1, at the edge of its rates",),
    )  # fmt: skip


def _finals(folder, name, verdict=True):
    """Lines of the journal of finals, and the verdict in the loss's file."""
    lines = [
        {"loss": loss, "lr": lr, "split": split, "folds": 5, "steps": 40, "value": lr + split / 100, "reason": None}
        for loss in ("focal 0123456789abcdef", name)
        for lr in (0.1, 0.3)
        for split in (0, 1)
    ]
    (folder / "finals.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in lines))
    loss = load_loss(folder / "loss.json")
    loss.info |= {"verdict": _verdict(name).entries()} if verdict else {}
    loss.save(folder / "learned.json")
    HandcraftedLoss("focal").save(folder / "loss.json")


def test_finals_come_first(made, run_folder):
    name = f"candidate {made.nasty}"
    _finals(run_folder, name)
    text = make_report([run_folder])
    page = _checked(text)
    assert len(page.figures) == 10
    for part in (
        *("use focal at rate 0.1: error_rate 0.1 over 5 fresh splits", "focal was best at 0.1, at the edge"),
        *("5 losses, 40 base steps a training", "900 of 1000 base steps spent", "rank correlation ρ = 0.50"),
        *("0.05 to 0.15", "<script>alert(1)</script>", "abs(1.1·log("),
    ):
        assert part in page.shown, part
    assert "That is fitness, not a test" not in page.shown
    assert "<title>focal at 0.1: 0.1050 ± 0.0071</title>" in text
    assert draw("finals", [run_folder]).get_xlabel() == "fitness: error_rate after partial training"
    assert len(draw("rates", [run_folder]).containers) == 2
    assert text.index("fresh splits") < text.index("What was found, without its coefficients")


def test_finals_that_are_not_finished_are_told(run_folder):
    _finals(run_folder, "candidate 0.1", verdict=False)
    record = read_search(run_folder)
    assert "its finals are not finished: 8 trainings so far" in record.problems
    assert record.loss.family == "symbolic"


def test_a_verdict_of_another_version_is_told_in_its_own_words(run_folder):
    _finals(run_folder, "candidate 0.1", verdict=False)
    loss = load_loss(run_folder / "learned.json")
    loss.info["verdict"] = {"message": "use focal", "kind": "handcrafted"}
    loss.save(run_folder / "learned.json")
    told = "the verdict of its finals is of another version, and says: use focal"
    assert told in read_search(run_folder).problems


def _with_counts(folder, counts):
    loss = json.loads((folder / "loss.json").read_text())
    loss["learned_on"]["class_counts"] = counts
    (folder / "loss.json").write_text(json.dumps(loss))
    return load_loss(folder)


def _captions(drawn, classes):
    """What stands under the figures of a loss, and the lines above them."""
    told = []
    found = audit(drawn.losses["learned"], classes)
    section = action_section(drawn, found, lambda axes, caption: told.append(caption), classes)
    return told, section.blocks[0].items


def test_losses_that_look_at_class_counts_are_drawn_with_those_of_the_task(run_folder):
    loss = _with_counts(run_folder, [60, 30, 10])
    assert classes_of(loss) == 3
    drawn = rivals(loss, 3, more=["logit_adjusted_cross_entropy"])
    assert (list(drawn.losses)[-1], drawn.left_out) == ("logit_adjusted_cross_entropy", [])
    curve = class_curve(drawn.losses["logit_adjusted_cross_entropy"], 3)
    p = np.array(curve.x)
    np.testing.assert_allclose(curve.loss, -np.log(0.6 * p / (0.6 * p + (0.3 + 0.1) * (1 - p) / 2)))
    captions, lines = _captions(drawn, 3)
    assert "for 3 classes of 60, 30, 10 training labels, of which the first is the true one" in captions[0]
    assert not any("Not drawn" in line for line in lines)


@pytest.mark.parametrize("counts", [None, "60", [60, -1, 3], [60], {"a": 1}, [0.5, 0.5], [1] * 1001])
def test_odd_counts_in_a_file_are_none(run_folder, counts):
    loss = _with_counts(run_folder, counts)
    assert (counts_of(loss), classes_of(loss)) == (None, 10)


def test_without_the_counts_of_the_task_such_losses_are_left_out_with_a_word(run_folder):
    drawn = rivals(_with_counts(run_folder, [60, 30]), 3, more=["logit_adjusted_cross_entropy"])
    assert (list(drawn.losses), drawn.left_out) == (
        ["learned", "cross_entropy", "focal"],
        ["logit_adjusted_cross_entropy"],
    )
    captions, lines = _captions(drawn, 3)
    assert lines[-1] == "Not drawn: logit_adjusted_cross_entropy, as it is not known how often each class occurs."
    assert "for 3 classes; all others share the rest" in captions[0]


def test_a_figure_by_name_says_where_class_counts_are_none_of_a_task(run_folder):
    def legend(*names):
        return [text.get_text() for text in draw("loss", names).get_legend().get_texts()]

    name = "logit_adjusted_cross_entropy"
    assert legend(run_folder, name)[1] == f"{name} (equal classes)"
    _with_counts(run_folder, [60, 30, 10])
    assert legend(run_folder, name)[1] == name
