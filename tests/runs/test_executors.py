import os
import time

import joblib
import numpy as np
import pytest
import torch

from evomal.errors import DataError
from evomal.losses import SymbolicLoss
from evomal.runs import InProcess, Processes, WorkerError, make_executor
from evomal.tasks import Split

# Functions for workers are made inside the tests: those of a test module cannot be imported by a worker.


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
    folder = executor._folder
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


def _dies(shared):
    import os

    os._exit(9)


def test_a_killed_worker_is_said_in_one_sentence():
    executor = Processes(2)
    try:
        with pytest.raises(WorkerError, match=r"^one of 2 worker processes was killed, perhaps for want of memory;"):
            list(executor.map(_dies, None, [(), ()]))
    finally:
        executor.close()
