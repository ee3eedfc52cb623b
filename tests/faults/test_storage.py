"""Full disks, folders that are read-only, folders that are taken away: one line, and nothing finished is lost."""

import json
import os
import shutil
from pathlib import Path
from tempfile import mkdtemp

import pytest

import evomal
from evomal.foundation.errors import RunFolderError, StorageError
from evomal.search import Watcher
from evomal.store import comparable, read_journal
from evomal.tasks import named_task
from helpers import fast, forks, operations

ARGUMENTS = ["learn", *forks.IRIS, "--generations", "6", "--quiet"]  # its journal is longer than a checkpoint
KEPT = "what is finished is kept: make room there, then go on with --resume"


@pytest.fixture
def place():
    """A folder that anybody can look into, as those of pytest are root's alone."""
    folder = Path(mkdtemp())
    folder.chmod(0o755)
    yield folder
    for path in (folder, *folder.rglob("*")):
        if path.is_dir():
            path.chmod(0o755)
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def finished(fork, tmp_path_factory):
    """The finished run of `ARGUMENTS`."""
    folder = tmp_path_factory.mktemp("finished")
    assert fork(command=[*ARGUMENTS, "--out", "run"], cwd=folder).code == 0
    return fast.files(folder / "run")


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """A search that nothing happened to."""
    return fast.whole(tmp_path_factory.mktemp("runs") / "a")


def _raised(work):
    """What of our errors a piece of work ends with."""
    try:
        work()
    except (StorageError, RunFolderError) as error:
        return error
    return None


def _same(folder, finished):
    """The run is the finished one, but for times."""
    expected = fast.lay(folder.parent / "expected", finished)
    assert comparable(read_journal(folder)) == comparable(read_journal(expected))
    assert (folder / "loss.json").read_bytes() == finished["loss.json"]
    shutil.rmtree(expected)


def _one_line(ended, code, start, end=""):
    assert (ended.code, ended.out) == (code, "")
    assert ended.err.startswith(f"evomal: error: {start}")
    assert ended.err.endswith(f"{end}\n")
    assert ended.err.count("\n") == 1


def _half(finished):
    """A run that was killed in its third generation."""
    lines = finished["journal.jsonl"].splitlines(keepends=True)
    return finished | {"journal.jsonl": b"".join(lines[:12])}


def test_no_room_for_the_settings(fork, tmp_path):
    ended = fork(command=[*ARGUMENTS, "--out", "deep/run"], cwd=tmp_path, largest=300)
    _one_line(ended, 2, "'deep/run' cannot be written (File too large); give another --out")
    assert list(tmp_path.iterdir()) == []


def test_no_room_for_the_first_checkpoint(fork, tmp_path, finished):
    ended = fork(command=[*ARGUMENTS, "--out", "run"], cwd=tmp_path, largest=5000)
    _one_line(ended, 1, f"'{tmp_path / 'run' / 'checkpoint' / 'state.json'}' cannot be written (File too large); ")
    assert list(tmp_path.iterdir()) == []
    assert fork(command=[*ARGUMENTS, "--out", "run"], cwd=tmp_path).code == 0
    _same(tmp_path / "run", finished)


def test_no_room_for_the_journal(fork, tmp_path, finished):
    largest = max(len(finished[f"checkpoint/{name}.json"]) for name in ("state", "previous")) + 1000
    assert largest < len(finished["journal.jsonl"])
    run = tmp_path / "run"
    told = f"'{run / 'journal.jsonl'}' cannot be written (File too large); {KEPT}"
    _one_line(fork(command=[*ARGUMENTS, "--out", "run"], cwd=tmp_path, largest=largest), 1, told)
    left = (run / "journal.jsonl").read_bytes()
    assert left.endswith(b"\n")  # what was written of a line is taken back
    assert len(left.splitlines()) > 5
    _one_line(fork(command=["learn", "--resume", "run", "--quiet"], cwd=tmp_path, largest=largest), 1, told)
    assert (run / "journal.jsonl").read_bytes() == left
    assert fork(command=["learn", "--resume", "run", "--quiet"], cwd=tmp_path).code == 0
    assert (run / "journal.jsonl").read_bytes().startswith(left)
    _same(run, finished)


