"""`evomal.tune`: what the command `tune` does, from Python."""

import json

import pytest

import evomal
from evomal.cli import main
from evomal.config import BaseSettings, LocalSearchSettings
from evomal.foundation.errors import EvomalError
from evomal.local_search import tune as tune_losses
from evomal.losses import SymbolicLoss, get_handcrafted
from evomal.tasks import named_task

FORMULA = "square(sub(y, f))"


@pytest.fixture(scope="module")
def iris():
    return named_task("iris", "linear")


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    loss = SymbolicLoss(FORMULA, weights=[1.5, 1.0, 0.5], task_type="classification")
    loss.info["fitness"] = 0.25
    loss.save("l.json")
    return tmp_path


def test_it_is_what_the_command_does(iris, here, capsys):
    old = evomal.load_loss("l.json")
    result = evomal.tune(iris, old, out="a.json", meta_steps=3, lr=0.1)
    command = ["tune", "--loss", "l.json", "--dataset", "iris", "--model", "linear", "--meta-steps", "3", "--lr", "0.1"]
    assert main([*command, "--out", "b.json", "--json"]) == 0
    one, other = (json.loads((here / name).read_text()) for name in ("a.json", "b.json"))
    assert one == other
    told = json.loads(capsys.readouterr().out)
    unlike = {"seconds": None, "loss": None}
    assert told | unlike == result.as_dict() | unlike
    assert (told["loss"], result.file, result.loss.info) == ("b.json", "a.json", evomal.load_loss("a.json").info)
    assert old.coefficients == [1.5, 1.0, 0.5]  # the user's own is left alone
    loss = SymbolicLoss(FORMULA, weights=old.coefficients, task_type="classification")
    tune_losses([loss], iris, LocalSearchSettings(meta_steps=3), BaseSettings(lr=0.1), 0)
    assert result.loss.coefficients == loss.coefficients
    lines = [line.split("  ")[0] for line in str(result).splitlines()]
    assert lines == ["before", "after", "meta steps", "time", "loss file"]
    assert "fitness" not in result.loss.info


def test_from_untuned_coefficients(iris, here):
    result = evomal.tune(iris, "l.json", fresh=True, meta_steps=1)
    assert all(abs(weight - 1) < 0.02 for weight in result.loss.coefficients)
    assert (result.file, result.steps, [path.name for path in here.iterdir()]) == (None, 1, ["l.json"])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"task": "iris"}, "a loss is tuned on one task, and this is a str; give an evomal.Task"),
        ({"loss": "focal"}, "loss 'focal' is handcrafted and has nothing to tune; give a loss file or a run folder"),
        ({"loss": get_handcrafted("focal")}, "loss 'HandcraftedLoss' is handcrafted and has nothing to tune; give a "),
        ({"loss": "no.json"}, "loss file 'no.json': it cannot be read "),
        ({"meta_stps": 3}, "unknown setting 'meta_stps'; did you mean 'meta_steps'? "),
        ({"generations": 3}, "unknown setting 'generations'; "),
        ({"out": "l.json"}, "'l.json' exists; give another `out`, or `force=True` to replace it"),
        (
            {"loss": SymbolicLoss(FORMULA, task_type="regression")},
            "loss 'SymbolicLoss' is for regression, but task 'iris/linear' is classification; give another loss",
        ),
    ],
)
def test_bad_input_is_one_line(iris, here, given, message):
    with pytest.raises(EvomalError) as caught:
        evomal.tune(**{"task": iris, "loss": "l.json"} | given)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)
    assert [path.name for path in here.iterdir()] == ["l.json"]
