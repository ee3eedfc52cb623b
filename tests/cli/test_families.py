"""`show`, `train` and `tune` on losses that are no formulas: their files, and the runs that learned them."""

import json

import pytest

import evomal
from evomal.cli import main
from evomal.foundation.seeds import generator
from evomal.store import read_journal
from evomal.tasks import named_task

IRIS = ["--dataset", "iris", "--model", "linear"]
LEARN = {
    "taylor": ["--method", "taylorglo", "--generations", "2", "--population", "3"],
    "neural": ["--method", "ml3", "--hidden", "4", "--neural-steps", "2"],
}
THETA = [0.25, 0.5, 0, -1, 0, 2, 0, 0.75]

every = pytest.mark.parametrize("family", list(LEARN))


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A run folder of each family; tests read them and leave them as they are."""
    folder = tmp_path_factory.mktemp("families")
    for family, options in LEARN.items():
        out = ["--preset", "paper-mnist", "--partial-steps", "5", "--out", str(folder / family), "--quiet"]
        assert main(["learn", *IRIS, *options, *out]) == 0
    return folder


@pytest.fixture
def files(tmp_path):
    """A loss file of each family, scaled, with nothing said of its past."""
    evomal.TaylorLoss(THETA, task_type="classification", scale=1e-5).save(tmp_path / "taylor.json")
    evomal.NeuralLoss(task_type="classification", hidden=3, scale=2).save(tmp_path / "neural.json")
    return tmp_path


@every
def test_show_a_run_or_its_file(run, runs, family):
    loss = evomal.load_loss(runs / family)
    ended = run("show", runs / family, "--json")
    told = json.loads(ended.out)
    assert (ended.code, ended.err, told["family"], told["info"]) == (0, "", family, loss.info)
    assert (told["formula"], told["weights"]) == (loss.formula(digits=4), loss.coefficients)
    text = run("show", runs / family / "loss.json").out
    assert text == run("show", runs / family).out
    shown = dict(line.split("  ", 1) for line in text.splitlines() if "  " in line)
    assert shown["formula"].strip() == loss.formula(digits=4)
    assert shown["method"].strip() == {"taylor": "taylorglo", "neural": "ml3"}[family]
    assert shown["learned on"].strip().startswith("task iris/linear, dataset iris, ")
    assert ("θ7" in text, "LaTeX" in text) == (family == "taylor", family == "taylor")


def test_show_a_taylor_file(run, files):
    told = json.loads(run("show", "taylor.json", "--json").out)
    assert told["formula"] == "1e-05·(0.5·(f - 0.5)² - 2·(y - 0.25)·(f - 0.5) - 0.375·(y - 0.25)²·(f - 0.5))"
    assert told["latex"].startswith(r"1 \cdot 10^{-5} \left(0.5\,\left(f_\theta(x) - 0.5\right)^2 - 2\,")
    assert [row["weight"] for row in told["parameters"]] == told["weights"] == THETA
    assert (told["scale"], told["info"]) == (1e-5, {})
    lines = run("show", "taylor.json").out.splitlines()
    assert lines[0].split("  ", 1)[1].strip() == told["formula"]
    assert lines[-8].split() == ["θ0", "0.25", "centre", "of", "y"]


def test_show_a_neural_file(run, files):
    told = json.loads(run("show", "neural.json", "--json").out)
    assert (told["sizes"], told["scale"], len(told["weights"])) == ([2, 3, 3, 1], 2.0, 18)
    assert run("show", "neural.json").out.splitlines() == [
        "formula    2·(softplus network 2–3–3–1 of y and f (18 weights))",
        "task type  classification",
    ]


@every
def test_show_the_best_of_a_run(run, runs, family):
    records = read_journal(runs / family)
    rows = json.loads(run("show", runs / family, "--top", 50, "--json").out)["formulas"]
    assert len(rows) == len({tuple(record["weights"]) for record in records})
    assert len(rows) > 1 or family == "neural"
    assert [row["fitness"] for row in rows] == sorted(record["fitness"] for record in records)
    best = evomal.load_loss(runs / family)
    assert (rows[0]["family"], rows[0]["expression"], rows[0]["weights"]) == (family, None, best.coefficients)
    assert rows[0]["formula"] == best.formula(digits=4)
    head, first, *others = run("show", runs / family, "--top", 2).out.splitlines()
    assert head.split() == ["fitness", "size", "outcome", "formula"]
    assert first.endswith(best.formula(digits=4))
    assert len(others) == min(1, len(rows) - 1)


def test_show_the_best_of_a_file_is_refused(run, files):
    ended = run("show", "taylor.json", "--top", 2)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err == (
        "evomal: error: --top needs a run folder, and 'taylor.json' is none; leave out --top to show a loss file\n"
    )


def test_train_with_runs_and_files_of_every_family(run, runs, files):
    names = [str(runs / "taylor"), str(runs / "neural" / "loss.json"), "taylor.json", "neural.json", "cross_entropy"]
    ended = run("train", "--loss", *names, *IRIS, "--steps", 3, "--json", "--out", "r.json")
    document = json.loads(ended.out)
    assert (ended.code, document) == (0, json.loads((files / "r.json").read_text()))
    results = document["results"]
    assert [result["loss"] for result in results] == names
    formulas = [evomal.load_loss(name).formula(digits=4) for name in names[:4]]
    assert [result["formula"] for result in results] == [*formulas, None]
    assert all(0 <= result["mean"] <= 1 for result in results)
    remarks = [note for result in results[:4] for note in result["notes"] if note.startswith("its first gradients")]
    assert len(remarks) == 4
    assert ended.err.count("seed 0") == 5


@every
def test_train_prints_a_row(run, runs, family):
    ended = run("train", "--loss", runs / family, *IRIS, "--steps", 3, "--quiet")
    assert (ended.code, ended.err) == (0, "")
    head, row, *_ = ended.out.splitlines()
    assert "test error_rate" in head
    assert row.startswith(str(runs / family))


@every
def test_tune_goes_on_from_the_file(run, files, family):
    before = evomal.load_loss(f"{family}.json")
    command = ["tune", "--loss", f"{family}.json", *IRIS, "--meta-lr", 0.1]
    ended = run(*command, "--meta-steps", 0, "--out", "same.json")
    formula = before.formula(digits=4)
    assert f"before      {formula}\nafter       {formula}\n" in ended.out
    assert evomal.load_loss("same.json").coefficients == before.coefficients
    told = json.loads(run(*command, "--meta-steps", 2, "--out", "new.json", "--json").out)
    after = evomal.load_loss("new.json")
    assert (told["steps"], told["note"]) == (2, None)
    assert (told["weights"], told["after"]) == (after.coefficients, after.formula(digits=4))
    assert after.coefficients != before.coefficients
    assert (type(after), after.scale) == (type(before), before.scale)
    assert after.info["tuned_on"]["dataset"] == "iris"


@every
def test_tune_a_run(run, runs, family, tmp_path):
    assert run("tune", "--loss", runs / family, *IRIS, "--meta-steps", 1, "--out", "new.json", "--quiet").code == 0
    info = evomal.load_loss(tmp_path / "new.json").info
    assert (info["learned_on"]["dataset"], info["tuned_for"]["meta_steps"]) == ("iris", 1)
    assert "fitness" not in info


@every
def test_tune_afresh_depends_on_the_seed_where_the_start_is_drawn(run, files, family):
    def fresh(seed, meta_steps):
        options = ["--fresh", "--seed", seed, "--meta-steps", meta_steps, "--out", "new.json", "--force", "--json"]
        return json.loads(run("tune", "--loss", f"{family}.json", *IRIS, *options).out)["weights"]

    one, again, other = fresh(1, 0), fresh(1, 0), fresh(2, 0)
    assert one == again
    if family == "taylor":
        assert one == other == [0.0] * 8
        assert fresh(1, 2) != one
    else:
        draw = generator(1, named_task("iris", "linear").key, "phi", "fresh")
        loss = evomal.NeuralLoss(task_type="classification", hidden=3, generator=draw)
        assert one == loss.coefficients != other


@every
@pytest.mark.parametrize("command", ["train", "tune"])
def test_a_loss_for_the_other_kind_of_task_is_refused(run, files, family, command):
    out = ["--out", "new.json"] if command == "tune" else []
    ended = run(command, "--loss", f"{family}.json", "--dataset", "diabetes", "--model", "linear", *out)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err == (
        f"evomal: error: loss '{family}.json' is for classification, but task 'diabetes/linear' is regression; "
        "give another loss\n"
    )
