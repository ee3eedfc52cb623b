import json
import os
import resource
from contextlib import closing

import pytest

from evomal.foundation.errors import RunFolderError, StorageError
from evomal.store import Journal, RunFolder, comparable, read_journal, read_records, skim_journal
from evomal.store.journal import CHUNK, JOURNAL


def _record(generation, index, **more):
    return {"generation": generation, "index": index, "fitness": 0.5, "seconds": {"tune": 1.5}} | more


def _journal(folder, records):
    with closing(Journal(folder / JOURNAL)) as journal:
        for record in records:
            journal.write(record)


def test_records_come_back_sorted(tmp_path):
    records = [_record(1, 0), _record(0, 10, fitness=None), _record(0, 2, note="φ\n\u2028x")]
    _journal(tmp_path, records)
    assert read_journal(tmp_path) == [records[2], records[1], records[0]]
    assert len((tmp_path / JOURNAL).read_bytes().splitlines()) == 3


def test_a_record_is_in_the_file_at_once(tmp_path):
    with closing(Journal(tmp_path / JOURNAL)) as journal:
        journal.write(_record(0, 0))
        assert read_journal(tmp_path) == [_record(0, 0)]
        journal.write(_record(0, 1))
        assert len(read_journal(tmp_path)) == 2


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_number_that_json_does_not_have_is_refused(tmp_path, value):
    with closing(Journal(tmp_path / JOURNAL)) as journal:
        journal.write(_record(0, 0))
        with pytest.raises(ValueError, match="not JSON compliant"):
            journal.write(_record(0, 1, weights=[1.0, value]))
        journal.write(_record(0, 2))
    assert [record["index"] for record in read_journal(tmp_path)] == [0, 2]


def test_a_journal_cut_anywhere_keeps_its_whole_lines(tmp_path):
    _journal(tmp_path, [_record(0, index, note="é") for index in range(3)])
    file = tmp_path / JOURNAL
    data = file.read_bytes()
    for length in range(len(data) + 1):
        file.write_bytes(data[:length])
        assert len(read_journal(tmp_path)) == data[:length].count(b"\n")


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
    (tmp_path / JOURNAL).write_text(f"{good}\n{line}\n{good}\n")
    with pytest.raises(RunFolderError) as caught:
        read_journal(tmp_path)
    assert (
        str(caught.value) == f"'{tmp_path / 'journal.jsonl'}' is damaged in line 2; delete that line to read the others"
    )


def test_records_are_skimmed_one_at_a_time(tmp_path):
    records = [_record(1, 0), _record(0, 10, fitness=None), _record(0, 2, note="φ\n\u2028x")]
    _journal(tmp_path, records)
    with (tmp_path / JOURNAL).open("a") as file:
        file.write('{"generation": 3, "in')  # torn
    found = skim_journal(tmp_path)
    assert next(found) == records[0]
    assert list(found) == records[1:]


@pytest.mark.parametrize("line", ["", "{", "[1, 2]", "{}", '{"generation": 0, "index": NaN}', "[" * 200_000, "\x00"])
def test_a_damaged_line_is_named_when_skimmed(tmp_path, line):
    (tmp_path / JOURNAL).write_text(f"{json.dumps(_record(0, 0))}\n{line}\n")
    with pytest.raises(RunFolderError, match=r"is damaged in line 2; delete that line to read the others$"):
        list(skim_journal(tmp_path))


@pytest.mark.parametrize("torn", [1, CHUNK - 1, CHUNK, 2 * CHUNK + 7])
@pytest.mark.parametrize("whole", [0, 1, 3])
def test_a_torn_line_of_any_length_is_cut_off(tmp_path, whole, torn):
    lines = b"".join(b"x" * CHUNK + b"\n" for _ in range(whole))
    (tmp_path / JOURNAL).write_bytes(lines + b"y" * torn)
    Journal(tmp_path / JOURNAL).close()
    assert (tmp_path / JOURNAL).read_bytes() == lines


def test_no_journal_is_said(tmp_path):
    message = f"'{tmp_path}' holds no readable journal.jsonl; give the folder of a run"
    for spoil in (lambda: None, (tmp_path / JOURNAL).mkdir):
        spoil()
        with pytest.raises(RunFolderError) as caught:
            read_journal(tmp_path)
        assert str(caught.value) == message
    (tmp_path / JOURNAL).rmdir()
    (tmp_path / JOURNAL).write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RunFolderError) as caught:
        read_journal(tmp_path)
    assert str(caught.value) == message


def test_an_empty_journal_has_no_records(tmp_path):
    with closing(Journal(tmp_path / JOURNAL)):
        pass
    assert read_journal(tmp_path) == []


def test_journals_are_equal_but_for_their_times():
    one, other = [_record(0, 0)], [_record(0, 0, seconds={"tune": 99.0})]
    assert one != other
    assert comparable(one) == comparable(other) == [{"generation": 0, "index": 0, "fitness": 0.5}]
    assert comparable(one) != comparable([_record(0, 0, fitness=0.4)])
    assert "seconds" in one[0]


@pytest.mark.parametrize("torn", ['{"generation": 0, "ind', "x" * 100, "é", "\x00" * 40])
def test_a_record_is_never_written_onto_a_torn_line(tmp_path, torn):
    file = tmp_path / JOURNAL
    _journal(tmp_path, [_record(0, 0), _record(0, 1)])
    whole = file.read_bytes()
    file.write_bytes(whole + torn.encode())
    assert read_journal(tmp_path) == [_record(0, 0), _record(0, 1)]
    with closing(Journal(file)):
        assert file.read_bytes() == whole
    _journal(tmp_path, [_record(0, 2)])
    assert read_journal(tmp_path) == [_record(0, index) for index in range(3)]


