import errno
import fcntl
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import closing
from pathlib import Path

import joblib
import numpy as np
import pytest
import torch

from evomal.executors import InProcess, Processes, WorkerError, make_executor
from evomal.executors.pool import end_spare_workers
from evomal.foundation.errors import DataError, SettingError, StorageError
from evomal.losses import SymbolicLoss
from evomal.tasks import Split
from helpers import forks

# Functions for workers are made inside the tests: those of a test module cannot be imported by a worker.


@pytest.fixture(scope="module", autouse=True)
def _real_workers():
    """Not forks of a warm process, as elsewhere in the tests."""
    end_spare_workers()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(forks.loky, "fork_exec", forks.fork_exec)
        yield
    end_spare_workers()


@pytest.fixture(scope="module")
def processes():
    executor = Processes(2)
    yield executor
    executor.close()


@pytest.fixture(params=["in_process", "processes"])
def executor(request):
    return InProcess() if request.param == "in_process" else request.getfixturevalue("processes")


def test_results_come_in_the_order_of_the_jobs(executor):
    def slow_first(shared, number, seconds):
        time.sleep(seconds)
        return shared["offset"] + number

    jobs = [(number, 0.2 if number == 0 else 0.0) for number in range(6)]
    assert list(executor.map(slow_first, {"offset": 10}, jobs)) == [10, 11, 12, 13, 14, 15]


def test_what_is_finished_waits_for_no_slow_job(processes):
    def until(shared, number, file):
        while number == 0 and not os.path.exists(file):
            time.sleep(0.01)
        return shared + number

    file = Path(tempfile.mkdtemp()) / "all others are finished"
    seen = []
    for place, result in processes.as_finished(until, 10, [(number, str(file)) for number in range(4)]):
        seen.append((place, result))
        if len(seen) == 3:
            file.touch()
    assert sorted(seen[:3]) == [(1, 11), (2, 12), (3, 13)]
    assert seen[3] == (0, 10)


def test_of_jobs_that_wait_the_most_urgent_begins_next():
    with InProcess().stream([]) as stream:
        for number, rank in enumerate([(2, 0), (0, 1), (1, 5), (0, 0), (1, 5)]):
            assert stream.submit(lambda shared, number: shared.append(number), (number,), rank) == number
        assert [stream.next_finished()[0] for _ in range(2)] == [3, 1]
        stream.submit(lambda shared, number: shared.append(number), (5,), (0, 7))
        assert [stream.next_finished() for _ in range(4)] == [(5, None), (2, None), (4, None), (0, None)]


def test_jobs_come_out_as_they_finish_and_may_follow_from_one_another(executor):
    def double(shared, number):
        time.sleep(0.2 if number == 1 else 0.0)
        return shared * number

    with executor.stream(2) as stream:
        left = {stream.submit(double, (number,), rank=(number,)) for number in (1, 2, 3)}
        chain, sums = [], set()
        while left:
            number, result = stream.next_finished()
            left.remove(number)
            sums.add(result)
            if len(chain) < 3:
                chain.append(stream.submit(double, (result,)))
                left.add(chain[-1])
    assert {2, 4, 6} < sums
    assert len(sums) >= 5
    assert chain == [3, 4, 5]


def test_the_most_urgent_job_is_next_when_a_worker_is_done(processes):
    def began(shared, number):
        time.sleep(0.05)
        return number, time.monotonic()

    with processes.stream(None) as stream:
        for number in range(12):
            stream.submit(began, (number,), rank=(-number,))
        found = [stream.next_finished()[1] for _ in range(12)]
    order = [number for number, _ in sorted(found, key=lambda each: each[1])]
    assert order[0] > 8
    assert max(abs(place - (11 - number)) for place, number in enumerate(order)) <= 2  # two run side by side


def test_a_stream_that_is_left_gives_up_what_is_under_way(processes, tmp_path):
    def note(shared, folder, seconds):
        (Path(folder) / str(os.getpid())).touch()
        time.sleep(seconds)

    with processes.stream(None) as stream:
        for _ in range(5):
            stream.submit(note, (str(tmp_path), 600), rank=(1,))
        stream.submit(note, (str(tmp_path), 0), rank=(0,))
        stream.next_finished()
    assert list(processes.map(divmod, 7, [(2,)] * 3)) == [(3, 1)] * 3
    assert len(list(tmp_path.iterdir())) <= 2


def test_no_jobs_no_results(executor):
    assert list(executor.map(divmod, 7, [])) == []


