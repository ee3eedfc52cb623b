"""Several threads of one process: each comes to what it comes to alone."""

import os
import signal
import threading

import pytest
import torch
from torch import nn

import evomal
from evomal.foundation.contexts import exclusive
from evomal.foundation.seeds import seeded
from evomal.training import one_thread


def _in_threads(*functions):
    found = [None] * len(functions)

    def run(number):
        found[number] = functions[number]()

    threads = [threading.Thread(target=run, args=(number,)) for number in range(len(functions))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def _search(seed, **settings):
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(80, 5, generator=draw)
    y = (x[:, 0] > 0).long()

    def model():
        return nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 2))

    task = evomal.Task(model, (x, y), test=(x, y), name="t", model_name="m")
    fixed = {
        "population_size": 4,
        "generations": 2,
        "partial_steps": 10,
        "rejection_steps": 5,
        "rejection_lr": 0.1,
        "lr": 0.1,
    }
    search = evomal.EvoMAL(**fixed, rejection=False, meta_steps=4, seed=seed, **settings)
    result = search.learn(task)
    return result.fitness, result.loss.coefficients, evomal.meta_test(task, result.loss, steps=10, seeds=(0,)).mean


@pytest.mark.parametrize("settings", [{}, {"base_steps": 2}, {"lanes": 4}], ids=str)
def test_searches_in_threads_come_to_what_they_come_to_alone(settings):
    alone = [_search(seed, **settings) for seed in (0, 1)]
    before = torch.get_rng_state(), torch.get_num_threads()
    together = _in_threads(*[lambda seed=seed: _search(seed, **settings) for seed in (0, 1, 0)])
    assert together == [*alone, alone[0]]
    assert torch.equal(torch.get_rng_state(), before[0])
    assert torch.get_num_threads() == before[1]


def test_meta_gradients_in_threads():
    draw = torch.Generator().manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 2))
    loss = evomal.SymbolicLoss("square(sub(y, f))", task_type="classification")
    batches = [(torch.randn(8, 5, generator=draw), torch.randint(0, 2, (8,), generator=draw)) for _ in range(3)]

    def go(steps):
        return [evomal.meta_gradient(loss, model, batches[:steps], batches[2])[0].tolist() for _ in range(5)]

    alone = [go(1), go(2)]
    assert _in_threads(*[lambda steps=steps: go(steps) for steps in (1, 2, 1, 2)]) == alone * 2
    assert torch.backends.mkldnn.enabled
    assert torch.backends.cudnn.enabled


@pytest.mark.parametrize("block", [exclusive, one_thread, lambda: seeded(0)], ids=["exclusive", "threads", "seeded"])
def test_a_thread_waits_for_the_block_of_another(block):
    entered, leave, order = threading.Event(), threading.Event(), []

    def first():
        with block(), block():
            entered.set()
            leave.wait(10)
            order.append("first")

    def second():
        entered.wait(10)
        leave.set()
        with block():
            order.append("second")

    _in_threads(first, second)
    assert order == ["first", "second"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no forks here")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")
def test_a_forked_process_does_not_wait_for_a_thread_that_it_does_not_have():
    entered, leave = threading.Event(), threading.Event()

    def hold():
        with exclusive():
            entered.set()
            leave.wait(30)

    thread = threading.Thread(target=hold)
    thread.start()
    entered.wait(10)
    child = os.fork()
    if child == 0:
        signal.alarm(20)  # instead of waiting for ever
        with exclusive():
            os._exit(7)
    try:
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    finally:
        leave.set()
        thread.join()
