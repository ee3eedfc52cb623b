import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from evomal.executors import orphans
from evomal.executors.orphans import PREFIX, TemporaryFolder
from evomal.foundation.errors import RunFolderError

PATIENCE = 60  # seconds; a loaded machine is slow

# One of its two workers sleeps in a job, the other has never had one.
OWNER = """
import sys, threading, time
from pathlib import Path
from evomal.executors import Processes

def job(shared, file):
    import time
    open(file, "w").close()
    time.sleep(600)

def tell(file):
    while not Path(file).exists():
        time.sleep(0.02)
    print(*executor._pool._processes, flush=True)

executor = Processes(2)
threading.Thread(target=tell, args=sys.argv[1:], daemon=True).start()
list(executor.map(job, list(range(10)), [(sys.argv[1],)]))
"""


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """Where this process and those it starts put temporary folders."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder


@pytest.fixture
def owner(temporary, tmp_path):
    """A process with two workers, and their numbers."""
    script = tmp_path / "owner.py"
    script.write_text(OWNER)
    process = subprocess.Popen(
        [sys.executable, str(script), str(tmp_path / "begun")],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        yield process, [int(number) for number in process.stdout.readline().split()]
    finally:
        process.kill()
        process.communicate()


def _lives(number):
    """A dead process whose end nobody has asked for still has a number."""
    try:
        os.kill(number, 0)
        stat = Path(f"/proc/{number}/stat")
        return not stat.parent.parent.is_dir() or stat.read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


def test_workers_of_a_killed_process_end_by_themselves(owner):
    process, workers = owner
    assert len(workers) == 2
    assert all(_lives(number) for number in workers)
    process.kill()
    until = time.monotonic() + PATIENCE
    while any(_lives(number) for number in workers) and time.monotonic() < until:
        time.sleep(0.05)
    assert not any(_lives(number) for number in workers)


def test_the_next_process_removes_the_folder_of_a_killed_one(owner, temporary):
    process, _ = owner
    (left,) = temporary.glob(f"{PREFIX}*")
    assert sorted(file.name for file in left.iterdir()) == [".lock", "0.joblib"]
    second = TemporaryFolder()
    assert left.exists()  # its owner lives
    process.kill()
    process.wait()
    third = TemporaryFolder()
    assert sorted(temporary.glob(f"{PREFIX}*")) == sorted([second.path, third.path])
    second.close()
    third.close()
    assert list(temporary.glob(f"{PREFIX}*")) == []


def test_a_worker_whose_parent_was_gone_before_it_looked_ends_too():
    code = (
        "import time; from evomal.executors.orphans import end_with_parent; end_with_parent(1 << 30); time.sleep(600)"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=PATIENCE).returncode == 1


def test_a_worker_whose_parent_lives_works_on():
    code = (
        "import os, time; from evomal.executors import orphans; orphans.PAUSE = 0.01; "
        "orphans.end_with_parent(os.getppid()); time.sleep(0.3)"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=PATIENCE).returncode == 0


def test_a_folder_of_something_else_stays(temporary):
    names = ["without-lock", "with-more", "not-ours", "stale"]
    for name in names:
        (temporary / f"{PREFIX}{name}").mkdir()
    for name in names[1:]:
        (temporary / f"{PREFIX}{name}/.lock").touch()
    (temporary / f"{PREFIX}with-more/config.yaml").touch()
    (temporary / f"{PREFIX}file").touch()
    linked = temporary / "elsewhere"
    linked.mkdir()
    (linked / ".lock").touch()
    (temporary / f"{PREFIX}link").symlink_to(linked)
    (temporary / "evomal-run").mkdir()
    (temporary / "evomal-run/.lock").touch()
    ours = orphans._private
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(orphans, "_private", lambda folder: not folder.name.endswith("not-ours") and ours(folder))
        TemporaryFolder().close()
    left = {path.name.removeprefix(PREFIX) for path in temporary.iterdir()}
    assert left == {"without-lock", "with-more", "not-ours", "file", "link", "elsewhere", "evomal-run"}


def test_only_folders_of_this_user_are_private(tmp_path, monkeypatch):
    assert orphans._private(tmp_path)
    (tmp_path / "link").symlink_to(tmp_path)
    assert not orphans._private(tmp_path / "link")
    monkeypatch.setattr(os, "getuid", lambda: tmp_path.stat().st_uid + 1)
    assert not orphans._private(tmp_path)


def test_a_folder_that_was_taken_for_a_stale_one_is_given_up_for_another(temporary, monkeypatch):
    taken = []

    class Taken(orphans.FolderLock):
        def __init__(self, folder):
            taken.append(folder)
            if len(taken) == 1:
                raise RunFolderError("another evomal is at work")
            super().__init__(folder)

    monkeypatch.setattr(orphans, "FolderLock", Taken)
    folder = TemporaryFolder()
    assert len(taken) == 2
    assert folder.path == taken[1]
    folder.close()
