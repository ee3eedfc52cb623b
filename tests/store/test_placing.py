"""A run folder that is a mount point: as the kernel says, it cannot be renamed, or nothing can be made beside it."""

import errno
import os
from pathlib import Path

import pytest

from evomal.foundation.errors import RunFolderError
from evomal.foundation.files import FolderLock
from evomal.store import RunFolder
from evomal.store.placing import ASIDE, WITHIN, bring_back, make_beside, put_aside, replaced, sweep


def test_runs_whose_long_names_begin_alike_leave_one_another_alone(tmp_path):
    one, other = (tmp_path / ("x" * 110 + end) for end in "ab")
    left = replaced(make_beside(one))
    left.mkdir()
    sweep(other)
    bring_back(other)
    assert left.exists()
    assert not other.exists()
    bring_back(one)
    assert one.exists()


BUSY = OSError(errno.EBUSY, "Device or resource busy")
DENIED = PermissionError(errno.EACCES, "Permission denied")


@pytest.fixture(params=["renaming", "making beside"])
def place(request, tmp_path, monkeypatch):
    """A folder that is there and stays the same one."""
    place = tmp_path / "out"
    place.mkdir()
    rename, mkdir = Path.rename, Path.mkdir

    def no_rename(self, target):
        if place in (self, Path(target)) and place.exists():
            raise BUSY
        return rename(self, target)

    def no_mkdir(self, *arguments, **options):
        if self.parent == tmp_path and self != place:
            raise DENIED
        return mkdir(self, *arguments, **options)

    if request.param == "renaming":
        monkeypatch.setattr(Path, "rename", no_rename)
    else:
        monkeypatch.setattr(Path, "mkdir", no_mkdir)
    number = place.stat().st_ino
    yield place
    assert place.stat().st_ino == number
    assert os.listdir(tmp_path) == ["out"]


def _files(folder):
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def _begun(place, seed, force=False):
    folder = RunFolder(place, force=force)
    folder.prepare({"settings": {"seed": seed}})
    folder.begin()
    return folder


def _kept(place, seed, force=False):
    folder = _begun(place, seed, force)
    journal = folder.journal()
    journal.write({"generation": 0, "index": 0, "seed": seed})
    journal.close()
    folder.checkpoints.write({"seed": seed})
    folder.keep()
    folder.discard()
    return folder


def test_a_run_begins_in_an_empty_place(place):
    _kept(place, 1)
    assert sorted(_files(place)) == [".lock", "checkpoint/state.json", "config.yaml", "journal.jsonl"]
    again = RunFolder(place, resume=True)
    assert again.config["settings"] == {"seed": 1}
    assert again.records() == [{"generation": 0, "index": 0, "seed": 1}]
    again.discard()


def test_what_a_file_system_has_at_its_top_is_no_run(place):
    (place / "lost+found").mkdir()
    _kept(place, 1)
    _kept(place, 2, force=True)
    assert (place / "lost+found").is_dir()


def test_a_run_that_has_nothing_to_show_leaves_the_place_empty(place):
    _begun(place, 1).discard()
    assert list(place.iterdir()) == []
    folder = RunFolder(place)
    folder.prepare({"settings": {}})  # and is never begun
    folder.discard()
    assert list(place.iterdir()) == []


def test_what_lies_there_is_replaced_only_by_force_and_comes_back_if_nothing_comes_of_it(place):
    _kept(place, 1)
    before = _files(place)
    with pytest.raises(RunFolderError, match="already holds a run"):
        RunFolder(place)
    folder = _begun(place, 2, force=True)
    with pytest.raises(RunFolderError, match="another evomal is at work"):
        RunFolder(place, resume=True)
    folder.discard()
    assert _files(place) == before
    _kept(place, 2, force=True)
    assert '"seed": 2' in (place / "journal.jsonl").read_text()
    assert [each.name for each in place.iterdir() if each.name.startswith((WITHIN, ASIDE))] == []


@pytest.mark.parametrize("moved", range(1, 4))
def test_an_exchange_that_was_killed_is_undone_by_the_next_call(place, moved):
    _kept(place, 1)
    before = _files(place)
    aside = put_aside(place)
    for name in sorted(os.listdir(aside))[: 3 - moved]:  # killed before these were moved
        if name != "config.yaml":
            (aside / name).rename(place / name)
    (place / f"{WITHIN}0").mkdir()  # of a call that was killed before
    with pytest.raises(RunFolderError, match="already holds a run"):
        RunFolder(place)
    assert {name: text for name, text in _files(place).items() if not name.startswith(WITHIN)} == before
    _kept(place, 2, force=True)
    assert [each.name for each in place.iterdir() if each.name.startswith((WITHIN, ASIDE))] == []


def test_what_another_process_exchanges_is_left_to_it(place):
    _kept(place, 1)
    put_aside(place)
    lock = FolderLock(place)
    before = _files(place)
    RunFolder(place)  # an empty place, as far as can be seen
    assert _files(place) == before
    lock.release()


def test_a_failure_in_the_middle_leaves_all_as_it_was(place, monkeypatch):
    _kept(place, 1)
    before = _files(place)
    folder = RunFolder(place, force=True)
    folder.prepare({"settings": {"seed": 2}})

    def full(source, target):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("evomal.store.placing.shutil.move", full)
    with pytest.raises(RunFolderError, match=r"cannot be written \(No space left on device\)"):
        folder.begin()
    folder.discard()
    assert _files(place) == before
