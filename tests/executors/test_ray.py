import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import torch

from evomal.executors import Executor, InProcess, WorkerError, make_executor
from evomal.executors import ray_address as addresses
from evomal.executors import ray_versions as versions
from evomal.executors.ray_cluster import RETRIES, RayExecutor
from evomal.foundation.errors import DataError, SettingError
from evomal.search import EvoMAL
from evomal.tasks import named_task
from helpers import stops
from helpers.replays import require_replay

# Functions for workers are made inside the tests: those of a test module cannot be imported by a worker.


@pytest.fixture(scope="module")
def executor():
    # A token of its own, so that none is written into the home of whoever runs the tests.
    with pytest.MonkeyPatch.context() as patch:
        if "ray" not in sys.modules:
            patch.setenv("RAY_AUTH_MODE", "token")
            patch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))
        handler = signal.getsignal(signal.SIGTERM)
        executor = make_executor(2, "ray", object_store=100)
        assert signal.getsignal(signal.SIGTERM) is handler
        yield executor
        executor.close()


@pytest.fixture
def noted(tmp_path):
    """What jobs wrote down, in the order in which they did."""
    file = tmp_path / "noted"
    file.touch()
    return file


def test_results_come_in_the_order_of_the_jobs(executor):
    def slow_first(shared, number, seconds):
        time.sleep(seconds)
        return shared["offset"] + number

    jobs = [(number, 0.5 if number == 0 else 0.0) for number in range(20)]
    assert list(executor.map(slow_first, {"offset": 10}, jobs)) == list(range(10, 30))
    assert list(executor.map(divmod, 7, [])) == []


def test_the_shared_object_is_put_once_and_unpacked_once_by_each_worker(executor, noted):
    class Counted:
        def __init__(self, file):
            self.file, self.data = str(file), np.arange(50_000.0)

        def __getstate__(self):
            self.note("packed")
            return self.__dict__

        def __setstate__(self, state):
            self.__dict__.update(state)
            self.note("unpacked")

        def note(self, what):
            with open(self.file, "a") as lines:
                lines.write(f"{what}\n")

    def total(shared, factor):
        return float(factor * shared.data.sum()), os.getpid(), shared.data.flags.writeable

    shared = Counted(noted)
    results = [*executor.map(total, shared, [(1,)] * 6), *executor.map(total, shared, [(1,)] * 6)]
    workers = {worker for _, worker, _ in results}
    assert {(sum_, writeable) for sum_, _, writeable in results} == {(float(np.arange(50_000.0).sum()), False)}
    assert os.getpid() not in workers
    words = noted.read_text().split()
    assert (words.count("packed"), words.count("unpacked")) == (1, len(workers))


def test_each_shared_object_is_its_own(executor):
    def total(shared, factor):
        return float(factor * shared.sum())

    first, second = np.arange(4.0), np.ones(3)
    assert list(executor.map(total, first, [(1,), (2,)])) == [6.0, 12.0]
    assert list(executor.map(total, second, [(1,), (2,)])) == [3.0, 6.0]
    assert list(executor.map(total, first, [(3,)])) == [18.0]


def test_workers_compute_with_one_thread_what_this_process_computes(executor):
    def gradients(split, scale):
        outputs = (scale * split).requires_grad_()
        outputs.softmax(1).log().square().sum().backward()
        return torch.get_num_threads(), outputs.grad.double().sum().item()

    x = torch.randn(50, 4, generator=torch.Generator().manual_seed(0))
    there = list(executor.map(gradients, x, [(0.1,), (1.0,), (3.0,)]))
    here = list(InProcess().map(gradients, x, [(0.1,), (1.0,), (3.0,)]))
    assert {threads for threads, _ in there} == {1}
    assert [value for _, value in there] == [value for _, value in here]


