import json
import pickle
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import evomal
from evomal.cli import main
from evomal.config import PRESETS
from evomal.losses import HANDCRAFTED
from evomal.losses.published import PUBLISHED
from evomal.search import EvoMAL
from evomal.store import read_journal

DIGITS = ["--dataset", "digits", "--model", "mlp"]
LEARN = ["learn", "--preset", "paper-mnist", "--out", "runs/a", *DIGITS]
TRAIN = ["train", *DIGITS, "--loss"]

TASKS = """
import torch
from torch import nn
import evomal

def task(x=None, y=None, outputs=3):
    x = torch.randn(60, 4, generator=torch.Generator().manual_seed(0)) if x is None else x
    y = torch.arange(60) % 3 if y is None else y
    return evomal.Task(lambda: nn.Linear(4, outputs), (x, y), name="mine", model_name="tiny")

def good(): return task()
def nan():
    x = torch.zeros(60, 4)
    x[7, 2] = float("nan")
    return task(x)
def negative(): return task(y=torch.arange(60) % 3 - 1)
def few_outputs(): return task(outputs=2)
def wrong_shape():
    x, y = torch.zeros(60, 4), torch.arange(60) % 3
    return evomal.Task(lambda: nn.Linear(5, 3), (x, y), name="mine", model_name="tiny")
def lengths(): return task(y=torch.arange(59) % 3)
def fails(): return 1 / 0
def nothing(): return None
"""

KNOWN = ", ".join(sorted([*HANDCRAFTED, *PUBLISHED]))


def files(folder):
    """Every file below a folder with its content."""
    return {str(p.relative_to(folder)): p.read_bytes() if p.is_file() else None for p in folder.rglob("*")}


def refused(run, folder, *arguments):
    """What a command says that ends with exit 2, in one line, and leaves everything as it was."""
    before = files(folder)
    ended = run(*arguments)
    assert ended.code == 2
    assert ended.out == ""
    assert ended.err.startswith("evomal: error: ")
    assert ended.err.count("\n") == 1
    assert {name: c for name, c in files(folder).items() if "__pycache__" not in name} == before
    return ended.err.removeprefix("evomal: error: ").rstrip("\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["lern"], "no such command 'lern'. Did you mean 'learn'?"),
        ([*LEARN, "--populaton", "3"], "no such option: --populaton; did you mean '--population'?"),
        ([*LEARN, "--lr", "nan"], "setting 'lr': input should be a finite number (got nan)"),
        ([*LEARN, "--lr", "-1"], "setting 'lr': input should be greater than 0 (got -1.0)"),
        (
            [*LEARN, "--population", "1"],
            "setting 'population_size': input should be greater than or equal to 2 (got 1)",
        ),
        ([*LEARN, "--nesterov"], "nesterov needs a momentum above 0"),
        (
            [*LEARN, "--method", "evoml"],
            "unknown method 'evoml'; did you mean 'evomal'? (known: evomal, glo, gplfl, ml3, taylorglo)",
        ),
        (
            [*LEARN, "--preset", "quik"],
            f"unknown preset 'quik'; did you mean 'quick'? (known: {', '.join(sorted(PRESETS))})",
        ),
        (
            ["learn", "--dataset", "digits"],
            "give --dataset (or --data FILE) and --model, or --task my_module.py:make_task; `evomal list` names all",
        ),
        (
            [*LEARN, "--task", "t.py:make"],
            "--task brings its own data set, model and metric; leave out the options that name others",
        ),
        (["train", *DIGITS], "missing option '--loss'"),
        (
            [*TRAIN, "cross_entropy", "--schedule", "cosin"],
            "unknown schedule 'cosin'; did you mean 'cosine'? (known: constant, cosine, one-cycle, step)",
        ),
        (
            [*TRAIN, "cross_entropi"],
            f"unknown loss 'cross_entropi'; did you mean 'cross_entropy'? (known: {KNOWN})",
        ),
        ([*TRAIN, "no.json"], "loss file 'no.json': it cannot be read (No such file or directory); check the path"),
        (
            [*TRAIN, "mse", "--steps", "1"],
            "loss 'mse' is for regression, but task 'digits/mlp' is classification; give another loss",
        ),
        (
            ["tune", *DIGITS, "--loss", "mse", "--out", "x.json"],
            "loss 'mse' is handcrafted and has nothing to tune; give a loss file or a run folder",
        ),
        (["tune", *DIGITS, "--loss", "mse"], "missing option '--out'"),
        (
            ["show", "here", "--top", "3"],
            "--top needs a run folder, and 'here' is none; leave out --top to show a loss file",
        ),
        (["show", ".", "--top", "3"], "'.' holds no readable journal.jsonl; give the folder of a run"),
    ],
)
def test_bad_usage_is_one_line(run, tmp_path, arguments, message):
    assert refused(run, tmp_path, *arguments) == message


