"""A node of a Ray cluster that is lost in the middle of a generation, or of a search without generations.

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

from evomal.tasks import named_task
from helpers.replays import require_replay

pytest.importorskip("ray")
DEADLINE = 600  # seconds; it takes about forty on a machine that has nothing else to do

SEARCH = '''
import json, os, signal, sys, threading, time
from pathlib import Path

from evomal.config import learn_settings
from evomal.store import comparable, read_journal
from evomal.search import Watcher, make_method
from evomal.tasks import named_task

SMALL = dict(
    population_size=6, generations=3, meta_steps=10, partial_steps=300, rejection_steps=50, rejection_threshold=0.05,
    finals=False,  # long enough for a node whose workers take a while to start to get a job
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


def lost(cluster, members, out, **flat):
    """A search on a cluster that loses a node in the middle."""
    node = cluster.add_node(num_cpus=1, object_store_memory=100 << 20)
    (raylet,) = node.all_processes["raylet"]
    watcher = Loses(members, raylet.process.pid)  # many jobs are to come, so the node has one of them
    found = learn(out, watcher, executor="ray", address=cluster.address, workers=2, **flat)
    return found, {"killed": watcher.killed, "members": len(found[1])}


def main(folder):
    expected = learn(f"{folder}/here")
    from ray.cluster_utils import Cluster

    cluster = Cluster(head_node_args={"num_cpus": 1, "object_store_memory": 100 << 20}, initialize_head=True)
    there, by_generations = lost(cluster, 2, f"{folder}/there")
    _, asynchronous = lost(cluster, 7, f"{folder}/asynchronous", asynchronous=True)
    cluster.shutdown()
    names = ("result", "journal", "loss")
    same = {name: a == b for name, a, b in zip(names, expected, there, strict=True)}
    return {"generations": by_generations | {"same": same}, "asynchronous": asynchronous}


print(json.dumps(main(sys.argv[1])))
'''


@pytest.fixture(scope="module")
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


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where the searches lie, and what their process writes."""
    return tmp_path_factory.mktemp("nodes")


@pytest.fixture(scope="module")
def search(folder, short):
    """The process; all of its session ends with the tests."""
    own = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32), "RAY_TMPDIR": short}
    process = subprocess.Popen(
        [sys.executable, "-c", SEARCH, str(folder)],
        env=os.environ | own | {"RAY_USAGE_STATS_ENABLED": "0", "OMP_NUM_THREADS": "1"},
        stdout=(folder / "out").open("w"),
        stderr=(folder / "err").open("w"),
        start_new_session=True,
    )
    yield process
    for pid in {process.pid, *_session(process.pid)} if process.poll() is None else _session(process.pid):
        os.kill(pid, signal.SIGKILL)
    process.wait()


@pytest.fixture(scope="module")
def told(search, folder):
    """What became of each search."""
    code = search.wait(DEADLINE)
    assert code == 0, (folder / "err").read_text()
    return json.loads((folder / "out").read_text().splitlines()[-1])


def test_a_node_that_is_lost_changes_nothing(told):
    assert told["generations"] == {
        "killed": True, "members": 18, "same": {"result": True, "journal": True, "loss": True},
    }  # fmt: skip


def test_a_node_that_is_lost_costs_an_asynchronous_search_no_candidate(told, folder):
    assert told["asynchronous"] == {"killed": True, "members": 18}
    lines = require_replay(folder / "asynchronous", named_task("digits", "mlp"))
    assert {(line["generation"], line["index"]) for line in lines} == {(g, i) for g in range(3) for i in range(6)}
    assert {"trained", "archived"} <= {line["outcome"] for line in lines}


def test_no_process_is_left(told, search):
    until = time.monotonic() + 30
    while _session(search.pid):
        assert time.monotonic() < until
        time.sleep(0.05)
