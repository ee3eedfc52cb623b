"""A node of a Ray cluster that is lost in the middle of a generation.

Everything is done by a process of its own, with nothing of Ray in that of the tests: if Ray hangs, it is killed.
"""

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

DEADLINE = 150  # seconds; it takes about twenty

SEARCH = '''
import json, os, signal, sys, threading, time
from pathlib import Path

from evomal.config import learn_settings
from evomal.store import comparable, read_journal
from evomal.search import Watcher, make_method
from evomal.tasks import named_task

SMALL = dict(
    population_size=6, generations=3, meta_steps=10, partial_steps=300, rejection_steps=50, rejection_threshold=0.05,
    finals=False,
)


def learn(out, watcher=None, **where):
    result = make_method(learn_settings(**SMALL, **where)).learn(named_task("digits", "mlp"), out=out, watcher=watcher)
    told = {name: value for name, value in result.as_dict().items() if name != "seconds"}
    return told, comparable(read_journal(out)), (Path(out) / "loss.json").read_text()


def workers(raylet):
    """The workers of a node, and whether one of them is in a job."""
    found, busy = [], False
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            parent = (entry / "stat").read_text().rpartition(")")[2].split()[1]
            title = (entry / "cmdline").read_text()
        except OSError:
            continue
        if int(parent) == raylet and title.startswith("ray::"):
            found.append(int(entry.name))
            busy |= title.startswith("ray::_call")
    return found, busy


class Loses(Watcher):
    """After so many members, kills a node, without a warning, as soon as it is in a job."""

    def __init__(self, members, raylet):
        self.left, self.raylet, self.killed = members, raylet, False

    def member(self, candidate, best):
        self.left -= 1
        if self.left == 0:
            threading.Thread(target=self.kill, daemon=True).start()

    def kill(self):
        busy = False
        while not busy:
            time.sleep(0.005)
            found, busy = workers(self.raylet)
        # All at once, as when the power fails: a worker that outlives its raylet by a moment may still hand in its job.
        for pid in (self.raylet, *found):
            os.kill(pid, signal.SIGKILL)
        self.killed = True


def main(folder):
    expected = learn(f"{folder}/here")
    from ray.cluster_utils import Cluster

    cluster = Cluster(head_node_args={"num_cpus": 1, "object_store_memory": 100 << 20}, initialize_head=True)
    node = cluster.add_node(num_cpus=1, object_store_memory=100 << 20)
    (raylet,) = node.all_processes["raylet"]
    watcher = Loses(2, raylet.process.pid)  # many jobs are to come, so the node has one of them
    start = time.monotonic()
    there = learn(f"{folder}/there", watcher, executor="ray", address=cluster.address, workers=2)
    seconds = time.monotonic() - start
    cluster.shutdown()
    names = ("result", "journal", "loss")
    same = {name: a == b for name, a, b in zip(names, expected, there, strict=True)}
    return {"killed": watcher.killed, "members": len(there[1]), "same": same, "seconds": seconds}


print(json.dumps(main(sys.argv[1])))
'''


@pytest.fixture
def short():
    """A folder with a short name: Ray makes sockets in it."""
    folder = tempfile.mkdtemp(prefix="evomal-", dir="/tmp")
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def _session(number):
    """The processes of a session that live."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            state, _, _, session = (entry / "stat").read_text().rpartition(")")[2].split()[:4]
        except OSError:  # it has just ended
            continue
        if int(session) == number and state not in "ZX":
            found.append(int(entry.name))
    return found


@pytest.fixture
def search(tmp_path, short):
    """The process; all of its session ends with the test."""
    own = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32), "RAY_TMPDIR": short}
    process = subprocess.Popen(
        [sys.executable, "-c", SEARCH, str(tmp_path)],
        env=os.environ | own | {"RAY_USAGE_STATS_ENABLED": "0", "OMP_NUM_THREADS": "1"},
        stdout=(tmp_path / "out").open("w"),
        stderr=(tmp_path / "err").open("w"),
        start_new_session=True,
    )
    yield process
    for pid in {process.pid, *_session(process.pid)} if process.poll() is None else _session(process.pid):
        os.kill(pid, signal.SIGKILL)
    process.wait()


def test_a_node_that_is_lost_changes_nothing(search, tmp_path):
    code = search.wait(DEADLINE)
    assert code == 0, (tmp_path / "err").read_text()
    told = json.loads((tmp_path / "out").read_text().splitlines()[-1])
    assert told["killed"]
    assert told["members"] == 18
    assert told["same"] == {"result": True, "journal": True, "loss": True}
    until = time.monotonic() + 30
    while _session(search.pid):
        assert time.monotonic() < until
        time.sleep(0.05)