def test_each_shared_object_is_its_own(executor):
    def total(shared, factor):
        return float(factor * shared.sum())

    first, second = np.arange(4.0), np.ones(3)
    assert list(executor.map(total, first, [(1,), (2,)])) == [6.0, 12.0]
    assert list(executor.map(total, second, [(1,), (2,)])) == [3.0, 6.0]
    assert list(executor.map(total, first, [(3,)])) == [18.0]


def test_an_exception_comes_back_as_it_is(executor):
    def fail(shared, number):
        if number == 2:
            raise DataError(f"job {number} holds nan (first in row 3); remove or fill in such rows")
        return number

    with pytest.raises(DataError) as caught:
        list(executor.map(fail, None, [(0,), (1,), (2,)]))
    assert str(caught.value) == "job 2 holds nan (first in row 3); remove or fill in such rows"
    # It can be used afterwards.
    assert list(executor.map(fail, None, [(5,)])) == [5]


def test_processes_compute_what_this_process_computes(processes):
    def gradient_sum(split, loss, scale):
        outputs = (scale * split.x).requires_grad_()
        loss(outputs, split.y).backward()
        return outputs.grad.double().sum().item(), outputs.grad.abs().double().sum().item()

    draw = torch.Generator().manual_seed(0)
    split = Split(torch.randn(50, 4, generator=draw), torch.randint(0, 4, (50,), generator=draw))
    loss = SymbolicLoss("abs(log(mul(y, f)))", torch.randn(4, generator=draw), task_type="classification")
    jobs = [(loss, scale) for scale in (0.1, 1.0, 3.0)]
    assert list(processes.map(gradient_sum, split, jobs)) == list(InProcess().map(gradient_sum, split, jobs))


def test_workers_are_other_processes_of_one_thread(processes):
    def whoami(shared):
        time.sleep(0.1)
        return os.getpid(), torch.get_num_threads()

    seen = list(processes.map(whoami, None, [()] * 4))
    assert os.getpid() not in {pid for pid, _ in seen}
    assert {threads for _, threads in seen} == {1}


def test_arrays_are_mapped_into_all_workers_and_none_can_change_them(processes):
    def spoil(shared):
        before = float(shared[0])
        shared[0] = 99.0
        return type(shared).__name__, str(shared.filename), before

    shared = np.arange(1e5)
    seen = list(processes.map(spoil, shared, [()] * 2))
    assert {kind for kind, _, _ in seen} == {"memmap"}
    assert len({file for _, file, _ in seen}) == 1
    assert seen[0][2] == 0.0
    assert shared[0] == 0.0
    assert float(joblib.load(seen[0][1])[0]) == 0.0


def test_closing_removes_what_was_written():
    executor = Processes(2)
    assert list(executor.map(divmod, 7, [(2,)])) == [(3, 1)]
    folder = executor._folder.path
    assert list(folder.iterdir())
    executor.close()
    assert not folder.exists()
    executor.close()


def test_in_process_works_only_when_asked():
    done = []
    results = InProcess().map(lambda shared, number: done.append(number), None, [(1,), (2,)])
    assert done == []
    next(results)
    assert done == [1]


def test_one_worker_is_this_process():
    here, there = make_executor(1), make_executor(3)
    assert type(here) is InProcess
    assert (type(there), there.workers) == (Processes, 3)
    here.close()
    there.close()


def test_where_work_is_done_can_be_said():
    assert type(make_executor(1, "here")) is InProcess
    there = make_executor(1, "processes")
    assert (type(there), there.workers) == (Processes, 1)
    there.close()


@pytest.mark.parametrize(
    ("workers", "choices", "message"),
    [
        (3, {"executor": "here"}, "setting 'executor': 'here' has one worker, not 3; give `workers=1`, or 'processes'"),
        *(
            (
                2,
                {"executor": name, "address": "head:6379"},
                f"setting 'address': 'head:6379' is for executor 'ray', not '{name}'; leave it out",
            )
            for name in ("auto", "here", "processes")
        ),
    ],
)
def test_choices_that_do_not_fit_together(workers, choices, message):
    with pytest.raises(SettingError) as caught:
        make_executor(workers, **choices)
    assert str(caught.value) == message


@pytest.fixture
def noted(tmp_path):
    """What jobs wrote down, in the order in which they did."""
    file = tmp_path / "noted"
    file.touch()
    return file