@pytest.mark.parametrize(
    ("arguments", "start"),
    [
        (["--dataset", "digit"], "unknown data set 'digit'; did you mean 'digits'? (known: "),
        (["--model", "mlpp"], "unknown model 'mlpp'; did you mean 'mlp'? (known: "),
        (["--metric", "error_rat"], "unknown metric 'error_rat'; did you mean 'error_rate'? (known: "),
        (["--metric", "mse"], "metric 'mse' is for regression, but task 'digits/mlp' is classification; "),
        (["--model", "lenet5"], "model 'lenet5' takes greyscale images of shape [1, 28, 28], but instances have "),
        (["--lr", "abc"], "invalid value for '--lr': "),  # typer says the rest
        (["--device", "cuda:99"], "device 'cuda:99' cannot be used here ("),
        (["--rejection-steps", "1"], "the task loss of 'digits/mlp' does not pass the rejection filter itself "),
        (["--out", "file"], "'file' is a file; give a folder for --out"),
    ],
)
def test_a_task_that_cannot_be_learned_leaves_nothing_behind(run, tmp_path, arguments, start):
    (tmp_path / "file").write_text("mine")
    assert refused(run, tmp_path, *LEARN, *arguments).startswith(start)


@pytest.mark.parametrize(
    ("function", "start"),
    [
        ("nan", "x of the training split of data set 'mine' holds nan (first in row 7); remove or fill in such rows"),
        ("negative", "y of the training split of data set 'mine' holds the label -1 (first in row 0); number "),
        (
            "few_outputs",
            "model 'tiny' gives 2 outputs but data set 'mine' has label 2 (first in row 2 of the training split); give",
        ),
        ("wrong_shape", "model 'tiny' cannot be run in train mode on x of shape "),
        ("lengths", "the training split of data set 'mine' has 60 rows in x but 59 in y; "),
        ("fails", "task 'my.py:fails' fails in fails at line 22: ZeroDivisionError: division by zero"),
        ("nothing", "task 'my.py:nothing': nothing returned a NoneType; return an evomal.Task"),
        ("goood", "task 'my.py:goood': there is no function goood in it; did you mean 'good'?"),
    ],
)
def test_a_users_own_task_is_checked(run, tmp_path, function, start):
    (tmp_path / "my.py").write_text(TASKS)
    assert refused(run, tmp_path, "learn", "--task", f"my.py:{function}").startswith(start)


def test_a_users_own_task_is_learned_on(run, tmp_path):
    (tmp_path / "my.py").write_text(TASKS)
    few = [
        "--generations",
        1,
        "--population",
        3,
        "--meta-steps",
        1,
        "--partial-steps",
        2,
        "--no-rejection",
        "--no-finals",
    ]
    ended = run("learn", "--task", "my.py:good", *few, "--device", "cpu", "--quiet")
    assert ended.code == 0
    assert json.loads((tmp_path / "runs/my-good-seed0/loss.json").read_text())["learned_on"]["model"] == "tiny"


GOOD = {
    **{"format": "evomal-loss", "version": 1, "family": "symbolic", "task_type": "classification"},
    **{"expression": "abs(log(mul(y, f)))", "weights": [1.0, 1.0, 1.0, 1.0]},
}


class Evil:
    def __reduce__(self):
        return print, ("ran",)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (json.dumps(GOOD)[:-20], "it is not complete, valid JSON; save the loss anew, or mend the file"),
        (
            json.dumps(GOOD | {"weights": [1.0, 1.0]}),
            "formula 'abs(log(mul(y, f)))' has 4 weights but those given have shape [2]; give a flat list",
        ),
        (
            json.dumps(GOOD | {"expression": "abs(" * 5000 + "y" + ")" * 5000}),
            "the formula is nested 5000 deep; at most 64 levels are allowed",
        ),
        ("[" * 5000 + "]" * 5000, "its entries nest more than 20 deep; give a file written by evomal"),
        (pickle.dumps(Evil()), "it is a pickle or an archive, which could run code; give a JSON file"),
        (json.dumps(GOOD | {"expression": "__import__('os').system('touch hacked')"}), None),
        (
            json.dumps(GOOD | {"expression": "abs(y)", "weights": [1.0]}),
            "formula 'abs(y)' lacks f; a loss needs both y and f",
        ),
        (json.dumps(GOOD | {"version": 3}), "it comes from the future (version 3; this evomal reads 2); update evomal"),
        (
            json.dumps(GOOD).replace("1.0]", "NaN]"),
            "it is not complete, valid JSON; save the loss anew, or mend the file",
        ),
        (
            json.dumps(GOOD | {"expression": "abs(lg(mul(y, f)))"}),
            "unknown name 'lg'; did you mean 'log'? (position 5 of 'abs(lg(mul(y, f)))')",
        ),
    ],
)
def test_odd_loss_files_are_refused_by_every_command(run, tmp_path, content, message):
    (tmp_path / "loss.json").write_bytes(content if isinstance(content, bytes) else content.encode())
    said = {
        refused(run, tmp_path, "show", "loss.json"),
        refused(run, tmp_path, "show", "."),
        refused(run, tmp_path, *TRAIN, "loss.json"),
        refused(run, tmp_path, "tune", *DIGITS, "--loss", "loss.json", "--out", "x.json"),
    }
    assert len(said) == 1
    if message is not None:
        assert said == {f"loss file 'loss.json': {message}"}
    assert not (tmp_path / "hacked").exists()