def test_no_room_for_the_new_settings_of_an_old_run(fork, tmp_path, finished):
    folder = fast.lay(tmp_path / "run", finished)
    ended = fork(command=["learn", "--resume", "run", "--override", "--workers", "2", "--generations", "7"],
                 cwd=tmp_path, largest=1000)  # fmt: skip
    _one_line(ended, 1, f"'{folder / 'checkpoint' / 'state.json'}' cannot be written (File too large); {KEPT}")
    assert fast.files(folder) == finished
    assert fork(command=["learn", "--resume", "run", "--quiet"], cwd=tmp_path).code == 0


def _numbers(reference, names, tmp_path, monkeypatch):
    """The numbers of a search's operations of these names."""
    with monkeypatch.context() as patch:
        point = operations.Point()
        operations.install(point, patch.setattr)
        fast.learn(tmp_path / "counted")
    shutil.rmtree(tmp_path / "counted")
    return [number for number, (name, _) in enumerate(point.seen) if name in names]


@pytest.mark.parametrize(
    ("name", "every", "within"),
    [
        ("write", 3, True),
        ("append", 4, False),
        ("fsync", 7, False),
        ("replace", 5, False),
    ],
)
@pytest.mark.parametrize("lasting", [True, False], ids=["and stays so", "for once"])
def test_the_disk_is_full(tmp_path, monkeypatch, reference, name, every, within, lasting):
    for number in _numbers(reference, (name,), tmp_path, monkeypatch)[int(lasting) :: every]:
        folder = tmp_path / str(number)
        with monkeypatch.context() as patch:
            operations.install(operations.Full(number, within, lasting), patch.setattr)
            error = _raised(lambda folder=folder: fast.learn(folder / "a"))
        if isinstance(error, StorageError):
            assert str(error).startswith(f"'{folder / 'a'}/")
            assert str(error).partition("; ")[0].endswith("' cannot be written (No space left on device)")
        elif error is not None:
            assert str(error) == f"'{folder / 'a'}' cannot be written (No space left on device); give another `out`"
            assert not folder.exists() or list(folder.iterdir()) == []
        else:  # only that a renaming outlasts a failure of power, and folders that are there already
            assert name in ("fsync", "mkdir")
        left = fast.files(folder / "a") if folder.exists() else {}
        assert left.get("journal.jsonl", b"").endswith(b"\n") or left.get("journal.jsonl", b"") == b""
        assert not any(Path(each).name.startswith(".") and each != ".lock" for each in left)
        assert fast.told(fast.learn(folder / "a", resume=True), folder / "a") == reference.told
        shutil.rmtree(folder)


SMALL = {
    "population_size": 2, "generations": 1, "partial_steps": 4, "rejection": False, "batch_size": 32, "steps": 3,
    "finals": False,
}  # fmt: skip


class NoRoom(operations.Point):
    """The disk is full for a file of one name, or for the journals from one line on."""

    def __init__(self, name="", lines=1000):
        super().__init__()
        self.name, self.lines = name, lines

    def before(self, name, what, some):
        self.lines -= name == "append"
        if (name, what) == ("replace", self.name) or self.lines < 0:
            raise OSError(28, "No space left on device")


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """Compares in a folder, or in one of its own, and gives what the trainings came to."""
    iris, own = named_task("iris", "linear"), tmp_path_factory.mktemp("compared") / "c"

    def compared(folder=own):
        evomal.compare(iris, ["gplfl", "focal"], (0, 1), out=folder, **SMALL)
        contenders = json.loads((folder / "table.json").read_text())["contenders"]
        return [[(run["lr"], run["seed"], run["valid"], run["test"]) for run in each["runs"]] for each in contenders]

    return compared


