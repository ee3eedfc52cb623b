"""`evomal train` goes on after whatever stopped it, and ends as if nothing had."""

import json
import os
import shlex
import signal
import time

import pytest

from evomal.comparison.train_journal import TrainingJournal
from evomal.executors import WorkerError
from evomal.losses import SymbolicLoss
from evomal.training import meta_testing

DIABETES = ["--dataset", "diabetes", "--model", "linear"]
SMALL = ["train", "--loss", "mse", "l.json", *DIABETES, "--steps", "5", "--seeds", "0", "1", "--quiet"]
JOURNAL = "r.trainings.jsonl"

TASK = """
from pathlib import Path
import torch
import evomal

Path("ran").touch()
draw = torch.Generator().manual_seed(0)
x = torch.randn(60, 3, generator=draw)

def make():
    pairs = [(x[i : i + 20], x[i : i + 20].sum(1)) for i in (0, 20, 40)]
    return evomal.Task(lambda: torch.nn.Linear(3, 1), *pairs, task_loss="mse", name="sum")
"""


def save_loss(path, weight=1.0):
    loss = SymbolicLoss("square(sub(y, f))", task_type="regression")
    loss.coefficients = [weight, 1.0, 1.0]
    loss.save(path)


@pytest.fixture
def command(run, tmp_path):
    save_loss(tmp_path / "l.json")
    return [*SMALL, "--out", "r.json"]


def timeless(text):
    """Results without times."""
    document = json.loads(text)
    for result in document["results"]:
        for each in result["runs"]:
            each.pop("seconds")
    return document


def wait_for(journal, lines):
    until = time.monotonic() + 120
    while not (journal.exists() and journal.read_bytes().count(b"\n") >= lines):
        assert time.monotonic() < until
        time.sleep(0.01)


def table(text):
    return [line.split()[:-1] for line in text.splitlines()]


@pytest.fixture
def stop(monkeypatch):
    """Lets the n-th training of this test raise an error; counts those that are done."""
    done, plans = [], {}

    def train_once(*arguments):
        if len(done) == plans.get("after"):
            del plans["after"]
            raise plans["error"]
        done.append(arguments)
        return original(*arguments)

    def plan(after, error):
        done.clear()
        plans.update(after=after, error=error)
        return done

    original = meta_testing.train_once
    monkeypatch.setattr(meta_testing, "train_once", train_once)
    return plan


def test_a_killed_call_goes_on_as_if_nothing_had_been(run, command, tmp_path, fork):
    slow = [*command, "--steps", "600", "--seeds", "2"]
    journal = tmp_path / JOURNAL
    process = fork.start([*slow, "--workers", "2"], tmp_path, tmp_path / "out", tmp_path / "err", {})
    try:
        wait_for(journal, 3)
    finally:
        process.kill()
        process.wait(120)
    kept = journal.read_bytes().count(b"\n") - 1
    assert 2 <= kept < 6
    assert not (tmp_path / "r.json").exists()
    resumed = run("train", "--resume", "r.json", "--quiet")
    whole = run(*slow, "--out", "whole.json")
    assert (resumed.code, whole.code, resumed.err) == (0, 0, "")
    expected = timeless((tmp_path / "whole.json").read_text()) | {"workers": 2}
    assert timeless((tmp_path / "r.json").read_text()) == expected
    assert table(resumed.out) == table(whole.out)
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    done = sorted((line["contender"], line["seed"]) for line in lines[1:])  # they stand as they finished
    assert done == [(name, seed) for name in ("l.json", "mse") for seed in range(3)]


