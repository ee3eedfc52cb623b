"""`evomal transfer`: a loss of one task on another; numbers are those that `evomal train` gives."""

import json

import pytest

from evomal import SymbolicLoss
from evomal.cli.app import main

SHORT = ["--steps", "40", "--seeds", "0", "1", "--lr", "0.1", "--quiet", "--json"]


def _saved(path, fitness, task="digits/mlp", expression="abs(log(mul(y, f)))"):
    loss = SymbolicLoss(expression, task_type="classification")
    loss.info = {"learned_on": {"task": task}, "fitness": fitness}
    loss.save(path)
    return str(path)


def test_the_best_of_several_seeds_is_trained_with_as_train_does(tmp_path, capsys):
    good = _saved(tmp_path / "good.json", 0.1)
    bad = _saved(tmp_path / "bad.json", 0.2, expression="square(sub(y, f))")
    # Three classes instead of ten, and another network.
    assert main(["transfer", "--loss", bad, good, "--to", "iris", "--model", "linear", *SHORT]) == 0
    found = json.loads(capsys.readouterr().out)
    assert main(["train", "--loss", good, "cross_entropy", "--dataset", "iris", "--model", "linear", *SHORT]) == 0
    direct = json.loads(capsys.readouterr().out)
    assert [result["loss"] for result in found["results"]] == [good, "cross_entropy"]
    for one, other in zip(found["results"], direct["results"], strict=True):
        assert one["mean"] == other["mean"]
        assert [run["test"] for run in one["runs"]] == [run["test"] for run in other["runs"]]


def test_a_loss_of_many_classes_serves_two(tmp_path, capsys):
    good = _saved(tmp_path / "good.json", 0.1)
    assert main(["transfer", "--loss", good, "--to", "breast-cancer", "--model", "linear", *SHORT]) == 0
    assert json.loads(capsys.readouterr().out)["results"][0]["mean"] < 0.3


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ([], "missing option '--loss'"),
        (["--loss", "focal"], "loss 'focal' was not learned on a task; give a loss file, or use `evomal train`"),
        (["--loss", "GOOD", "OTHER"], "were learned on different tasks, so that their fitnesses cannot be compared"),
        (["--loss", "GOOD", "--dataset", "iris"], "--to and --dataset say the same; leave out --dataset"),
        (["--loss", "GOOD", "--data", "a.npz"], "--data a.npz and --to iris are two data sets; leave one out"),
    ],
)
def test_what_cannot_be_transferred(tmp_path, capsys, options, error):
    files = {"GOOD": _saved(tmp_path / "a.json", 0.1), "OTHER": _saved(tmp_path / "b.json", 0.1, "wine/mlp")}
    given = [files.get(option, option) for option in options]
    assert main(["transfer", *given, "--to", "iris", "--model", "linear", *SHORT]) == 2
    assert error in capsys.readouterr().err


def test_its_own_task_is_no_transfer(tmp_path, capsys):
    good = _saved(tmp_path / "good.json", 0.1, "iris/linear")
    assert main(["transfer", "--loss", good, "--to", "iris", "--model", "linear", *SHORT]) == 0
    assert "was learned on iris/linear itself, so this is no transfer" in capsys.readouterr().err
