import pytest
import yaml

from evomal.foundation.errors import RunFolderError
from evomal.store import RunFolder

CONFIG = {"settings": {"seed": 3, "lr": 1e-3, "note": "φ"}}
HELD = "already holds a run; go on with it by `resume=True`, give another `out`, or `force=True` to replace it"
MARK = {"format": "evomal-run", "version": 1}


def _snapshot(folder):
    """Every file below a folder with its content, every folder with None."""
    return {
        str(path.relative_to(folder)): None if path.is_dir() else path.read_bytes()
        for path in sorted(folder.rglob("*"))
    }


def _started(path, force=False):
    folder = RunFolder(path, force)
    folder.prepare(CONFIG)
    folder.begin()
    folder.keep()
    folder.discard()  # lets others in
    return folder


def _dies(folder):
    """As if its process had been killed: the system gives its locks back, and nothing else happens."""
    for lock in folder._locks:
        lock.release()


def _refused(message, path, force=False):
    with pytest.raises(RunFolderError) as caught:
        RunFolder(path, force)
    assert str(caught.value) == message


def test_a_run_appears_whole_when_it_begins(tmp_path):
    path = tmp_path / "runs" / "a"
    folder = RunFolder(path)
    assert not path.parent.exists()
    folder.prepare(CONFIG)
    assert not path.exists()
    folder.begin()
    assert yaml.safe_load((path / "config.yaml").read_text(encoding="utf-8")) == MARK | CONFIG
    assert [entry.name for entry in path.parent.iterdir()] == ["a"]
    folder.keep()
    folder.discard()  # of a run that has something to show nothing is discarded
    assert (path / "config.yaml").is_file()
    assert folder.loss == path / "loss.json"


def test_an_empty_folder_can_be_used(tmp_path):
    path = tmp_path / "a"
    path.mkdir()
    _started(path)
    assert sorted(entry.name for entry in path.iterdir()) == [".lock", "config.yaml"]


def test_a_run_that_cannot_start_leaves_nothing(tmp_path):
    folder = RunFolder(tmp_path / "deep" / "down" / "a")
    folder.prepare(CONFIG)
    folder.discard()
    assert list(tmp_path.iterdir()) == []
    folder.discard()


def test_discarding_keeps_folders_that_hold_something(tmp_path):
    folder = RunFolder(tmp_path / "deep" / "down" / "a")
    folder.prepare(CONFIG)
    (tmp_path / "deep" / "mine.txt").write_text("mine")
    folder.discard()
    assert _snapshot(tmp_path) == {"deep": None, "deep/mine.txt": b"mine"}


def test_a_file_is_refused(tmp_path):
    path = tmp_path / "a"
    path.write_text("mine")
    for force in (False, True):
        _refused(f"'{path}' is a file; give a folder for `out`", path, force)
    assert _snapshot(tmp_path) == {"a": b"mine"}


def test_a_run_is_refused_without_force(tmp_path):
    path = tmp_path / "a"
    _started(path)
    before = _snapshot(tmp_path)
    _refused(f"'{path}' {HELD}", path)
    assert _snapshot(tmp_path) == before


def test_what_is_not_a_run_is_refused_even_with_force(tmp_path):
    (tmp_path / "thesis.tex").write_text("mine")
    before = _snapshot(tmp_path)
    _refused(
        f"'{tmp_path}' {HELD}",
        tmp_path,
    )
    _refused(f"'{tmp_path}' holds files that are not a run; give another folder for `out`", tmp_path, force=True)
    assert _snapshot(tmp_path) == before


def test_force_replaces_a_run_only_when_the_new_one_begins(tmp_path):
    path = tmp_path / "a"
    old = _started(path)
    old.loss.write_text("old")
    before = _snapshot(path)
    folder = RunFolder(path, force=True)
    folder.prepare({"settings": {"seed": 4}})
    assert _snapshot(path) == before
    folder.discard()
    assert _snapshot(tmp_path) == {"a": None} | {f"a/{name}": data for name, data in before.items()}
    folder.prepare({"settings": {"seed": 4}})
    folder.begin()
    assert list(_snapshot(path)) == [".lock", "config.yaml"]
    assert yaml.safe_load((path / "config.yaml").read_text()) == MARK | {"settings": {"seed": 4}}