def test_a_damaged_journal_is_refused(run, tmp_path):
    (tmp_path / "journal.jsonl").write_text('{"generation": 0, "index": 0}\n')
    message = refused(run, tmp_path, "show", ".", "--top", 2)
    assert message == "the journal is damaged at generation 0, index 0 (KeyError('fitness')); it cannot be read"


def test_a_loss_file_cannot_speak_to_the_terminal(run, tmp_path):
    (tmp_path / "loss.json").write_text(json.dumps(GOOD | {"note": "\x1b[31mred\x1b[0m", "learned_on": ["odd"]}))
    ended = run("show", "loss.json")
    assert ended.code == 0
    assert "\x1b" not in ended.out
    ended = run(*TRAIN, "loss.json", "--steps", 1)
    assert ended.code == 0


def test_what_is_unexpected_is_one_line_and_a_traceback_if_asked(run, small, monkeypatch, tmp_path):
    def broken(*args, **kwargs):
        raise RuntimeError("the disk\nis on fire")

    monkeypatch.setattr(EvoMAL, "learn", broken)
    ended = run("learn", *small)
    assert ended.code == 1
    assert ended.err == (
        "evomal: error: something unexpected happened (RuntimeError: the disk is on fire); "
        "add --traceback to see where\n"
    )
    assert list(tmp_path.iterdir()) == []
    assert "Traceback (most recent call last)" in run("learn", *small, "--traceback").err
    monkeypatch.setenv("EVOMAL_TRACEBACK", "1")
    assert "Traceback (most recent call last)" in run("learn", *small).err


def test_stopped_before_there_is_a_result(run, small, monkeypatch, tmp_path):
    def stopped(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(EvoMAL, "learn", stopped)
    assert run("learn", *small) == (130, "", "evomal: stopped before there was a result\n")
    assert list(tmp_path.iterdir()) == []


def test_from_a_shell_there_is_no_traceback_either(tmp_path):
    command = [sys.executable, "-m", "evomal.cli", *TRAIN, "cut.json"]
    (tmp_path / "cut.json").write_text('{"format": "evomal-loss", "ver')
    ended = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert ended.stderr == (
        "evomal: error: loss file 'cut.json': it is not complete, valid JSON; save the loss anew, or mend the file\n"
    )


def test_a_reader_that_leaves_is_no_error(tmp_path):
    command = f"{sys.executable} -m evomal.cli list | head -c 1"
    ended = subprocess.run(command, shell=True, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert ended.stderr == ""


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError("the disk is on fire")])
def test_force_gives_the_old_run_back_if_the_new_one_ends_before_its_first_candidate(
    run, small, monkeypatch, tmp_path, error
):
    def broken(*args, **kwargs):
        raise error

    assert run("learn", *small, "--generations", 1, "--out", "a", "--quiet").code == 0
    before = files(tmp_path / "a")
    monkeypatch.setattr("evomal.evaluation.evaluator.Evaluator.evaluate", broken)
    assert run("learn", *small, "--seed", 9, "--out", "a", "--force").code in (130, 1)
    assert files(tmp_path / "a") == before
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_train_keeps_the_losses_that_are_finished_when_it_is_stopped(run, monkeypatch, tmp_path):
    from evomal.training import meta_testing

    calls, original = [], meta_testing.train_once

    def second_is_stopped(*args):
        calls.append(args)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return original(*args)

    monkeypatch.setattr(meta_testing, "train_once", second_is_stopped)
    losses = ["--loss", "mse", "--loss", "mae", "--dataset", "diabetes", "--model", "linear", "--steps", 3]
    ended = run("train", *losses, "--out", "t.json", "--quiet")
    assert ended.code == 130
    assert "mse" in ended.out
    assert ended.err.endswith("evomal: 1 of 2 losses are finished; the others were stopped\n")
    assert [result["loss"] for result in json.loads((tmp_path / "t.json").read_text())["results"]] == ["mse"]