@pytest.mark.parametrize("late", [0.0, 0.3])
def test_what_a_killed_worker_did_is_done_again(processes, noted, caplog, late):
    def dies_once(shared, number, file):
        with open(file, "a") as lines:
            lines.write(f"{number}\n")
        if number == 3 and Path(file).read_text().split().count("3") == 1:
            time.sleep(late)
            os._exit(9)
        return number * shared

    results = processes.map(dies_once, 10, [(number, str(noted)) for number in range(8)])
    assert list(results) == [0, 10, 20, 30, 40, 50, 60, 70]
    assert [record.getMessage() for record in caplog.records] == [
        "one of 2 worker processes was killed, perhaps for want of memory; what it was doing is done again"
    ]
    assert not caplog.records[0].exc_info


def test_what_was_yielded_is_not_done_again(processes, noted):
    def job(shared, number, file):
        with open(file, "a") as lines:
            lines.write(f"{number}\n")
        if number == 5 and Path(file).read_text().split().count("5") == 1:
            os._exit(9)
        return number

    results = processes.map(job, None, [(number, str(noted)) for number in range(6)])
    seen = [next(results), next(results)]
    done = noted.read_text().split()
    assert seen + list(results) == list(range(6))
    assert [noted.read_text().split().count(str(number)) for number in seen] == [done.count(str(n)) for n in seen]


