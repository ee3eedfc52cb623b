"""Reproductions from end to end, on small data: what is written, going on, and what is refused."""

import csv
import json
import shutil
from collections import namedtuple

import pytest

import evomal
from evomal.comparison.running import ComparisonWatcher
from evomal.foundation.errors import DataError, RunFolderError, StorageError
from evomal.reproduction import ReproductionWatcher
from evomal.reproduction.tables import Entry, Table

from .conftest import SMALL

OPTIONS = {"methods": ("ml3", "evomal"), "seeds": (0, 1), "scale": 0.05}
LENET = "mnist/lenet5"


class Counted(ReproductionWatcher):
    """Counts what is run."""

    def __init__(self, stop_at=None):
        self.parts, self.searches, self.trainings, outer = [], 0, 0, self

        class Inner(ComparisonWatcher):
            def search(self, entry, summary):
                outer.searches += 1
                if outer.searches == stop_at:
                    raise KeyboardInterrupt

            def training(self, entry, run):
                outer.trainings += 1

        self.comparison = Inner()

    def part(self, part, number, of):
        self.parts.append((part.folder, number, of))


@pytest.fixture(scope="module")
def whole(images, tmp_path_factory):
    """A reproduction of one row by two methods, stopped once, and gone on with."""
    out, first, second = tmp_path_factory.mktemp("reproduction") / "r", Counted(stop_at=3), Counted()
    with pytest.raises(KeyboardInterrupt):
        evomal.reproduce("table2", LENET, out=out, data_dir=images, watcher=first, **OPTIONS, **SMALL)
    found = evomal.reproduce(["table2", "fig5"], LENET, out=out, data_dir=images, watcher=second, **OPTIONS, **SMALL)
    return out, found, second


def test_what_is_finished_is_not_done_again(whole, images):
    out, found, second = whole
    assert second.searches == 1  # of four; three were finished before the interruption
    assert second.trainings == 3 * 2
    assert second.parts == [("table2/mnist-lenet5", 1, 1)]
    third = Counted()
    again = evomal.reproduce("table2", LENET, out=out, data_dir=images, watcher=third, **OPTIONS, **SMALL)
    assert (third.searches, third.trainings) == (0, 0)
    assert again.tables["table2"].entries == found.tables["table2"].entries


def test_ours_stands_beside_the_papers(whole):
    out, found, _ = whole
    document = json.loads((out / "table2" / "table2.json").read_text())
    entries = {entry["method"]: entry for entry in document["entries"]}
    assert list(entries) == ["cross_entropy", "ml3", "evomal"]
    assert [entry["paper"] for entry in entries.values()] == [0.0203, 0.0135, 0.01]
    assert [entry["paper_sd"] for entry in entries.values()] == [0.0025, 0.0039, 0.001]
    table = json.loads((out / "table2" / "mnist-lenet5" / "table.json").read_text())
    for measured in table["contenders"]:
        assert entries[measured["name"]]["ours"] == measured["fixed"]["mean"]
        assert entries[measured["name"]]["sd"] == measured["fixed"]["sd"]
        assert entries[measured["name"]]["seeds"] == 2
    rows = list(csv.DictReader((out / "table2" / "table2.csv").open()))
    assert [float(row["ours"]) for row in rows] == [entry["ours"] for entry in entries.values()]
    assert str(found.tables["table2"]) == (out / "table2" / "table2.md").read_text().rstrip("\n")


def test_a_scale_is_said_everywhere(whole):
    out, found, _ = whole
    for text in (str(found), *((out / "table2" / f"table2.{end}").read_text() for end in ("md", "json"))):
        assert "scale 0.05: generations, meta steps, partial and full trainings have 0.05 of" in text
    assert "steps is 6, not the paper's" in str(found)
    assert "scale 0.05" in (out / "fig5" / "notes.json").read_text()
    searched = json.loads((out / "table2" / "mnist-lenet5" / "table.json").read_text())["settings"]["methods"]
    assert searched["evomal"]["genetic"]["generations"] == 2  # the scale's, as nothing else was said of it


def test_figures_are_written_in_two_forms(whole, images):
    out, found, _ = whole
    assert [path.name for path in found.figures["fig5"]] == ["mnist-lenet5.svg", "mnist-lenet5.png", "notes.json"]
    drawn = evomal.reproduce(
        ["fig6", "fig7", "fig8"], LENET, out=out, data_dir=images, watcher=(third := Counted()), **OPTIONS, **SMALL
    )
    assert (third.searches, third.trainings) == (0, 0)  # they rest on Table 2's
    every = [path for paths in drawn.figures.values() for path in paths]
    assert all(path.read_bytes()[1:4] == b"PNG" for path in every if path.suffix == ".png")
    assert all("<svg" in path.read_text() for path in every if path.suffix == ".svg")
    assert {path.stem for path in drawn.figures["fig7"]} == {"printed", "mnist-lenet5", "notes"}