def test_an_exception_comes_back_as_it_is_and_nothing_is_done_again(executor, noted):
    def fail(shared, number, file):
        with open(file, "a") as lines:
            lines.write(f"{number}\n")
        if number == 2:
            raise DataError(f"job {number} holds nan (first in row 3); remove or fill in such rows")
        return number

    with pytest.raises(DataError) as caught:
        list(executor.map(fail, None, [(number, str(noted)) for number in range(3)]))
    assert type(caught.value) is DataError
    assert str(caught.value) == "job 2 holds nan (first in row 3); remove or fill in such rows"
    # It ends the others, begun or not; none is done twice.
    begun = noted.read_text().split()
    assert "2" in begun
    assert len(set(begun)) == len(begun)
    assert list(executor.map(fail, None, [(5, str(noted))])) == [5]


def test_what_cannot_be_sent_is_said_in_one_sentence(executor, capfd):
    lock = threading.Lock()
    for shared, other in (({"held": lock}, 1), (None, lock)):
        with pytest.raises(SettingError) as caught:
            list(executor.map(lambda shared, other: 1, shared, [(other,)]))
        told = str(caught.value)
        assert told.startswith("what is worked on cannot be sent to workers (TypeError: ")
        assert "cannot pickle '_thread.lock' object" in told
        assert told.endswith("or give `workers=1`")
    assert capfd.readouterr() == ("", "")


def test_what_a_killed_worker_did_is_done_again_and_nothing_is_printed(executor, noted, capfd):
    def dies_once(shared, number, file):
        with open(file, "a") as lines:
            lines.write(f"{number}\n")
        if number == 3 and Path(file).read_text().split().count("3") == 1:
            os._exit(9)
        return number * shared

    jobs = [(number, str(noted)) for number in range(8)]
    assert list(executor.map(dies_once, 10, jobs)) == [0, 10, 20, 30, 40, 50, 60, 70]
    assert noted.read_text().split().count("3") == 2
    assert capfd.readouterr() == ("", "")


def test_an_asynchronous_search_whose_worker_is_killed_once(executor, noted, tmp_path, capfd):
    def dies_once(shared, file, function, *arguments):
        with open(file, "a") as lines:
            lines.write("begun\n")
        if Path(file).read_text().count("begun") == 9:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(shared, *arguments)

    class Killing(Executor):
        workers = 2

        def stream(self, shared):
            stream = executor.stream(shared)
            submit = stream.submit
            stream.submit = lambda function, job, rank: submit(dies_once, (str(noted), function, *job), rank)
            return stream

    task = named_task("iris", "linear")
    settings = stops.tiny(asynchronous=True, generations=3, rejection_threshold=0.2, lr=0.3)
    result = EvoMAL(settings).learn(task, tmp_path / "a", executor=Killing())
    assert capfd.readouterr() == ("", "")
    lines = require_replay(tmp_path / "a", task)
    assert (result.ended, len(lines)) == ("generations", 18)
    jobs = sum((line["outcome"] != "archived") + ("train" in line["seconds"]) for line in lines)
    assert noted.read_text().count("begun") == jobs + 1


def test_workers_that_are_killed_without_end_are_given_up(executor, noted, capfd):
    def job(shared, number, file):
        if number == 2:
            with open(file, "a") as lines:
                lines.write("killed\n")
            os._exit(9)
        return number

    seen = []
    with pytest.raises(WorkerError) as caught:
        seen.extend(executor.map(job, None, [(number, str(noted)) for number in range(4)]))
    assert str(caught.value) == (
        "a job lost its worker or its node 4 times (WorkerCrashedError), perhaps for want of memory; what is finished "
        "is kept, go on with fewer workers"
    )
    assert len(noted.read_text().split()) == RETRIES + 1
    assert capfd.readouterr() == ("", "")
    assert list(executor.map(divmod, 7, [(2,)])) == [(3, 1)]


def test_few_are_in_flight_and_those_nobody_waits_for_are_ended(executor, noted):
    def job(shared, number, file):
        with open(file, "a") as lines:
            lines.write(f"{number}\n")
        time.sleep(600 if number > 2 else 0)
        return number

    with closing(executor.map(job, None, [(number, str(noted)) for number in range(50)])) as results:
        assert [next(results) for _ in range(3)] == [0, 1, 2]
    # The workers are free again.
    assert list(executor.map(divmod, 7, [(2,)] * 3)) == [(3, 1)] * 3
    assert len(noted.read_text().split()) <= 3 + 2 * 2