def test_a_worker_killed_from_outside_is_started_again(processes, noted, caplog):
    def waits_once(shared, file):
        first = not Path(file).read_text()
        with open(file, "a") as lines:
            lines.write(f"{os.getpid()}\n")
        if first:
            time.sleep(600)
        return shared

    def kill():
        while not noted.read_text().endswith("\n"):
            time.sleep(0.01)
        os.kill(int(noted.read_text()), signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    assert list(processes.map(waits_once, 7, [(str(noted),)])) == [7]
    killer.join()
    assert len(noted.read_text().split()) == 2
    assert len(caplog.records) == 1


def test_workers_killed_between_two_maps_are_started_again(processes):
    def whoami(shared):
        return os.getpid()

    (first,) = processes.map(whoami, None, [()])
    os.kill(first, signal.SIGKILL)
    (second,) = processes.map(whoami, None, [()])
    assert first != second


def test_a_worker_whose_memory_grows_lives_on(processes, recwarn):
    """loky takes it for leaky and starts it anew, with a warning: it loads PyTorch and data after its first job."""

    def grow(shared, number):
        import evomal.executors.processes as module

        if number:
            module.__dict__.setdefault("kept", bytearray(b"x" * (310 << 20)))
            time.sleep(1.1)
        return os.getpid()

    before = set(processes.map(grow, None, [(0,)] * 8))
    during = set(processes.map(grow, None, [(1,)] * 3))
    assert before <= during
    assert len(during) == 2
    assert [warning for warning in recwarn if "stopped" in str(warning.message)] == []
    processes.end_workers()  # the memory is needed no more


def test_workers_are_left_to_the_next_executor_of_so_many():
    def whoami(shared):
        time.sleep(0.2)
        return os.getpid()

    seen = []
    for workers in (2, 2, 1):
        with closing(Processes(workers)) as executor:
            seen.append(set(executor.map(whoami, None, [()] * 4)))
    assert seen[0] == seen[1]
    assert not seen[0] & seen[2]


def test_jobs_that_do_not_fit_together_get_through(processes, tmp_path):
    def large(shared, number, memory):
        with open(memory, "a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os._exit(9)
            time.sleep(0.5)
        return number

    assert list(processes.map(large, None, [(n, str(tmp_path / "memory")) for n in range(3)])) == [0, 1, 2]


def test_a_job_is_alone_after_two_breaks(processes, noted, caplog):
    def job(shared, number, file):
        def lines():
            return Path(file).read_text().split()

        with open(file, "a") as out:
            out.write(f"{number}\n")
        if number == 0:
            if lines().count("0") < 3:
                os._exit(9)
            before = len(lines())
            time.sleep(0.5)
            return len(lines()) - before
        while lines().count("0") < 3:  # a job that is done between two breaks would begin their count anew
            time.sleep(0.01)
        return number

    assert list(processes.map(job, None, [(number, str(noted)) for number in range(4)])) == [0, 1, 2, 3]
    told = "one of 2 worker processes was killed, perhaps for want of memory; what it was doing is done again"
    assert [record.getMessage() for record in caplog.records] == [told, f"{told}, with one worker at a time"]


def test_workers_that_are_killed_without_end_are_given_up(processes):
    def job(shared, number):
        if number == 2:
            os._exit(9)
        return number

    results = processes.map(job, None, [(number,) for number in range(4)])
    seen = []
    with pytest.raises(WorkerError) as caught:
        seen.extend(results)
    assert str(caught.value) == (
        "one of 2 worker processes was killed 3 times in a row, perhaps for want of memory; what is finished is kept, "
        "go on with fewer workers"
    )
    assert seen == [0, 1]
    # It can be used afterwards.
    assert list(processes.map(divmod, 7, [(2,)])) == [(3, 1)]


def test_an_exception_is_no_reason_to_do_it_again(processes, noted, caplog):
    def fail(shared, file):
        with open(file, "a") as lines:
            lines.write("called\n")
        raise MemoryError("a tensor of 10 TiB")

    with pytest.raises(MemoryError, match=r"^a tensor of 10 TiB$"):
        list(processes.map(fail, None, [(str(noted),)]))
    assert noted.read_text().split() == ["called"]
    assert caplog.records == []


def test_ctrl_c_is_left_to_the_parent(processes):
    def interrupted(shared):
        signal.raise_signal(signal.SIGINT)
        return shared

    assert list(processes.map(interrupted, 7, [()] * 3)) == [7] * 3


NEEDED = "and several workers need it; make room there, "
FULL = OSError(errno.ENOSPC, "No space left on device")


def _refusing(error):
    def refuse(*arguments, **options):
        raise error

    return refuse


def test_a_temporary_folder_without_room_is_named(monkeypatch):
    monkeypatch.setattr("tempfile.mkdtemp", _refusing(FULL))
    with pytest.raises(StorageError) as caught:
        Processes(2)
    another = "name another one in TMPDIR, or give `workers=1`"
    assert str(caught.value) == (
        f"'{tempfile.gettempdir()}' cannot be written (No space left on device), {NEEDED}{another}"
    )


def test_data_that_do_not_fit_into_the_temporary_folder_leave_nothing_there(monkeypatch):
    def half(shared, path):
        path.write_bytes(b"half of it")
        raise FULL

    monkeypatch.setattr("joblib.dump", half)
    with closing(Processes(2)) as executor:
        with pytest.raises(StorageError, match=r"cannot be written \(No space left on device\), and several workers"):
            list(executor.map(lambda shared, number: number, "shared", [(1,)]))
        assert [path.name for path in executor._folder.path.iterdir() if path.suffix == ".joblib"] == []


def test_what_cannot_be_sent_is_said_in_one_sentence_and_leaves_nothing(processes):
    def there():
        return sorted(path.name for path in processes._folder.path.iterdir())

    def named(shared, other):
        return 1

    before, lock = there(), threading.Lock()
    for shared, other in (({"held": lock}, 1), (None, lock)):
        with pytest.raises(SettingError) as caught:
            list(processes.map(named, shared, [(other,)]))
        assert str(caught.value) == (
            "what is worked on cannot be sent to workers (TypeError: cannot pickle '_thread.lock' object); leave out "
            "of model, data and functions what holds that, or give `workers=1`"
        )
        assert {*there()} - {*before} <= {f"{len(before) - 1}.joblib"}  # that of None
    assert list(processes.map(divmod, 7, [(2,)])) == [(3, 1)]


@pytest.mark.parametrize("error", [FULL, OSError(errno.EROFS, "Read-only file system")])
def test_shared_memory_without_room_is_named_and_nobody_works_alone_instead(monkeypatch, error):
    monkeypatch.setattr("multiprocessing.context.BaseContext.Lock", _refusing(error))
    with pytest.raises(StorageError) as caught:
        Processes(2)
    assert str(caught.value) == f"'/dev/shm' cannot be written ({error.strerror}), {NEEDED}or give `workers=1`"


def test_a_file_that_is_named_like_a_library_is_not_taken_for_it(tmp_path):
    for name in ("queue", "types", "random", "socket"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('this file is run')")
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts" / "work.py").write_text(
        "import os\n"
        "from evomal.executors import Processes\n"
        "executor = Processes(2)\n"
        "print(list(executor.map(lambda shared, number: (shared + number, os.environ.get('PYTHONSAFEPATH')), 1, "
        "[(1,), (2,)])))\n"
        "executor.close()\n"
        "print(os.environ.get('PYTHONSAFEPATH'))\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
    ended = subprocess.run(
        [sys.executable, "scripts/work.py"], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert (ended.stdout, ended.stderr) == ("[(2, None), (3, None)]\nNone\n", "")