def test_a_journal_that_is_one_torn_line(tmp_path):
    (tmp_path / JOURNAL).write_bytes(b'{"generation": 0')
    assert read_journal(tmp_path) == []
    _journal(tmp_path, [_record(0, 0)])
    assert read_journal(tmp_path) == [_record(0, 0)]


def test_opening_a_whole_journal_leaves_it_as_it_is(tmp_path):
    _journal(tmp_path, [_record(0, 0)])
    before = (tmp_path / JOURNAL).stat().st_mtime_ns, (tmp_path / JOURNAL).read_bytes()
    with closing(Journal(tmp_path / JOURNAL)):
        pass
    assert ((tmp_path / JOURNAL).stat().st_mtime_ns, (tmp_path / JOURNAL).read_bytes()) == before


def test_records_of_any_kind_in_their_order(tmp_path):
    records = [{"contender": "b"}, {"contender": "a", "loss": None}, {}]
    _journal(tmp_path, records)
    assert read_records(tmp_path / JOURNAL) == records


def test_a_run_folder_has_its_journal(tmp_path):
    folder = RunFolder(tmp_path / "a")
    folder.prepare({"settings": {}})
    folder.begin()
    with closing(folder.journal()) as journal:
        journal.write(_record(0, 0))
    assert read_journal(tmp_path / "a") == [_record(0, 0)]


def _unstorable(file, what):
    return (
        f"'{file}' cannot be written ({what}); what is finished is kept: make room there, then go on with `resume=True`"
    )


def test_a_record_is_on_the_disk_when_write_returns(tmp_path, monkeypatch):
    file, synced = tmp_path / JOURNAL, []
    fsync = os.fsync

    def spied(handle):
        synced.append((os.fstat(handle).st_ino, file.read_bytes()))
        fsync(handle)

    monkeypatch.setattr(os, "fsync", spied)
    with closing(Journal(file)) as journal:
        assert synced == []
        for index in range(2):
            journal.write(_record(0, index))
            lines = [json.dumps(_record(0, i)) + "\n" for i in range(index + 1)]
            assert synced[index:] == [(file.stat().st_ino, "".join(lines).encode())]


@pytest.fixture
def room():
    """Sets how many bytes a file may have: as on a full disk, what fits is written, then the system refuses."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (before[0] if size is None else size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_record_that_does_not_fit_leaves_whole_lines_whatever_fitted(tmp_path, room):
    file, record = tmp_path / JOURNAL, _record(0, 1, note="é" * 10)
    with closing(Journal(file)) as journal:
        journal.write(_record(0, 0))
        whole = file.read_bytes()
        length = len(json.dumps(record)) + 1
        for fitting in range(length):
            room(len(whole) + fitting)
            with pytest.raises(StorageError) as caught:
                journal.write(record)
            room(None)
            assert str(caught.value) == _unstorable(file, "File too large")
            assert file.read_bytes() == whole
        room(len(whole) + length)
        journal.write(record)
        room(None)
        journal.write(_record(0, 2))
    assert read_journal(tmp_path) == [_record(0, 0), record, _record(0, 2)]


def test_a_full_disk_leaves_nothing_waiting_for_the_end(tmp_path, room):
    file = tmp_path / JOURNAL
    journal = Journal(file)
    journal.write(_record(0, 0))
    whole = file.read_bytes()
    room(len(whole) + 7)
    with pytest.raises(StorageError):
        journal.write(_record(0, 1))
    room(None)
    journal.close()  # a buffer would write the rest of the line now
    assert file.read_bytes() == whole


def test_a_line_is_whole_however_little_the_system_takes_at_a_time(tmp_path):
    class Slow:
        def __init__(self, file):
            self.file = file

        def write(self, data):
            return self.file.write(data[:3])

        def __getattr__(self, name):
            return getattr(self.file, name)

    with closing(Journal(tmp_path / JOURNAL)) as journal:
        journal._file = Slow(journal._file)
        journal.write(_record(0, 0, note="φ"))
        journal.write(_record(0, 1))
    assert read_journal(tmp_path) == [_record(0, 0, note="φ"), _record(0, 1)]


def test_a_disk_that_fails_while_it_settles_is_told(tmp_path, monkeypatch):
    def fail(handle):
        raise OSError(5, "Input/output error")

    file = tmp_path / JOURNAL
    with closing(Journal(file)) as journal:
        journal.write(_record(0, 0))
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", fail)
            with pytest.raises(StorageError) as caught:
                journal.write(_record(0, 1))
        assert str(caught.value) == _unstorable(file, "Input/output error")
        assert read_journal(tmp_path)[0] == _record(0, 0)
        journal.write(_record(0, 2))
    assert read_journal(tmp_path)[-1] == _record(0, 2)


def test_a_journal_that_cannot_be_opened(tmp_path):
    file = tmp_path / "gone" / JOURNAL
    with pytest.raises(StorageError) as caught:
        Journal(file)
    assert str(caught.value) == _unstorable(file, "No such file or directory")
    (tmp_path / JOURNAL).mkdir()
    with pytest.raises(StorageError) as caught:
        Journal(tmp_path / JOURNAL)
    assert str(caught.value) == _unstorable(tmp_path / JOURNAL, "Is a directory")