def test_ctrl_c_ends_the_jobs(executor):
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have had us ignore it
    timer = threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            list(executor.map(lambda shared: time.sleep(600), None, [()] * 5))
    finally:
        timer.join()
        signal.signal(signal.SIGINT, before)
    assert list(executor.map(divmod, 7, [(2,)] * 3)) == [(3, 1)] * 3


def test_more_workers_than_the_cluster_has_cpus(executor, caplog):
    other = RayExecutor(None, 5)
    assert [record.getMessage() for record in caplog.records] == [
        "5 workers, but the cluster has room for 2 jobs at a time; the others wait"
    ]
    other.close()  # what it did not start goes on
    assert list(executor.map(divmod, 7, [(2,)])) == [(3, 1)]


def test_a_cluster_without_what_a_job_needs(executor):
    with pytest.raises(SettingError) as caught:
        RayExecutor(None, 2, gpus=1.0)
    assert str(caught.value) == (
        "the Ray cluster has no room for a job, which needs 1 GPU; add nodes, or give another `device`"
    )
    assert list(executor.map(divmod, 7, [(2,)])) == [(3, 1)]


def _refused(address):
    """What is said of an address, which must not take long."""
    start = time.monotonic()
    with pytest.raises(SettingError) as caught:
        addresses.require_cluster(address)
    assert time.monotonic() - start < 60  # Ray itself tries for minutes; ten seconds where the machine has nothing else
    return str(caught.value)


END = "; give HOST:PORT as `ray start` prints it on the head node"


@pytest.mark.parametrize(
    "address", ["", "head", "head:", ":6379", "head:0", "head:65536", "http://head:1", "a b:1", "::1"]
)
def test_what_is_no_address(address):
    assert _refused(address) == f"setting 'address': '{address}' is not HOST:PORT{END}"


def test_ray_client_is_not_used():
    assert _refused("ray://head:10001") == (
        "setting 'address': 'ray://head:10001' is for Ray Client, which evomal does not use; make this machine a node "
        "by `ray start`, and give HOST:PORT"
    )


@pytest.fixture
def listener():
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def _address(server):
    return f"127.0.0.1:{server.getsockname()[1]}"


def test_a_dead_address(listener, executor, monkeypatch):
    address = _address(listener)
    listener.close()
    expected = f"no Ray cluster answers at {address} (Connection refused); is it running? {END[2:]}"
    assert _refused(address) == expected
    monkeypatch.setattr(executor._ray, "is_initialized", lambda: False)
    with pytest.raises(SettingError) as caught:
        make_executor(2, "ray", address)
    assert str(caught.value) == expected


def test_a_listener_that_is_silent(listener):
    assert _refused(_address(listener)) == f"what answers at {_address(listener)} is no Ray cluster, or it hangs{END}"


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"SSH-2.0-OpenSSH_9.6\r\n", b"\0", b""])
def test_a_listener_that_is_something_else(listener, answer):
    def serve():
        connection, _ = listener.accept()
        with connection:
            connection.sendall(answer)
            connection.recv(100)

    server = threading.Thread(target=serve)
    server.start()
    assert _refused(_address(listener)) == f"what answers at {_address(listener)} is no Ray cluster, or it hangs{END}"
    server.join()


def _head(executor):
    return executor._ray.get_runtime_context().gcs_address


def test_a_cluster_is_known_when_it_is_there(executor):
    addresses.require_cluster(_head(executor))


@pytest.fixture
def hasty(monkeypatch):
    """What Ray complains of is believed at once."""
    monkeypatch.setattr(addresses, "TROUBLED", 0.0)