@pytest.mark.parametrize(
    ("point", "where"),
    [
        ({"name": "loss.json"}, "searches/gplfl-seed0/loss.json"),
        ({"name": "search.json"}, "searches/gplfl-seed0/search.json"),
        ({"lines": 1}, "searches/gplfl-seed0/journal.jsonl"),
        ({"lines": 7}, "trainings.jsonl"),
        ({"name": "table.md"}, "table.md"),
        ({"name": "table.csv"}, "table.csv"),
        ({"name": "table.json"}, "table.json"),
    ],
    ids=str,
)
def test_the_disk_is_full_while_losses_are_compared(tmp_path, monkeypatch, compared, point, where):
    with monkeypatch.context() as patch:
        operations.install(NoRoom(**point), patch.setattr)
        with pytest.raises(StorageError) as caught:
            compared(tmp_path / "c")
    assert str(caught.value) == (
        f"'{tmp_path / 'c' / where}' cannot be written (No space left on device); what is finished is kept: make room "
        "there, then do the same again"
    )
    kept = tmp_path / "c" / "trainings.jsonl"
    before = kept.read_bytes() if kept.exists() else b""
    assert compared(tmp_path / "c") == compared()
    assert kept.read_bytes().startswith(before)


DENIED = "cannot be written (Permission denied); "


def test_a_run_cannot_begin_in_a_folder_that_is_read_only(fork, place):
    (place / "closed").mkdir()
    (place / "closed").chmod(0o555)
    for out in ("closed/run", "closed/deep/down/run"):
        ended = fork(command=[*ARGUMENTS, "--out", out], cwd=place, nobody=True)
        _one_line(ended, 2, f"'{out}' {DENIED}give another --out")
    assert list((place / "closed").iterdir()) == []


def _close(folder):
    """Take away the right to write, of everybody."""
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)


def test_a_run_cannot_go_on_in_a_folder_that_is_read_only(fork, place, finished):
    folder = fast.lay(place / "run", _half(finished))
    _close(folder)
    before = fast.files(folder)
    ended = fork(command=["learn", "--resume", "run"], cwd=place, nobody=True)
    _one_line(ended, 2, f"'run' {DENIED}make it writable, or go on with a copy of it")
    more = ["--override", "--generations", "7"]
    ended = fork(command=["learn", "--resume", "run", *more], cwd=place, nobody=True)
    _one_line(ended, 2, f"'run' {DENIED}make it writable, or go on with a copy of it")
    assert fast.files(folder) == before
    shutil.copytree(folder, place / "copy")
    for path in (place / "copy", *(place / "copy").rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    assert fork(command=["learn", "--resume", "copy", "--quiet"], cwd=place).code == 0
    _same(place / "copy", finished)


def test_a_finished_run_in_a_folder_that_is_read_only_tells_its_result(fork, place, finished):
    folder = fast.lay(place / "run", finished)
    _close(folder)
    ended = fork(command=["learn", "--resume", "run", "--json"], cwd=place, nobody=True)
    assert (ended.code, ended.err) == (0, "")
    assert json.loads(ended.out)["fitness"] == json.loads(finished["loss.json"])["fitness"]
    ended = fork(command=["learn", "--resume", "run"], cwd=place, nobody=True)
    assert (ended.code, ended.err) == (0, "")
    assert "fitness" in ended.out
    assert fast.files(folder) == finished


@pytest.mark.parametrize("name", ["journal.jsonl", "checkpoint/state.json"])
def test_a_part_of_a_run_is_read_only(fork, place, finished, name):
    folder = fast.lay(place / "run", _half(finished))
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o777 if path.is_dir() else 0o666)
    part = folder / name
    (part if name == "journal.jsonl" else part.parent).chmod(0o444 if name == "journal.jsonl" else 0o555)
    ended = fork(command=["learn", "--resume", "run", "--quiet"], cwd=place, nobody=True)
    _one_line(ended, 1, f"'{part}' {DENIED}{KEPT}")
    for path in (folder, folder / "checkpoint"):
        path.chmod(0o777)
    part.chmod(0o666)
    assert fork(command=["learn", "--resume", "run", "--quiet"], cwd=place, nobody=True).code == 0
    _same(folder, finished)


