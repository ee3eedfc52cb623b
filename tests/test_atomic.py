import os
import threading

import pytest

from evomal import atomic
from evomal.atomic import write_atomically


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

    monkeypatch.setattr(atomic.os, step, fail)
    with pytest.raises(type(error)):
        write_atomically(path, "new")
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file.txt"]


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