def test_what_was_left_of_an_earlier_start_is_no_hindrance(tmp_path):
    left = RunFolder(tmp_path / "a")
    left.prepare({"settings": {"seed": 9}})
    alive = RunFolder(tmp_path / "a")
    alive.prepare({"settings": {"seed": 8}})
    _dies(left)
    _started(tmp_path / "a")
    assert len(list(tmp_path.iterdir())) == 2  # what is still at work stays
    alive.discard()
    assert [p.name for p in tmp_path.iterdir()] == ["a"]
    assert yaml.safe_load((tmp_path / "a" / "config.yaml").read_text(encoding="utf-8")) == MARK | CONFIG


def test_a_run_that_ends_before_its_first_record_leaves_everything_as_it_was(tmp_path):
    folder = RunFolder(tmp_path / "a")
    folder.prepare(CONFIG)
    folder.begin()
    folder.discard()
    assert _snapshot(tmp_path) == {}
    _started(tmp_path / "a")
    before = _snapshot(tmp_path)
    folder = RunFolder(tmp_path / "a", force=True)
    folder.prepare({"settings": {"seed": 9}})
    folder.begin()
    assert _snapshot(tmp_path) != before
    folder.discard()
    assert _snapshot(tmp_path) == before


def test_two_runs_that_start_at_once_do_not_share_a_folder(tmp_path):
    first, second = RunFolder(tmp_path / "a"), RunFolder(tmp_path / "a")
    first.prepare(CONFIG)
    second.prepare({"settings": {"seed": 9}})
    first.begin()
    with pytest.raises(RunFolderError, match=HELD):
        second.begin()
    second.discard()
    assert yaml.safe_load((tmp_path / "a" / "config.yaml").read_text(encoding="utf-8")) == MARK | CONFIG
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("name", ["a" * 300, "nul\0"])
def test_names_that_no_folder_can_have(tmp_path, name):
    with pytest.raises(RunFolderError, match="cannot be a run folder"):
        RunFolder(tmp_path / name)


@pytest.mark.parametrize("name", [".", "", "..", "/", "../inner"])
def test_the_folder_that_we_are_in_is_refused(tmp_path, monkeypatch, name):
    (tmp_path / "inner").mkdir()
    monkeypatch.chdir(tmp_path / "inner")
    _refused(f"'{name}' is or holds the current folder; give a folder of its own for `out`", name, force=True)
    assert _snapshot(tmp_path) == {"inner": None}


def test_a_current_folder_that_was_removed(tmp_path, monkeypatch):
    (tmp_path / "inner").mkdir()
    monkeypatch.chdir(tmp_path / "inner")
    (tmp_path / "inner").rmdir()
    with pytest.raises(RunFolderError, match=r"\(the current folder was removed\); go to another one$"):
        RunFolder(tmp_path / "a")


def test_a_relative_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    _started("runs/../a")
    assert (tmp_path / "a" / "config.yaml").is_file()


def test_a_link_is_followed_and_stays(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "a").symlink_to(tmp_path / "disk")
    _started(tmp_path / "a")
    _started(tmp_path / "a", force=True)
    assert (tmp_path / "a").is_symlink()
    assert sorted(entry.name for entry in (tmp_path / "disk").iterdir()) == [".lock", "config.yaml"]
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a", "disk"]


def test_a_place_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("mine")
    path = tmp_path / "file" / "a"
    folder = RunFolder(path)
    with pytest.raises(RunFolderError) as caught:
        folder.prepare(CONFIG)
    assert str(caught.value) == f"'{path}' cannot be written (File exists); give another `out`"
    assert _snapshot(tmp_path) == {"file": b"mine"}
