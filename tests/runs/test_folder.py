import json
from contextlib import closing

import pytest
import yaml

from evomal.errors import RunFolderError
from evomal.runs import Journal, RunFolder, comparable, read_journal

CONFIG = {"settings": {"seed": 3, "lr": 1e-3, "note": "φ"}}


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
    return folder


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
    assert yaml.safe_load((path / "config.yaml").read_text(encoding="utf-8")) == CONFIG
    assert [entry.name for entry in path.parent.iterdir()] == ["a"]
    folder.keep()
    folder.discard()  # of a run that has something to show nothing is discarded
    assert (path / "config.yaml").is_file()
    assert folder.loss == path / "loss.json"


def test_an_empty_folder_can_be_used(tmp_path):
    path = tmp_path / "a"
    path.mkdir()
    _started(path)
    assert [entry.name for entry in path.iterdir()] == ["config.yaml"]


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
        _refused(f"'{path}' is a file; give a folder for --out", path, force)
    assert _snapshot(tmp_path) == {"a": b"mine"}


def test_a_run_is_refused_without_force(tmp_path):
    path = tmp_path / "a"
    _started(path)
    before = _snapshot(tmp_path)
    _refused(f"'{path}' already holds a run; give another --out, or --force to replace it", path)
    assert _snapshot(tmp_path) == before


def test_what_is_not_a_run_is_refused_even_with_force(tmp_path):
    (tmp_path / "thesis.tex").write_text("mine")
    before = _snapshot(tmp_path)
    _refused(f"'{tmp_path}' already holds a run; give another --out, or --force to replace it", tmp_path)
    _refused(f"'{tmp_path}' holds files that are not a run; give another folder for --out", tmp_path, force=True)
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
    assert list(_snapshot(path)) == ["config.yaml"]
    assert yaml.safe_load((path / "config.yaml").read_text()) == {"settings": {"seed": 4}}


def test_what_was_left_of_an_earlier_start_is_no_hindrance(tmp_path):
    RunFolder(tmp_path / "a").prepare({"settings": {"seed": 9}})  # and then the power failed
    _started(tmp_path / "a")
    assert [p.name for p in tmp_path.iterdir() if not p.name.startswith(".a.starting-")] == ["a"]
    assert yaml.safe_load((tmp_path / "a" / "config.yaml").read_text(encoding="utf-8")) == CONFIG


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
    with pytest.raises(RunFolderError, match="already holds a run; give another --out, or --force"):
        second.begin()
    second.discard()
    assert yaml.safe_load((tmp_path / "a" / "config.yaml").read_text(encoding="utf-8")) == CONFIG
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("name", ["a" * 300, "nul\0"])
def test_names_that_no_folder_can_have(tmp_path, name):
    with pytest.raises(RunFolderError, match="cannot be a run folder"):
        RunFolder(tmp_path / name)


@pytest.mark.parametrize("name", [".", "", "..", "/", "../inner"])
def test_the_folder_that_we_are_in_is_refused(tmp_path, monkeypatch, name):
    (tmp_path / "inner").mkdir()
    monkeypatch.chdir(tmp_path / "inner")
    _refused(f"'{name}' is or holds the current folder; give a folder of its own for --out", name, force=True)
    assert _snapshot(tmp_path) == {"inner": None}


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
    assert [entry.name for entry in (tmp_path / "disk").iterdir()] == ["config.yaml"]
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a", "disk"]


def test_a_place_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("mine")
    path = tmp_path / "file" / "a"
    folder = RunFolder(path)
    with pytest.raises(RunFolderError) as caught:
        folder.prepare(CONFIG)
    assert str(caught.value) == f"'{path}' cannot be written (File exists); give another --out"
    assert _snapshot(tmp_path) == {"file": b"mine"}


def _record(generation, index, **more):
    return {"generation": generation, "index": index, "fitness": 0.5, "seconds": {"tune": 1.5}} | more