def test_another_scale_needs_another_folder(whole, images):
    out, _, _ = whole
    with pytest.raises(
        RunFolderError, match=r"holds a reproduction with scale 0.05, settings .*; give the same ones, or"
    ):
        evomal.reproduce("table2", LENET, out=out, data_dir=images, **OPTIONS | {"scale": 0.1}, **SMALL)


def test_losses_are_transferred_and_not_learned_anew(clouds, tmp_path):
    row, out, watcher = "cifar100/alexnet", tmp_path / "r", Counted()
    options = OPTIONS | {"scale": 1.0, "lr_grid": (0.1,)}
    found = evomal.reproduce(
        "table3", row, out=out, data_dir=clouds, watcher=watcher, generations=1, **options, **SMALL
    )
    assert watcher.searches == 4
    source = json.loads((out / "table2" / "cifar10-alexnet" / "table.json").read_text())["contenders"]
    target = json.loads((out / "table3" / "cifar100-alexnet" / "table.json").read_text())["contenders"]
    for learned, used, entry in zip(source[1:], target[1:], found.tables["table3"].entries[1:], strict=True):
        best = min(learned["searches"], key=lambda search: search["fitness"])
        assert used["name"].endswith(best["loss_file"])
        assert used["searches"] == []
        assert entry.ours == used["fixed"]["mean"]
        assert (entry.best, entry.best_lr) == (used["best"]["mean"], used["best"]["lr"])
    assert [entry.paper for entry in found.tables["table3"].entries] == [0.5262, 0.7735, 0.5324]


def test_landscapes_and_rates(clouds, tmp_path):
    out = tmp_path / "r"
    options = OPTIONS | {"scale": 1.0, "methods": ("evomal",), "lr_grid": (0.2,)}
    found = evomal.reproduce(
        ["fig9", "fig10", "fig11"], LENET, out=out, data_dir=clouds, generations=1, **options, **SMALL
    )
    numbers = json.loads((out / "fig10" / "sharpness.json").read_text())["mnist/lenet5"]
    assert list(numbers) == ["cross_entropy", "evomal"]
    assert all(set(each) == {"centre", "rise", "most", "curvature"} for each in numbers.values())
    assert {path.name for path in found.figures["fig10"]} >= {"mnist-lenet5.svg", "mnist-lenet5.png"}
    table = json.loads((out / "fig11" / "mnist-lenet5" / "lr-0.2" / "table.json").read_text())
    assert table["lrs"] == [0.2]  # searched for at this rate, and tested there
    assert table["settings"]["methods"]["evomal"]["base"]["lr"] == 0.2


def test_printed_losses_are_trained_with(clouds, tmp_path):
    options = {"seeds": (0, 1), "out": tmp_path / "r", "data_dir": clouds}
    table = evomal.reproduce("table5", **options, **SMALL).tables["table5"]
    names = [entry.method for entry in table.entries]
    assert names == ["cross_entropy", *(f"evomal_{letter}" for letter in "abcdefg"), "h", "i"]
    assert "printed with y + f" in table.entries[5].note
    assert table.entries[-1].note == "not trained: empty in the print"


def test_data_that_are_not_there_are_named_before_anything_is_run(tmp_path):
    with pytest.raises(DataError) as failed:
        evomal.reproduce("table2", LENET, out=tmp_path / "r", data_dir=tmp_path / "d", **OPTIONS, **SMALL)
    told = str(failed.value)
    assert "put train-images-idx3-ubyte.gz, train-labels-idx1-ubyte.gz, " in told
    assert str(tmp_path / "d" / "mnist") in told
    assert "\n" not in told
    assert not (tmp_path / "r" / "table2").exists()


def test_a_full_disk_is_noticed_before_anything_is_run(images, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: namedtuple("Usage", "free")(1_000_000))
    with pytest.raises(StorageError, match=r"needs \d+ MB for 4 searches, and has 1 MB; make room there, or give"):
        evomal.reproduce("table2", LENET, out=tmp_path / "r", data_dir=images, **OPTIONS, **SMALL)


def test_what_diverged_or_was_not_found_is_no_number():
    table = Table("table2", (Entry.beside("table2", LENET, "ml3", float("nan"), note="2 of 2 trainings diverged"),))
    assert "| mnist/lenet5 | ML³ | – | 0.0135 ± 0.0039 | 2 of 2 trainings diverged |" in str(table)
    assert json.dumps(table.as_dict(), allow_nan=False)
