"""`evomal.train`: what the command `train` does, from Python."""

import json
from math import nan

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

import evomal
from evomal.cli import main
from evomal.foundation.errors import EvomalError, StorageError
from evomal.losses import HandcraftedLoss, SymbolicLoss
from evomal.training import meta_testing
from helpers.chance import Chance

FEW = {"steps": 5, "seeds": (0, 1)}
SHELL = ["--dataset", "iris", "--model", "linear", "--steps", "5", "--seeds", "0", "1", "--quiet"]


def doubled(outputs, targets):
    return 2 * cross_entropy(outputs, targets)


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    SymbolicLoss("square(sub(y, f))", task_type="classification").save("l.json")
    return tmp_path


@pytest.fixture
def count(monkeypatch):
    """Counts trainings, and presses Ctrl-C before the n-th."""
    done, original = [], meta_testing.train_once

    def train_once(*arguments):
        if len(done) == count.stop:
            count.stop = None
            raise KeyboardInterrupt
        done.append(arguments)
        return original(*arguments)

    def count():
        return len(done)

    count.stop = None
    monkeypatch.setattr(meta_testing, "train_once", train_once)
    return count


def _timeless(document):
    for result in document["results"]:
        for run in result["runs"]:
            run.pop("seconds")
    return document["settings"], document["results"]


def test_it_is_what_the_command_does(iris, here, capsys):
    result = evomal.train(iris, ["cross_entropy", "l.json"], out="a.json", **FEW)
    assert main(["train", "--loss", "cross_entropy", "./l.json", *SHELL, "--out", "b.json"]) == 0
    one, other = (json.loads((here / name).read_text()) for name in ("a.json", "b.json"))
    assert one == json.loads(json.dumps(result.as_dict()))
    assert _timeless(one) == _timeless(other)
    shown = capsys.readouterr().out.splitlines()
    text = str(result).splitlines()
    assert text[0] == "| loss | lr | test error_rate, mean ± sd | each seed | seconds in all |"
    for line, row in zip(shown[1:3], text[2:4], strict=True):
        assert line.split()[:-1] == row.replace("|", " ").split()[:-1]
    assert [f"- {line}" for line in shown[3:]] == text[5:]


def test_one_loss_or_several_of_any_kind(iris, here, count):
    told = []
    alone = evomal.train(iris, doubled, on_run=lambda name, run: told.append((name, run.seed)), **FEW)
    assert told == [("doubled", 0), ("doubled", 1)]
    found = evomal.load_loss("l.json")
    result = evomal.train(iris, ["focal", doubled, found, "l.json", "./l.json"], **FEW)
    assert [each.name for each in result] == ["focal", "doubled", "SymbolicLoss", "l.json"]
    assert result["doubled"].test.mean == result[1].mean == alone.best.mean
    assert [run.test for run in result["SymbolicLoss"].test.runs] == [run.test for run in result["l.json"].test.runs]
    assert result.best.mean == min(each.mean for each in result)
    assert "doubled: its first gradients are 2 × the task loss's: compare with cross_entropy at its" in str(result)
    with pytest.raises(EvomalError, match=r"^unknown loss 'double'; did you mean 'doubled'\?"):
        result["double"]
    assert sorted(path.name for path in here.iterdir()) == ["l.json"]


def test_what_a_module_of_the_user_calls_info_is_its_own_affair(iris):
    class Noted(nn.Module):
        info = "doubled, as we like it"

        def forward(self, outputs, targets):
            return doubled(outputs, targets)

    (note,) = evomal.train(iris, Noted(), **FEW)["Noted"].notes
    assert note.startswith("its first gradients are 2 ×")


def test_it_goes_on_where_ctrl_c_stopped_it(iris, here, count):
    whole = evomal.train(iris, ["focal", doubled], **FEW)
    count.stop = count() + 3
    with pytest.raises(KeyboardInterrupt):
        evomal.train(iris, ["focal", doubled], out="r.json", **FEW)
    assert [each["loss"] for each in json.loads((here / "r.json").read_text())["results"]] == ["focal"]
    with pytest.raises(EvomalError, match=r"^'r.trainings.jsonl' holds 3 finished trainings of an interrupted call; "):
        evomal.train(iris, ["focal", doubled], out="r.json", **FEW)
    before = count()
    with pytest.raises(EvomalError, match=r"^loss 'doubled' was given as an object, which no file "):
        evomal.train(iris, resume="r.json")
    again = evomal.train(iris, ["focal", doubled], resume="r.json")
    assert count() == before + 1
    timeless = [[run.test for run in each.test.runs] for each in whole]
    assert [[run.test for run in each.test.runs] for each in again] == timeless
    more = evomal.train(iris, ["focal", doubled], resume="r.json", override=True, seeds=(0, 1, 2))
    assert count() == before + 3
    assert [[run.test for run in each.test.runs][:2] for each in more] == timeless

    def changed(outputs, targets):
        return 3 * cross_entropy(outputs, targets)

    changed.__name__ = "doubled"
    with pytest.raises(EvomalError, match=r"^loss 'doubled' has changed since 'r.json' was begun; bring back"):
        evomal.train(iris, ["focal", changed], resume="r.json")
    assert main(["train", "--resume", "r.json"]) == 2  # it has no task that the shell could name


