import errno
import os
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path
from time import monotonic

import pytest

from evomal.foundation import files
from evomal.foundation.errors import RunFolderError, StorageError
from evomal.foundation.files import LOCK, FolderLock, require_writable, storing, write_atomically


def test_a_new_file_in_new_folders(tmp_path):
    path = tmp_path / "a" / "b" / "file.txt"
    write_atomically(path, "φ = 1\n")
    assert path.read_bytes() == "φ = 1\n".encode()
    assert [entry.name for entry in path.parent.iterdir()] == ["file.txt"]
    assert path.stat().st_mode & 0o777 == 0o644


def test_an_old_file_is_replaced(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("old and longer")
    write_atomically(path, "new")
    assert path.read_text() == "new"


@pytest.mark.parametrize("step", ["fsync", "chmod", "replace"])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_whatever_fails_leaves_the_old_file_alone(tmp_path, monkeypatch, step, error):
    path = tmp_path / "file.txt"
    path.write_text("old")

    def fail(*arguments):
        raise error

    monkeypatch.setattr(files.os, step, fail)
    with pytest.raises(type(error)):
        write_atomically(path, "new")
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file.txt"]


@pytest.mark.parametrize(("mask", "mode"), [(0o077, 0o600), (0o002, 0o664), (0o027, 0o640)])
def test_a_new_file_has_the_rights_that_the_umask_leaves(tmp_path, mask, mode):
    before = os.umask(mask)
    try:
        write_atomically(tmp_path / "folder" / "file.txt", "new")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "folder" / "file.txt").stat().st_mode) == mode
    assert stat.S_IMODE((tmp_path / "folder").stat().st_mode) == 0o777 & ~mask


def test_a_file_that_is_replaced_keeps_its_rights(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("old")
    path.chmod(0o600)
    write_atomically(path, "new")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_mount_point_is_written_in_its_place(tmp_path, monkeypatch):
    path = tmp_path / "file.txt"
    path.write_text("old and longer")
    number = path.stat().st_ino

    def busy(source, target):  # what the kernel answers
        raise OSError(errno.EBUSY, "Device or resource busy")

    monkeypatch.setattr(files.os, "replace", busy)
    write_atomically(path, "new")
    assert (path.read_text(), path.stat().st_ino) == ("new", number)
    assert os.listdir(tmp_path) == ["file.txt"]


def test_a_pipe_stays_a_pipe(tmp_path):
    path, read = tmp_path / "pipe", []
    os.mkfifo(path)
    reader = threading.Thread(target=lambda: read.append(path.read_text()))
    reader.start()
    write_atomically(path, "new")
    reader.join()
    assert read == ["new"]
    assert stat.S_ISFIFO(path.stat().st_mode)


def test_that_a_file_can_be_written_is_found_out_by_writing(tmp_path, monkeypatch):
    require_writable(tmp_path / "a" / "b" / "r.json")
    assert [path.name for path in tmp_path.rglob("*")] == ["a", "b"]
    with pytest.raises(OSError, match="File name too long"):
        require_writable(tmp_path / ("x" * 255))
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OSError, match=r"directory|exists"):
        require_writable(tmp_path / "file" / "r.json")
    with pytest.raises(OSError, match="No such file"):  # which os.access allows to root
        require_writable(Path("/proc/r.json"))


def test_text_that_has_no_bytes_leaves_the_old_file_alone(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("old")
    with pytest.raises(UnicodeEncodeError):
        write_atomically(path, "\ud800")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file.txt"]


def test_a_folder_in_its_place_stays(tmp_path):
    (tmp_path / "file.txt").mkdir()
    with pytest.raises(OSError, match="directory"):
        write_atomically(tmp_path / "file.txt", "new")
    assert os.listdir(tmp_path) == ["file.txt"]


def test_a_reader_sees_one_whole_text_or_the_other(tmp_path):
    path, seen = tmp_path / "file.txt", set()
    texts = ["a" * 50_000, "b" * 70_000]
    write_atomically(path, texts[0])
    done = threading.Event()

    def read():
        while not done.is_set():
            seen.add(path.read_text())

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(40):
        write_atomically(path, texts[number % 2])
    done.set()
    reader.join()
    assert seen <= set(texts)
    assert seen


@pytest.mark.parametrize(
    ("error", "what"),
    [
        (OSError(28, "No space left on device"), "No space left on device"),
        (PermissionError(13, "Permission denied", "secret/name"), "Permission denied"),
        (OSError("the disk is away"), "the disk is away"),
    ],
)
def test_what_cannot_be_stored_is_said_in_one_sentence(tmp_path, error, what):
    path = tmp_path / "journal.jsonl"
    with pytest.raises(StorageError) as caught, storing(path):
        raise error
    assert str(caught.value) == (
        f"'{path}' cannot be written ({what}); what is finished is kept: make room there, then go on with `resume=True`"
    )
    assert caught.value.__suppress_context__


@pytest.mark.parametrize("error", [ValueError("not JSON compliant"), KeyboardInterrupt(), StorageError("inner")])
def test_whatever_is_not_the_systems_refusal_goes_through(tmp_path, error):
    with pytest.raises(type(error)) as caught, storing(tmp_path):
        raise error
    assert caught.value is error


def test_a_full_disk_is_a_storage_error_and_the_old_file_is_there(tmp_path, monkeypatch):
    def full(*arguments):
        raise OSError(28, "No space left on device")

    path = tmp_path / "loss.json"
    path.write_text("old")
    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(StorageError, match="No space left on device"), storing(path):
        write_atomically(path, "new")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["loss.json"]


def test_a_file_is_on_the_disk_before_its_name_is_and_the_name_before_it_returns(tmp_path, monkeypatch):
    path, order = tmp_path / "file.txt", []
    fsync, replace = os.fsync, os.replace

    def synced(handle):
        order.append("folder" if stat.S_ISDIR(os.fstat(handle).st_mode) else "file")
        fsync(handle)

    def renamed(source, target):
        order.append("name")
        replace(source, target)

    monkeypatch.setattr(files.os, "fsync", synced)
    monkeypatch.setattr(files.os, "replace", renamed)
    write_atomically(path, "new")
    assert order == ["file", "name", "folder"]


def test_a_system_that_cannot_sync_a_folder_is_no_hindrance(tmp_path, monkeypatch):
    opened, refused = os.open, []

    def refuse(path, flags, *mode):
        if os.path.isdir(path):  # as on Windows
            refused.append(path)
            raise PermissionError(13, "Permission denied")
        return opened(path, flags, *mode)

    monkeypatch.setattr(files.os, "open", refuse)
    write_atomically(tmp_path / "file.txt", "new")
    assert (tmp_path / "file.txt").read_text() == "new"
    assert refused == [tmp_path]


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