@pytest.mark.parametrize("name", ["run", "run/config.yaml", "run/journal.jsonl"])
def test_a_run_of_somebody_else_that_cannot_be_read(fork, place, finished, name):
    fast.lay(place / "run", finished)
    (place / name).chmod(0)
    ended = fork(command=["learn", "--resume", "run"], cwd=place, nobody=True)
    _one_line(ended, 2, "'run")
    assert "unexpected" not in ended.err
    ended = fork(search={"resume": True}, out=place / "run", nobody=True)
    assert ended.code == 1
    assert ended.err.startswith("RunFolderError: ")


class Taking(Watcher):
    """Takes a folder away after so many members."""

    def __init__(self, members, take):
        self.left, self.take = members, take

    def member(self, candidate, best):
        self.left -= 1
        if self.left == 0:
            self.take()


@pytest.mark.parametrize("members", [1, 4, 5, 9, 14, 15])
@pytest.mark.parametrize("how", ["deleted", "moved", "with the folder above"])
def test_a_run_whose_folder_is_taken_away_ends(tmp_path, members, how):
    folder = tmp_path / "above" / "a"

    def take():
        if how == "moved":
            folder.rename(tmp_path / "moved")
        else:
            shutil.rmtree(folder if how == "deleted" else folder.parent)

    with pytest.raises(StorageError, match=r"^'.*' cannot be written "):
        fast.learn(folder, watcher=Taking(members, take))
    assert not folder.exists()  # nothing is made anew that would look like a run
    if how == "moved":
        moved = tmp_path / "moved"
        assert len(read_journal(moved)) in (members, members + 1)
        fast.learn(moved, resume=True)


TAKEN = """
import shutil
import torch
from evomal import Task

made = 0

def model():
    global made
    made += 1
    if made == 30:
        shutil.rmtree("run")
    return torch.nn.Linear(4, 3)

def make():
    y = torch.arange(60) % 3
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(3, 4, generator=draw)[y] + torch.randn(60, 4, generator=draw)
    return Task(model, (x, y), name="taken")
"""


def test_the_command_whose_folder_is_deleted_ends_with_one_line(fork, tmp_path):
    (tmp_path / "mine.py").write_text(TAKEN)
    ended = fork(command=["learn", "--task", "mine.py:make", *forks.IRIS[4:], "--out", "run", "--quiet"], cwd=tmp_path)
    _one_line(ended, 1, f"'{tmp_path / 'run'}")
    assert not (tmp_path / "run").exists()


OBSTACLES = {
    "loss.json": (1, "'run/loss.json' cannot be written (Is a directory); " + KEPT),
    "checkpoint": (1, "'{run}/checkpoint/state.json' cannot be written (File exists); " + KEPT),
    "journal.jsonl": (2, "'run' holds no readable journal.jsonl; give the folder of a run"),
    "config.yaml": (2, "'run' holds no run (config.yaml is missing); give the folder of a run"),
    ".lock": (2, "'run' cannot be written (Is a directory); make it writable, or go on with a copy of it"),
}


@pytest.mark.parametrize("name", OBSTACLES)
def test_something_else_lies_where_a_file_should(fork, tmp_path, finished, name):
    folder = fast.lay(tmp_path / "run", _half(finished))
    if name == "checkpoint":
        shutil.rmtree(folder / name)
        (folder / name).write_text("mine")
    else:
        (folder / name).unlink(missing_ok=True)
        (folder / name / "mine").mkdir(parents=True)
    code, line = OBSTACLES[name]
    _one_line(fork(command=["learn", "--resume", "run", "--quiet"], cwd=tmp_path), code, line.format(run=folder))
    assert (folder / name / "mine").exists() or (folder / name).read_text() == "mine"


def test_whoever_runs_these_tests_a_fork_without_rights_has_none(fork, place):
    (place / "closed").mkdir()
    (place / "closed").chmod(0o555)
    ended = fork(search={}, out=place / "closed" / "a", nobody=True)
    assert (ended.code, ended.err.partition(":")[0]) == (1, "RunFolderError")
    assert os.listdir(place / "closed") == []