def test_a_killed_worker_is_no_fault_of_the_input(run, small, monkeypatch):
    from evomal.executors import WorkerError

    def killed(*args, **kwargs):
        raise WorkerError("one of 2 worker processes was killed")

    monkeypatch.setattr(EvoMAL, "learn", killed)
    assert run("learn", *small) == (1, "", "evomal: error: one of 2 worker processes was killed\n")


def test_a_device_without_memory_is_no_fault_of_a_candidate(run, small, monkeypatch):
    def full(*args, **kwargs):
        raise torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate 2 GiB")

    monkeypatch.setattr(EvoMAL, "learn", full)
    ended = run("learn", *small)
    assert ended.code == 1
    assert ended.err == (
        "evomal: error: the device has too little memory (OutOfMemoryError: CUDA out of memory. Tried to allocate 2 "
        "GiB); what is finished is kept, go on with fewer workers\n"
    )


def test_an_out_that_cannot_be_written_is_refused_before_any_training(run, tmp_path):
    (tmp_path / "file").write_text("mine")
    ended = run("train", "--loss", "mse", "--dataset", "diabetes", "--model", "linear", "--out", "file/t.json")
    assert ended == (2, "", "evomal: error: 'file/t.json' cannot be written (File exists); give another --out\n")


TUNE = ["tune", "--dataset", "iris", "--model", "linear", "--meta-steps", "2", "--loss", "l.json"]


@pytest.mark.parametrize(
    ("out", "why"),
    [
        ("file/l.json", "File exists"),
        ("/proc/l.json", "No such file or directory"),  # where root may write, by its rights
        ("x" * 255, "File name too long"),
        ("x" * 300, "File name too long"),
        ("loop/l.json", "File exists"),
    ],
    ids=["a file", "proc", "long", "longer", "loop"],
)
def test_a_place_that_cannot_be_written_is_refused_before_anything_is_tuned(run, tmp_path, monkeypatch, out, why):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "loop").symlink_to("loop")
    evomal.SymbolicLoss("square(sub(y, f))", task_type="classification").save(tmp_path / "l.json")
    monkeypatch.setattr("evomal.cli.source.TaskSource.load", lambda self: pytest.fail("work begins"))
    assert run(*TUNE, "--out", out) == (
        2, "", f"evomal: error: '{out}' cannot be written ({why}); give another --out\n",
    )  # fmt: skip
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "l.json", "loop"]


def test_what_was_tuned_is_told_though_the_disk_is_full(run, tmp_path, monkeypatch):
    evomal.SymbolicLoss("square(sub(y, f))", task_type="classification").save(tmp_path / "l.json")

    def full(path, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("evomal.losses.files.write_atomically", full)
    ended = run(*TUNE, "--out", "new.json", "--json")
    assert ended.code == 2
    assert ended.err.startswith("evomal: error: loss file 'new.json': it cannot be written (No space left on device)")
    told = json.loads(ended.out)
    assert told["loss"] is None
    assert len(told["weights"]) == 3


FULL = Path("/dev/full")
NO_ROOM = (
    "evomal: error: standard output cannot be written (No space left on device); make room there, or send it "
    "elsewhere\n"
)
needs_full = pytest.mark.skipif(not FULL.exists(), reason="no such device here")


@needs_full
def test_a_search_goes_on_though_its_progress_cannot_be_written(run, small, tmp_path, monkeypatch):
    with FULL.open("w") as full:
        monkeypatch.setattr("sys.stdout", full)
        code = main(["learn", *small, "--out", "a"])
        monkeypatch.undo()
    ended = run("show", tmp_path / "a", "--json")
    warning, where, error = ended.err.splitlines()
    assert code == 1
    assert warning == ("evomal: warning: progress cannot be written (No space left on device); the work goes on")
    assert where == "evomal: the best loss is in a/loss.json"
    assert f"{error}\n" == NO_ROOM
    assert len(read_journal(tmp_path / "a")) == 8
    assert json.loads(ended.out)["expression"]


@needs_full
@pytest.mark.parametrize("errors", ["", " 2>/dev/full"])
def test_a_full_disk_under_standard_output_is_told_and_ends_with_1(errors):
    line = f"{shlex.join([sys.executable, '-m', 'evomal.cli', '--help'])} > /dev/full{errors}"
    ended = subprocess.run(line, shell=True, capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (1, "" if errors else NO_ROOM)


@needs_full
@pytest.mark.parametrize("command", [["list"], ["list", "--json"]])
@pytest.mark.parametrize("errors", [Path("errors"), FULL])
def test_a_full_disk_under_what_a_command_prints_is_told_and_ends_with_1(fork, tmp_path, command, errors):
    call = fork.start(command, tmp_path, FULL, tmp_path / errors, {})
    assert call.wait(120) == 1
    assert errors == FULL or (tmp_path / errors).read_text() == NO_ROOM
