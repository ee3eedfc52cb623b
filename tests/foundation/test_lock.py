import signal
import subprocess
import sys
from time import monotonic

import pytest

from evomal.foundation.errors import RunFolderError
from evomal.foundation.files import LOCK, FolderLock

HOLDER = """
import sys
from pathlib import Path
from evomal.foundation.files import FolderLock

lock = FolderLock(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
{end}
"""


def _held(folder, end):
    """Another process that holds the lock of a folder until its standard input ends."""
    command = [sys.executable, "-c", HOLDER.format(end=end), str(folder)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    return process


def _refused(folder, place=None, **options):
    with pytest.raises(RunFolderError) as caught:
        FolderLock(folder, **options)
    place = place or folder
    assert str(caught.value) == f"another evomal is at work in '{place}'; wait until it ends, or give another `out`"
    assert caught.value.__suppress_context__


def test_one_at_a_time(tmp_path):
    first = FolderLock(tmp_path)
    _refused(tmp_path)
    _refused(tmp_path)  # a refused one has taken nothing, and left nothing
    first.release()
    FolderLock(tmp_path).release()
    assert [entry.name for entry in tmp_path.iterdir()] == [LOCK]
    assert (tmp_path / LOCK).read_bytes() == b""


@pytest.mark.parametrize("kill", [True, False])
def test_a_dead_owner_holds_nothing(tmp_path, kill):
    with _held(tmp_path, end="import os; os.abort()") as process:
        try:
            _refused(tmp_path)
            process.kill() if kill else process.stdin.close()
            assert process.wait(60) == (-signal.SIGKILL if kill else -signal.SIGABRT)
            FolderLock(tmp_path).release()
        finally:
            process.kill()


def test_who_is_patient_waits(tmp_path, monkeypatch):
    first, waits = FolderLock(tmp_path), []

    def sleep(seconds):
        waits.append(seconds)
        if len(waits) == 3:
            first.release()

    monkeypatch.setattr("evomal.foundation.files.sleep", sleep)
    FolderLock(tmp_path, patience=60.0).release()
    assert len(waits) == 3


def test_patience_ends(tmp_path):
    first, start = FolderLock(tmp_path), monotonic()
    _refused(tmp_path, patience=0.12)
    assert monotonic() - start >= 0.12
    first.release()


def test_a_file_is_locked_alone(tmp_path):
    file, other = FolderLock(tmp_path, name="r.lock"), FolderLock(tmp_path, name="s.lock")
    whole = FolderLock(tmp_path)
    _refused(tmp_path, tmp_path / "r.lock", name="r.lock")
    for lock in (file, other, whole):
        lock.release()
    FolderLock(tmp_path, name="r.lock").release()


def test_a_folder_that_is_not_there_is_the_systems_refusal(tmp_path):
    with pytest.raises(FileNotFoundError):
        FolderLock(tmp_path / "a")
    assert list(tmp_path.iterdir()) == []


def test_a_system_without_locks_lets_everybody_in(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "fcntl", None)  # as on Windows: importing it fails
    first, second = FolderLock(tmp_path), FolderLock(tmp_path)
    first.release()
    second.release()


def test_a_file_system_without_locks_lets_everybody_in(tmp_path, monkeypatch):
    def flock(file, how):
        raise OSError(37, "No locks available")

    monkeypatch.setattr("fcntl.flock", flock)
    first, second = FolderLock(tmp_path), FolderLock(tmp_path)
    first.release()
    second.release()