def _journal(folder, records):
    with closing(folder.journal()) as journal:
        for record in records:
            journal.write(record)


def test_records_come_back_sorted(tmp_path):
    folder = _started(tmp_path / "a")
    records = [_record(1, 0), _record(0, 10, fitness=None), _record(0, 2, note="φ\n\u2028x")]
    _journal(folder, records)
    assert read_journal(tmp_path / "a") == [records[2], records[1], records[0]]
    assert len((tmp_path / "a" / "journal.jsonl").read_bytes().splitlines()) == 3


def test_a_record_is_in_the_file_at_once(tmp_path):
    folder = _started(tmp_path / "a")
    with closing(folder.journal()) as journal:
        journal.write(_record(0, 0))
        assert read_journal(tmp_path / "a") == [_record(0, 0)]
        journal.write(_record(0, 1))
        assert len(read_journal(tmp_path / "a")) == 2


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_number_that_json_does_not_have_is_refused(tmp_path, value):
    folder = _started(tmp_path / "a")
    with closing(folder.journal()) as journal:
        journal.write(_record(0, 0))
        with pytest.raises(ValueError, match="not JSON compliant"):
            journal.write(_record(0, 1, weights=[1.0, value]))
        journal.write(_record(0, 2))
    assert [record["index"] for record in read_journal(tmp_path / "a")] == [0, 2]


def test_a_journal_cut_anywhere_keeps_its_whole_lines(tmp_path):
    folder = _started(tmp_path / "a")
    _journal(folder, [_record(0, index, note="é") for index in range(3)])
    file = tmp_path / "a" / "journal.jsonl"
    data = file.read_bytes()
    for length in range(len(data) + 1):
        file.write_bytes(data[:length])
        assert len(read_journal(tmp_path / "a")) == data[:length].count(b"\n")


@pytest.mark.parametrize(
    "line",
    [
        "",
        "{",
        "[1, 2]",
        "null",
        '"generation"',
        "{}",
        '{"generation": 0}',
        '{"generation": "0", "index": 1}',
        '{"generation": 0, "index": 1.5}',
        json.dumps(_record(0, 1))[:20] + json.dumps(_record(0, 2)),
        "[" * 20_000,
        "\x00" * 40,
    ],
    ids=lambda line: repr(line)[:20],
)
def test_a_damaged_line_in_the_middle_is_named(tmp_path, line):
    good = json.dumps(_record(0, 0))
    (tmp_path / "journal.jsonl").write_text(f"{good}\n{line}\n{good}\n")
    with pytest.raises(RunFolderError) as caught:
        read_journal(tmp_path)
    assert str(caught.value) == f"'{tmp_path / 'journal.jsonl'}' is damaged in line 2; it cannot be read"


def test_no_journal_is_said(tmp_path):
    message = f"'{tmp_path}' holds no readable journal.jsonl; give the folder of a run"
    for spoil in (lambda: None, (tmp_path / "journal.jsonl").mkdir):
        spoil()
        with pytest.raises(RunFolderError) as caught:
            read_journal(tmp_path)
        assert str(caught.value) == message
    (tmp_path / "journal.jsonl").rmdir()
    (tmp_path / "journal.jsonl").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RunFolderError) as caught:
        read_journal(tmp_path)
    assert str(caught.value) == message


def test_an_empty_journal_has_no_records(tmp_path):
    with closing(Journal(tmp_path / "journal.jsonl")):
        pass
    assert read_journal(tmp_path) == []


def test_journals_are_equal_but_for_their_times():
    one, other = [_record(0, 0)], [_record(0, 0, seconds={"tune": 99.0})]
    assert one != other
    assert comparable(one) == comparable(other) == [{"generation": 0, "index": 0, "fitness": 0.5}]
    assert comparable(one) != comparable([_record(0, 0, fitness=0.4)])
    assert "seconds" in one[0]