@pytest.mark.parametrize("name", ["r.json", "r.trainings.jsonl"])
def test_a_full_disk_says_how_to_go_on_in_python(iris, here, count, monkeypatch, name):
    def full(*arguments):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(
            "evomal.foundation.files.os.replace" if name == "r.json" else "evomal.store.journal.os.fsync", full
        )
        with pytest.raises(StorageError) as caught:
            evomal.train(iris, ["focal"], out="r.json", **FEW)
    assert str(caught.value) == (
        f"'{name}' cannot be written (No space left on device); what is finished is kept: make room there, then go on "
        "with `resume='r.json'`"
    )


def test_a_file_that_holds_another_handcrafted_loss_is_noticed(iris, here, count):
    HandcraftedLoss("focal").save("l.json")
    evomal.train(iris, ["cross_entropy", "l.json"], out="r.json", **FEW)
    journal, before = here / "r.trainings.jsonl", count()
    HandcraftedLoss("focal(gamma=3)").save("l.json")
    with pytest.raises(EvomalError, match=r"^loss 'l.json' has changed since 'r.json' was begun; bring back that of "):
        evomal.train(iris, resume="r.json")
    HandcraftedLoss("focal").save("l.json")
    first, *rest = map(json.loads, journal.read_text().splitlines())
    first["losses"] = [loss | {"digest": None} for loss in first["losses"]]  # as an older evomal wrote it
    journal.write_text("".join(json.dumps(line) + "\n" for line in [first, *rest]))
    evomal.train(iris, resume="r.json")
    assert count() == before
    SymbolicLoss("square(sub(y, f))", task_type="classification").save("l.json")
    with pytest.raises(EvomalError, match=r"^loss 'l.json' has changed since"):
        evomal.train(iris, resume="r.json")


def test_what_is_finished_behind_a_slow_training_is_kept(iris, here, count, monkeypatch):
    whole = evomal.train(iris, ["focal", doubled], out="whole.json", **FEW)
    executor = Chance(2, lambda running: len(running) - 1)
    monkeypatch.setattr("evomal.comparison.training.make_executor", lambda workers: executor)
    count.stop = count() + 2
    with pytest.raises(KeyboardInterrupt):
        evomal.train(iris, ["focal", doubled], out="r.json", **FEW)
    lines = [json.loads(line) for line in (here / "r.trainings.jsonl").read_text().splitlines()]
    assert [(line["contender"], line["seed"]) for line in lines[1:]] == [("focal", 1), ("doubled", 0)]
    before = count()
    again = evomal.train(iris, ["focal", doubled], resume="r.json")
    assert count() == before + 2
    assert [[run.test for run in each.test.runs] for each in again] == [
        [run.test for run in each.test.runs] for each in whole
    ]
    one, other = (json.loads((here / name).read_text()) for name in ("whole.json", "r.json"))
    assert _timeless(one) == _timeless(other)


def test_what_the_command_began_goes_on_in_python(iris, here, count):
    assert main(["train", "--loss", "focal", "l.json", *SHELL, "--out", "r.json"]) == 0
    written, before = (here / "r.json").read_text(), count()
    evomal.train(iris, resume="r.json")
    assert (count(), (here / "r.json").read_text()) == (before, written)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"losses": ()}, "there is nothing to train with; give at least one of `losses`"),
        (
            {"losses": [3]},
            "setting 'losses': [3] is no list of such values; write losses=",
        ),
        (
            {"losses": nn.CrossEntropyLoss},
            "losses is the class CrossEntropyLoss; give a loss that is built, such as Cross",
        ),
        ({"losses": "focl"}, "unknown loss 'focl'; did you mean 'focal'? "),
        ({"losses": "no.json"}, "loss file 'no.json': it cannot be read "),
        ({"losses": "mse"}, "loss 'mse' is for regression, but task 'iris/linear' is classification; give another"),
        ({"workers": 0}, "setting 'workers': 0 is no number of processes; give 1 or more"),
        ({"steps": 0}, "setting 'steps': input should be greater than or equal to 1 (got 0)"),
        ({"stepps": 3}, "unknown setting 'stepps'; did you mean 'steps'?"),
        ({"lrs": (nan,)}, "setting 'lrs': "),
        ({"task": "iris"}, "losses are trained with on one task, and this is a str; give a Task"),
        ({"override": True}, "`override` is for a call that goes on; give `resume`, or leave it out"),
        ({"resume": "r.json", "force": True}, "`resume` goes on with 'r.json'; leave out `force`"),
        ({"resume": "r.json"}, "'r.json' has no trainings to go on with ('r.trainings.jsonl' is missing); start with "),
        ({"out": "l.json"}, "'l.json' exists; give another `out`, or `force=True` to replace it"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing_behind(iris, here, given, message):
    with pytest.raises(EvomalError) as caught:
        evomal.train(**{"task": iris, "losses": "focal", "out": given.get("resume") and None} | given)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)
    assert [path.name for path in here.iterdir()] == ["l.json"]


def test_small_targets_keep_the_digits_of_their_error():
    x = torch.randn(60, 3, generator=torch.Generator().manual_seed(0))
    y = 1e-3 * x[:, :1]
    task = evomal.Task(lambda: nn.Linear(3, 1), (x, y), test=(x, y), task_loss="mse")
    result = evomal.train(task, ["mse", "huber"], steps=60, lr=0.1, seeds=(0, 1))
    greatest = max(run.test for one in result for run in one.test.runs)
    assert 0 < greatest < 1e-3
    shown = [row.split(" | ")[3].split() for row in str(result).splitlines()[2:4]]
    expected = [run.test for one in result for run in one.test.chosen]
    assert [float(number) for each in shown for number in each] == pytest.approx(expected, abs=greatest / 100)
