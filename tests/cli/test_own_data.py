"""`--data FILE`: the whole journey with a user's own data, and options that do not go together."""

import json
from pathlib import Path

import numpy as np
import pytest
import yaml

from evomal.cli.source import TaskSource

TINY = [
    *("--model", "linear", "--preset", "quick", "--generations", 1, "--population", 3, "--meta-steps", 1),
    *("--partial-steps", 3, "--rejection-steps", 10, "--rejection-lr", 0.1, "--rejection-threshold", 0.05, "--quiet"),
]


@pytest.fixture
def table(tmp_path):
    x = np.random.default_rng(0).normal(size=(60, 3))
    names = np.where(x[:, 0] > 0, "rich", "poor")
    lines = [",".join((*(f"{v:.4f}" for v in row), name)) for row, name in zip(x, names, strict=True)]
    path = tmp_path / "bank.csv"
    path.write_text("\n".join(["age,debt,children,kind", *lines]))
    return path


def test_a_table_is_learned_on_and_the_run_knows_it(run, table, tmp_path):
    ended = run("learn", "--data", "bank.csv", "--target", "kind", *TINY)
    assert ended.code == 0, ended.err
    folder = tmp_path / "runs" / "bank-linear-seed0"
    loss = json.loads((folder / "loss.json").read_text())
    assert loss["task_type"] == "classification"
    task = yaml.safe_load((folder / "config.yaml").read_text())["task"]
    assert (task["data"], task["target"], task["dataset"]) == (str(table), "kind", None)
    assert run("learn", "--resume", folder, "--quiet").code == 0
    moved = table.rename(tmp_path / "elsewhere.csv")
    changed = run("learn", "--resume", folder, "--data", moved, "--generations", 2, "--override", "--quiet")
    assert changed.code == 2  # another name is another data set
    assert "\n" not in changed.err.strip()


def test_a_table_has_several_targets(run, table, tmp_path):
    train = ["train", "--data", "bank.csv", *TINY[:2], "--loss", "mse", "--steps", 30, "--quiet", "--json"]
    (tmp_path / "bank.csv").write_text(table.read_text().replace("poor", "0.5").replace("rich", "1.5"))
    ended = run(*train, "--target", "kind", "debt", "--out", "r.json")
    assert ended.code == 0, ended.err
    shown = json.loads(ended.out)
    assert shown["task"]["target"] == ["kind", "debt"]
    again = json.loads(run(*train, "--target", "kind", "--target", "debt").out)
    assert again["results"][0]["runs"][0]["test"] == shown["results"][0]["runs"][0]["test"]
    other = run("train", "--resume", "r.json", "--target", "debt", "--quiet")
    assert "target was ['kind', 'debt'], now 'debt'" in other.err
    assert run("train", "--resume", "r.json", "--target", "kind", "debt", "--quiet").code == 0


def test_arrays_are_trained_on(run, tmp_path):
    x = np.random.default_rng(0).normal(size=(60, 3))
    np.savez(tmp_path / "mine.npz", x=x, y=(x[:, 0] > 0).astype(int))
    ended = run("train", "--data", "mine.npz", *TINY[:2], "--loss", "cross_entropy", "--steps", 30, "--json")
    assert ended.code == 0, ended.err
    assert Path(json.loads(ended.out)["task"]["data"]).name == "mine.npz"


def test_a_search_says_how_a_file_was_understood(run, table):
    ended = run("learn", "--data", "bank.csv", "--target", "kind", *TINY[:-1])
    assert ended.out.splitlines()[0] == (
        "bank/linear: classification, 2 classes; 43 training, 5 validation, 12 test instances; inputs [3]; metric "
        "error_rate, task loss cross_entropy"
    )


def test_slugs_name_the_file():
    assert TaskSource(model="mlp", data="some/where/mine.npz", width=0.5).slug == "mine-mlp-width-0.5"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--data", "bank.csv"],
            "data 'bank.csv' is a table; name the column of its target (age, debt, children, kind)",
        ),
        (
            ["--data", "bank.csv", "--target", "kinds"],
            "unknown target column 'kinds'; did you mean 'kind'? (known: age, children, debt, kind)",
        ),
        (["--data", "no.npz"], "no.npz cannot be read (FileNotFoundError: [Errno 2] No such file or directory: "
         "'no.npz'); check the path and the file"),
        (["--data", "bank.csv", "--dataset", "iris"],
         "--data bank.csv and --dataset iris are two data sets; leave one out"),
        (
            ["--data", "mine.npz", "--data-dir", "d"],
            "--data-dir is where files of a data set by name lie, and --data mine.npz is your own; leave out "
            "--data-dir",
        ),
        (
            ["--dataset", "iris", "--target", "kind"],
            "--target names a column of a table; give the table as --data FILE.csv, or leave it out",
        ),
        (["--dataset", "iris", "--augmentation", "crops"],
         "unknown augmentation 'crops'; did you mean 'crop'? (known: crop, crop-flip, flip, none)"),
        (["--dataset", "iris", "--width", "0.5"],
         "model 'linear' has no hidden units, so no width of 0.5; leave the width out"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line(run, table, options, message):
    ended = run("learn", *options, *TINY)
    assert ended == (2, "", f"evomal: error: {message}\n")


def test_text_in_a_column_of_numbers_is_one_line(run, table):
    table.write_text(table.read_text().replace("age,debt", "kind,debt", 1).replace("kind\n", "age\n", 1))
    ended = run("learn", "--data", "bank.csv", "--target", "kind", *TINY)
    assert ended.code == 2
    assert ended.err.startswith(
        "evomal: error: bank.csv, line 2: column 'age' holds 'rich', which is no finite number;"
    )
    assert ended.err.count("\n") == 1