def test_every_cut_of_the_journal_gives_the_same(run, command, stop, tmp_path):
    whole = run(*command)
    journal, results = tmp_path / JOURNAL, tmp_path / "r.json"
    data, expected = journal.read_bytes(), timeless(results.read_text())
    ends = [place + 1 for place, byte in enumerate(data) if byte == ord("\n")]
    starts = [0, *ends[:-1]]
    cuts = sorted({cut for a, b in zip(starts, ends, strict=True) for cut in (a, a + 1, (a + b) // 2, b - 1, b)})
    assert len(ends) == 5
    for cut in cuts:
        journal.write_bytes(data[:cut])
        results.unlink(missing_ok=True)
        finished, done = data[:cut].count(b"\n") - 1, stop(-1, None)
        ended = run("train", "--resume", "r.json", "--quiet")
        if finished < 0:
            assert ended.err == (
                f"evomal: error: '{JOURNAL}' was torn before it said what is trained; start with --out r.json\n"
            )
            ended = run(*command)
        assert ended.code == 0, ended
        assert len(done) == 4 - max(finished, 0)
        assert timeless(results.read_text()) == expected
        assert table(ended.out) == table(whole.out)


def test_a_finished_call_prints_its_result_and_trains_nothing(run, command, stop, tmp_path):
    whole = run(*command)
    before, written = (tmp_path / JOURNAL).read_bytes(), (tmp_path / "r.json").read_text()
    done = stop(-1, None)
    again = run("train", "--resume", "r.json")
    assert again == (0, f"4 of 4 trainings are finished\n{whole.out}", "")
    assert done == []
    assert (tmp_path / JOURNAL).read_bytes() == before
    assert (tmp_path / "r.json").read_text() == written
    as_json = run("train", "--resume", "r.json", "--json")
    assert (json.loads(as_json.out), as_json.err) == (json.loads(written), "4 of 4 trainings are finished\n")


@pytest.mark.parametrize(
    ("error", "code", "last"),
    [
        (KeyboardInterrupt(), 130, ""),
        (WorkerError("a worker was killed"), 1, "evomal: error: a worker was killed\n"),
    ],
)
def test_an_early_end_within_a_loss_keeps_all_that_is_finished(run, command, stop, tmp_path, error, code, last):
    stop(3, error)
    ended = run(*command)
    kept = "evomal: 3 of 4 trainings are finished and kept; go on with evomal train --resume r.json\n"
    assert ended.code == code
    assert ended.err == f"{kept}evomal: 1 of 2 losses are finished; the others were stopped\n{last}"
    assert [result["loss"] for result in json.loads((tmp_path / "r.json").read_text())["results"]] == ["mse"]
    message = (
        f"'{JOURNAL}' holds 3 finished trainings of an interrupted call; go on with --resume r.json, or "
        "start anew with --force"
    )
    assert run(*command) == (2, "", f"evomal: error: {message}\n")
    done = stop(-1, None)
    assert run("train", "--resume", "r.json").out.startswith("3 of 4 trainings are finished\nl.json  seed 1")
    assert len(done) == 1
    results = timeless((tmp_path / "r.json").read_text())
    run(*SMALL, "--out", "whole.json")
    assert results == timeless((tmp_path / "whole.json").read_text())


def test_an_early_end_before_any_training_leaves_nothing_to_go_on_with(run, command, stop, tmp_path):
    stop(0, KeyboardInterrupt())
    assert run(*command) == (130, "", "evomal: stopped before there was a result\n")
    assert not (tmp_path / "r.json").exists()
    assert run(*command).code == 0


def test_a_full_disk_keeps_what_is_finished(run, command, monkeypatch, tmp_path):
    calls, original = [], os.fsync

    def fsync(handle):
        calls.append(handle)
        if len(calls) == 3:  # the call, a training, and this one
            raise OSError(28, "No space left on device")
        original(handle)

    monkeypatch.setattr("evomal.store.journal.os.fsync", fsync)
    ended = run(*command)
    assert ended.code == 1
    assert ended.err == (
        "evomal: 1 of 4 trainings are finished and kept; go on with evomal train --resume r.json\n"
        f"evomal: error: '{JOURNAL}' cannot be written (No space left on device); what is finished is kept: make room "
        "there, then go on with --resume r.json\n"
    )
    assert run("train", "--resume", "r.json", "--quiet").code == 0


def test_force_starts_anew(run, command, stop, tmp_path):
    stop(1, KeyboardInterrupt())
    assert run(*command).code == 130
    assert run(*command, "--force", "--loss", "nothing").code == 2  # bad input costs nothing
    assert (tmp_path / JOURNAL).read_bytes().count(b"\n") == 2
    done = stop(-1, None)
    assert run(*command, "--force", "--steps", 6).code == 0
    assert {arguments[2].steps for arguments in done} == {6}
    assert len(done) == 4
    assert run(*command) == (2, "", "evomal: error: 'r.json' exists; give another --out, or --force to replace it\n")
    (tmp_path / "r.json").unlink()
    assert "holds 4 finished trainings of an earlier call; go on with" in run(*command).err


def test_a_folder_holds_its_trainings_under_their_own_name(run, command, tmp_path):
    assert run(*SMALL, "--out", "results/").code == 0  # made, as it is not there
    assert sorted(path.name for path in (tmp_path / "results").iterdir()) == ["train.json", "train.trainings.jsonl"]
    assert run("train", "--resume", "results", "--quiet").code == 0


def test_a_training_that_diverged_is_finished_too(run, command, stop, tmp_path):
    wild = [*command, "--steps", "50", "--lr", "0.01", "1e6"]
    whole, written = run(*wild), (tmp_path / "r.json").read_text()
    assert "4 of 4 trainings diverged" not in whole.out
    assert "2 of 4 trainings diverged: seed 0 at lr 1e+06 (the loss is not finite at step " in whole.out
    done = stop(-1, None)
    assert run("train", "--resume", "r.json", "--quiet") == whole
    assert done == []
    assert (tmp_path / "r.json").read_text() == written


def test_without_out_nothing_is_written(run, command, tmp_path):
    assert run(*SMALL).code == 0
    assert [path.name for path in tmp_path.iterdir()] == ["l.json"]


OTHER = "leave them out, or give another --out"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("--steps 6", f"'r.json' was begun with other options, which may not change (steps was 5, now 6); {OTHER}"),
        (
            "--steps 6 --override --dataset iris --metric mae --momentum 0.5 --preset quick",
            "'r.json' was begun with other options, which may not change (dataset was 'diabetes', now 'iris'; metric "
            f"was None, now 'mae'; preset was None, now 'quick'; and 2 more); {OTHER}",
        ),
        (
            "--loss mse",
            "'r.json' was begun with other options, which may not change (losses was ['mse', 'l.json'], now ['mse']); "
            f"{OTHER}",
        ),
        (
            "--seeds 0 --override",
            f"'r.json' was begun with other options, which may not change (seeds was [0, 1], now [0]); {OTHER}",
        ),
        (
            "--seeds 0 1 2 --workers 2 --device cpu",
            "'r.json' was begun with other options (seeds was [0, 1], now [0, 1, 2]; workers was 1, now 2); leave them "
            "out, or add --override",
        ),
        (
            "--task my.py:make",
            f"'r.json' was begun with other options, which may not change (task was None, now 'my.py:make'); {OTHER}",
        ),
        ("--steps 0", "setting 'steps': input should be greater than or equal to 1 (got 0)"),
        ("--force", "--resume goes on with 'r.json'; leave out --force"),
        ("--out r.json", "--resume goes on with 'r.json'; leave out --out"),
    ],
)
def test_what_is_given_beside_resume_must_agree(run, command, tmp_path, given, message):
    run(*command)
    before = (tmp_path / JOURNAL).read_bytes()
    assert run("train", "--resume", "r.json", *given.split()) == (2, "", f"evomal: error: {message}\n")
    assert (tmp_path / JOURNAL).read_bytes() == before


def test_what_agrees_may_be_given_and_more_seeds_and_rates_are_added(run, command, stop, tmp_path):
    run(*command)
    done = stop(-1, None)
    same = ["--loss", "mse", "l.json", *DIABETES, "--steps", 5, "--seeds", 0, 1, "--lr", 0.01, "--workers", 1]
    assert run("train", "--resume", "r.json", *same, "--quiet").code == 0
    assert done == []
    more = ["--seeds", 2, 0, 1, "--lr", 0.01, 0.1, "--workers", 1, "--override", "--quiet"]
    resumed = run("train", "--resume", "r.json", *more)
    assert len(done) == 8
    # What was added holds from then on.
    assert run("train", "--resume", "r.json", "--quiet") == resumed
    assert len(done) == 8
    run("train", *same[:9], *more[:7], "--out", "whole.json")
    assert timeless((tmp_path / "r.json").read_text()) == timeless((tmp_path / "whole.json").read_text())


@pytest.mark.parametrize("name", ["nothing", "l"])
def test_nothing_to_go_on_with(run, command, tmp_path, name):
    before = sorted(tmp_path.iterdir())
    message = (
        f"'{name}.json' has no trainings to go on with ('{name}.trainings.jsonl' is missing); start with --out "
        f"{name}.json"
    )
    assert run("train", "--resume", f"{name}.json") == (2, "", f"evomal: error: {message}\n")
    assert sorted(tmp_path.iterdir()) == before


def test_override_belongs_to_resume(run, command):
    message = "--override is for a call that goes on; give --resume OUT, or leave it out"
    assert run(*command, "--override") == (2, "", f"evomal: error: {message}\n")


def test_a_loss_or_a_task_that_has_changed_is_refused(run, command, monkeypatch, tmp_path):
    run(*command)
    save_loss(tmp_path / "l.json", 1.5)
    message = "loss 'l.json' has changed since 'r.json' was begun; bring back that of then, or give another --out"
    assert run("train", "--resume", "r.json") == (2, "", f"evomal: error: {message}\n")
    save_loss(tmp_path / "l.json")
    journal = tmp_path / JOURNAL
    text = journal.read_text()
    for name in ("data_fingerprint", "test_fingerprint"):
        known = json.loads(text.splitlines()[0])["task"][name]
        journal.write_text(text.replace(known, "0" * 16))
        message = (
            f"the task has changed since 'r.json' was begun ({name} was '{'0' * 16}', now '{known}'); bring back the "
            "data and the model of then, or give another --out"
        )
        assert run("train", "--resume", "r.json") == (2, "", f"evomal: error: {message}\n")
    journal.write_text(text)
    (tmp_path / "l.json").unlink()
    message = "loss file 'l.json': it cannot be read (No such file or directory); check the path"
    assert run("train", "--resume", "r.json") == (2, "", f"evomal: error: {message}\n")


def test_a_journal_alone_does_not_run_code(run, tmp_path):
    (tmp_path / "my.py").write_text(TASK)
    task = ["--task", "my.py:make"]
    assert run("train", "--loss", "mse", *task, "--steps", 5, "--seeds", 0, 1, "--out", "r.json", "--quiet").code == 0
    (tmp_path / "ran").unlink()
    message = (
        "'r.json' was begun with --task my.py:make, whose code is run only where it is named; add --task my.py:make"
    )
    assert run("train", "--resume", "r.json") == (2, "", f"evomal: error: {message}\n")
    assert "there is no Python file other.py" in run("train", "--resume", "r.json", "--task", "other.py:make").err
    assert not (tmp_path / "ran").exists()
    assert run("train", "--resume", "r.json", *task, "--quiet").code == 0
    assert (tmp_path / "ran").exists()
    (tmp_path / "my.py").write_text(TASK.replace("sum(1)", "prod(1)"))
    ended = run("train", "--resume", "r.json", *task)
    assert ended.err.startswith("evomal: error: the task has changed since 'r.json' was begun (data_fingerprint was ")


def test_files_are_what_they_hold_not_how_they_are_named(run, tmp_path, monkeypatch):
    (tmp_path / "my.py").write_text(TASK)
    save_loss(tmp_path / "l.json")
    assert run("train", "--loss", "mse", "l.json", "--task", "my.py:make", "--steps", 5, "--out", "r.json").code == 0
    journal, results = (tmp_path / JOURNAL).read_bytes(), json.loads((tmp_path / "r.json").read_text())["results"]
    (tmp_path / "elsewhere").mkdir()
    for folder, losses, task in [
        (".", ["mse", "./l.json"], "./my.py:make"),
        (".", ["mse", tmp_path / "l.json"], f"{tmp_path}/my.py:make"),
        ("elsewhere", [], "../my.py:make"),
        ("elsewhere", ["mse", "../l.json"], f"{tmp_path}/my.py:make"),
    ]:
        monkeypatch.chdir(tmp_path / folder)
        loss = ["--loss", *losses] if losses else []
        ended = run("train", "--resume", tmp_path / "r.json", *loss, "--task", task, "--quiet")
        assert (ended.code, ended.err) == (0, "")
        assert (tmp_path / JOURNAL).read_bytes() == journal
        assert json.loads((tmp_path / "r.json").read_text())["results"] == results
    save_loss(tmp_path / "elsewhere" / "other.json", 2.0)
    ended = run("train", "--resume", "../r.json", "--loss", "mse", "other.json", "--task", "../my.py:make")
    assert (ended.code, ended.out) == (2, "")
    assert "loss 'l.json' has changed since '../r.json' was begun" in ended.err
    ended = run("train", "--resume", "../r.json")
    assert ended.err.endswith(f"add --task {tmp_path}/my.py:make\n")  # as it can be found from here


def test_what_is_said_after_a_stop_works_as_it_stands(run, stop, tmp_path):
    (tmp_path / "my.py").write_text(TASK)
    command = ["train", "--loss", "mse", "mae", "--task", "my.py:make", "--steps", 5, "--out", "my results.json"]
    stop(1, KeyboardInterrupt())
    ended = run(*command)
    (said,) = [line for line in ended.err.splitlines() if "go on with" in line]
    hint = shlex.split(said.partition("go on with ")[2])
    assert hint == ["evomal", "train", "--resume", "my results.json", "--task", "my.py:make"]
    again = run(*command).err  # what lies there is not thrown away
    assert f"go on with {shlex.join(hint[2:4])} and {shlex.join(hint[4:])}, or start anew with --force" in again
    stop(-1, None)
    assert run(*hint[1:]).code == 0


def test_two_at_a_time_are_refused(run, command, tmp_path):
    run(*command)
    journal = TrainingJournal(tmp_path / "r.json")
    journal.reopen()
    message = f"another evomal is at work in '{JOURNAL}'; wait until it ends, or give another --out"
    try:
        for again in (["train", "--resume", "r.json"], command, [*command, "--force"]):
            assert run(*again) == (2, "", f"evomal: error: {message}\n")
    finally:
        journal.close()
    assert run("train", "--resume", "r.json", "--quiet").code == 0


def test_versions_that_have_changed_are_told(run, command, tmp_path):
    run(*command)
    journal = tmp_path / JOURNAL
    lines = journal.read_text().splitlines(keepends=True)
    call = json.loads(lines[0])
    now, call["versions"]["torch"] = call["versions"]["torch"], "1.0"
    journal.write_text(json.dumps(call) + "\n" + "".join(lines[1:]))
    message = f"finished parts were made with torch 1.0, now torch {now}; results may differ in their last bits"
    for _ in range(2):
        assert run("train", "--resume", "r.json", "--quiet").err == f"evomal: warning: {message}\n"


def damaged(**changes):
    def change(lines):
        return [json.dumps(json.loads(lines[0]) | changes), *lines[1:]]

    return change


def with_training(**changes):
    def change(lines):
        return [*lines[:2], json.dumps(json.loads(lines[2]) | changes), *lines[3:]]

    return change


CALL = f"'{JOURNAL}' is damaged in line 1, which says what was trained"
ANEW = "start anew with --force"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda lines: [lines[0][:-5], *lines[1:]], f"{CALL} (it is not complete, valid JSON); {ANEW}"),
        (damaged(version=2), f"'{JOURNAL}' comes from the future (version 2; this evomal reads 1); update evomal"),
        (damaged(version=True), f"{CALL} (it is not of format evomal-trainings, version 1); {ANEW}"),
        (damaged(workers="many"), f"{CALL} (its workers is odd); {ANEW}"),
        (damaged(losses=[]), f"{CALL} (its losses is odd); {ANEW}"),
        (damaged(losses=[{"name": ["a"], "digest": None}]), f"{CALL} (its losses.0.name is odd); {ANEW}"),
        (damaged(settings={"steps": -1}), f"{CALL} (its settings.steps is odd); {ANEW}"),
        (damaged(task=[]), f"{CALL} (its task is odd); {ANEW}"),
        (damaged(run="rm -r"), f"{CALL} (its run is odd); {ANEW}"),
        (damaged(options={"dataset": 5}), f"'{JOURNAL}' is damaged: its task has dataset 5; {ANEW}"),
        (
            damaged(options={"dataset": "diabetis", "model": "linear"}),
            "unknown data set 'diabetis'; did you mean 'diabetes'?",
        ),
        (with_training(seconds="long"), f"'{JOURNAL}' is damaged in line 3; delete that line to read the others"),
        (with_training(seed=True), f"'{JOURNAL}' is damaged in line 3; delete that line to read the others"),
        (with_training(contender=["mse"]), f"'{JOURNAL}' is damaged in line 3; delete that line to read the others"),
        (with_training(test="low"), f"'{JOURNAL}' is damaged in line 3; delete that line to read the others"),
        (lambda lines: [*lines[:2], "[", *lines[3:]], f"'{JOURNAL}' is damaged in line 3; delete that line to read"),
        (lambda lines: lines[1:], f"'{JOURNAL}' is no journal of evomal train; move it away, or give another --out"),
    ],
)
def test_a_damaged_journal_is_one_line_and_stays_as_it_is(run, command, tmp_path, change, message):
    run(*command)
    journal = tmp_path / JOURNAL
    journal.write_text("\n".join(change(journal.read_text().splitlines())) + "\n")
    before = journal.read_bytes()
    ended = run("train", "--resume", "r.json")
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith(f"evomal: error: {message}")
    assert ended.err.count("\n") == 1
    assert journal.read_bytes() == before


def test_somebody_elses_file_is_never_replaced(run, command, tmp_path):
    (tmp_path / JOURNAL).write_text("mine\n")
    message = f"'{JOURNAL}' is no journal of evomal train; move it away, or give another --out"
    for again in (command, [*command, "--force"], ["train", "--resume", "r.json"]):
        assert run(*again) == (2, "", f"evomal: error: {message}\n")
    assert (tmp_path / JOURNAL).read_text() == "mine\n"


def test_ctrl_c_from_a_shell_keeps_what_is_finished(command, tmp_path, fork):
    slow = [*command, "--steps", "1500"]
    journal = tmp_path / JOURNAL
    process = fork.start(slow, tmp_path, tmp_path / "out", tmp_path / "err", {})
    try:
        wait_for(journal, 2)
        process.send_signal(signal.SIGINT)
        process.wait(120)
    finally:
        process.kill()
    err = (tmp_path / "err").read_text()
    kept = journal.read_bytes().count(b"\n") - 1
    assert process.returncode == 130
    assert f"evomal: {kept} of 4 trainings are finished and kept; go on with evomal train --resume r.json\n" in err
    assert "Traceback" not in err