def test_another_port_of_ray(executor, hasty):
    (node,) = executor._ray.nodes()
    address = f"127.0.0.1:{node['NodeManagerPort']}"
    assert _refused(address) == f"what answers at {address} speaks as Ray does, but is not the head of a cluster{END}"


def test_a_cluster_that_wants_a_token(executor, monkeypatch, hasty):
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    assert _refused(_head(executor)) == (
        f"the cluster at {_head(executor)} does not take our token; set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN_PATH "
        "to a file with the cluster's"
    )


def test_a_cluster_of_another_version(executor):
    from ray._private.utils import check_version_info

    with pytest.raises(RuntimeError) as caught:
        check_version_info({"ray_version": "2.39.0", "python_version": "3.9.1"}, "here")
    assert addresses._reason("head:1", 1, f"RuntimeError {caught.value}") == (
        f"the cluster at head:1 runs Ray 2.39.0 on Python 3.9.1, this process Ray {executor._ray.__version__} on "
        f"Python {'.'.join(map(str, sys.version_info[:3]))}; install the same here"
    )


def test_any_other_trouble_is_quoted():
    assert addresses._reason("head:1", 1, "ConnectionError no\n  node") == (
        "the Ray cluster at head:1 cannot be used (ConnectionError no node); is this machine a node of it "
        "(by `ray start`)?"
    )


def test_nodes_have_our_versions(executor, caplog, monkeypatch):
    versions.require_same_versions(executor._ray)
    assert caplog.records == []
    monkeypatch.setattr(versions, "_own_version", lambda name: "0.0.1")
    versions.require_same_versions(executor._ray)
    told = [record.getMessage() for record in caplog.records]
    assert [line.split()[6] for line in told] == ["evomal", "torch"]
    assert all(line.endswith(", this process 0.0.1; results may differ in their last bits") for line in told)


def test_a_node_lacks_a_package(executor, monkeypatch):
    monkeypatch.setattr(versions, "SAME", ("evomal", "nothing-of-that-name"))
    (node,) = executor._ray.nodes()
    with pytest.raises(SettingError) as caught:
        versions.require_same_versions(executor._ray)
    assert str(caught.value) == (
        f"node {node['NodeManagerAddress']} of the cluster has no nothing-of-that-name; install there what is here "
        "(nothing-of-that-name None)"
    )


def test_without_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(SettingError) as caught:
        make_executor(2, "ray")
    assert str(caught.value) == "setting 'executor': 'ray' needs the package of that name; pip install 'evomal[ray]'"


ALONE = """
import json, os, sys, time
from evomal.executors import make_executor

executor = make_executor(2, "ray", object_store=100)
print(json.dumps({"folder": executor._folder}), flush=True)
try:
    for result in executor.map(lambda shared, number: time.sleep(number), None, [(0,)] + [(600,)] * 9):
        print("one", flush=True)
except KeyboardInterrupt:
    executor.close()
    print("closed", flush=True)
"""


def test_a_process_ends_on_ctrl_c_and_leaves_nothing(tmp_path):
    environment = os.environ | {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    with subprocess.Popen(
        [sys.executable, "-c", ALONE],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as process:
        deadline = threading.Timer(60, os.killpg, (process.pid, signal.SIGKILL))
        deadline.start()
        folder = Path(json.loads(process.stdout.readline())["folder"])
        assert folder.is_dir()
        assert process.stdout.readline() == "one\n"
        os.killpg(process.pid, signal.SIGINT)  # a terminal tells all
        assert process.stdout.read() == "closed\n"
        assert process.wait() == 0
        deadline.cancel()
    assert not folder.exists()
    until = time.monotonic() + 30
    while left := _session(process.pid):
        assert time.monotonic() < until, left
        time.sleep(0.05)


def _session(number):
    """The processes of a session that live."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            state, _, _, session = (entry / "stat").read_text().rpartition(")")[2].split()[:4]
            if int(session) == number and state not in "ZX":
                found.append((entry / "cmdline").read_bytes().decode(errors="replace"))
        except OSError:  # it has just ended
            continue
    return found
