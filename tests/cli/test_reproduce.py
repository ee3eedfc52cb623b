"""`evomal reproduce`: its plan and price, and what it says to bad input."""

import json

import pytest

from evomal.reproduction import prices
from evomal.reproduction.step_times import StepTimes
from evomal.tasks.datasets import files

ROW = ["--row", "mnist/lenet5"]


@pytest.fixture(autouse=True)
def quick(monkeypatch, tmp_path):
    """Steps of a hundredth of a second, and a machine without data sets and without a connection."""

    def no_connection(self, folder, home=None):
        raise self._unavailable(next(iter(self.files)), "cannot be downloaded (ConnectionError)", folder)

    def times(pairs, device, seconds):
        return {model: StepTimes(model, device, 128, 128, 0.01, 0.02, 0.01, 0.01, 1) for _, model, _ in pairs}

    monkeypatch.setattr(prices, "time_networks", times)
    monkeypatch.delenv("EVOMAL_DATA", raising=False)
    monkeypatch.setattr(files, "cache", lambda: tmp_path / "cache")
    monkeypatch.setattr(files.Published, "download", no_connection)


def test_a_dry_run_prices_the_table_and_writes_nothing(run, tmp_path):
    done = run("reproduce", "table2", *ROW, "--scale", "0.1", "--dry-run")
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    assert lines[1].split()[:5] == ["table2/mnist-lenet5", "20", "1,880", "25", "150,750"]
    assert "20 searches of at most 1,880 evaluations in all, 25 full trainings; at most 150,750 base steps" in lines
    assert "not here yet, to be downloaded first: mnist" in lines
    assert lines[-1].startswith("scale 0.1: ")
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_as_json(run):
    document = json.loads(run("reproduce", "table2", "table4", "--dry-run", "--json", "--workers", 1).out)
    assert len(document["parts"]) == 11 + 9
    assert document["least_hours"] < document["most_hours"]
    assert document["least_hours"] == pytest.approx(sum(part["least_hours"] for part in document["parts"]))
    assert document["changes"] == []


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (["tabel2"], "unknown table or figure 'tabel2'; did you mean 'table2'?"),
        (["table2", "--row", "mnist/lenet"], "unknown row of table2 'mnist/lenet'; did you mean 'mnist/lenet5'?"),
        (["table2", "--scale", "0"], "setting 'scale': 0.0 is no share of the paper's budgets; give --scale 0.05"),
        (["table2", "--scale", "1.5"], "setting 'scale': 1.5 is no share of the paper's budgets"),
        (["table2", "--seeds", "1"], "give --seeds 0 1 2 3 4"),
        (["fig9", "--methods", "ml3", *ROW], "figure 'fig9' is of EvoMAL's searches; add evomal to --methods"),
        (["table2", "--lr-grid", "0", *ROW], "setting 'lr_grid': 0.0 is no learning rate; give numbers above 0"),
        (["table2", "--population", "1", *ROW], "setting 'population_size': "),
        (["table4", "--timed-batch", "1"], "'--timed-batch'"),
        (
            ["table2", "--timed-batch", "9"],
            "setting 'timed_batch': table2: no steps are timed, as for table4; leave",
        ),
        (["table5", "--methods", "ml3"], "setting 'methods': table5: always the same methods; leave it out"),
        (
            ["table4", "--seeds", "3", "4"],
            "setting 'seeds': table4: steps are timed, and nothing is trained; ",
        ),
        (
            ["table4", "--lr-grid", "3"],
            "setting 'lr_grid': table4: steps are timed, and nothing is trained; ",
        ),
        (["fig11", "--lr", "0.5", *ROW], "setting 'lr': fig11: searches are at each rate of --lr-grid; leave it out"),
        ([], "missing argument 'what'"),
    ],
)
def test_bad_usage_is_one_line(run, options, error):
    done = run("reproduce", *options)
    assert done.code == 2
    assert error in done.err
    assert done.err.count("\n") == 1


def test_without_data_the_files_are_named(run, tmp_path):
    done = run("reproduce", "table2", *ROW, "--data-dir", "d")
    assert done.code == 2
    assert "data set 'mnist': train-images-idx3-ubyte.gz cannot be downloaded (ConnectionError); put train-" in done.err
    assert done.err.count("\n") == 1
