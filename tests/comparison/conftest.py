import shutil
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from evomal.comparison import Comparison
from evomal.comparison.folder import ComparisonFolder
from evomal.comparison.plan import Plan, make_plan
from evomal.comparison.running import ComparisonWatcher, run_comparison
from evomal.executors import InProcess
from evomal.tasks import named_task

# A search of a fraction of a second, and trainings of a few milliseconds.
SMALL = {
    "population_size": 3, "generations": 2, "neural_steps": 3, "meta_steps": 0, "partial_steps": 8,
    "rejection_steps": 6, "rejection_lr": 0.1, "rejection_threshold": 0.05, "batch_size": 32, "lr": 0.1, "steps": 15,
    "finals": False,
}  # fmt: skip

UNLIKE = ("seconds", "workers", "command")


class Recorder(ComparisonWatcher):
    """Keeps what it was told, and presses Ctrl-C when it was told so many things."""

    def __init__(self, stop_after=None):
        self.left, self.told, self.stop_after = None, [], stop_after

    def start(self, plan, left):
        self.left = len(left.searches), len(left.trainings)

    def search(self, contender, summary):
        self._told(contender.name, summary.seed)

    def training(self, contender, run):
        self._told(contender.name, run.lr, run.seed)

    def _told(self, *what):
        self.told.append(what)
        if len(self.told) == self.stop_after:
            raise KeyboardInterrupt


class Compared(NamedTuple):
    comparison: Comparison
    watcher: Recorder
    folder: Path

    @property
    def timeless(self) -> Any:
        return timeless(self.comparison.as_dict())


def timeless(value):
    """Plain values without times, and without how many workers and which command there were."""
    if isinstance(value, dict):
        return {name: timeless(entry) for name, entry in value.items() if name not in UNLIKE}
    if isinstance(value, list):
        return [timeless(entry) for entry in value if "on the machine at a time" not in str(entry)]
    return value


def small_plan(methods=("ml3", "taylorglo"), seeds=(0, 1), lrs=(0.5,), baseline="cross_entropy", **flat) -> Plan:
    return make_plan(methods, baseline, seeds, None, lrs, "cross_entropy", **(SMALL | flat))


def do(task, path, watcher=None, executor=None, force=False, **plan):
    watcher = watcher or Recorder()
    folder = ComparisonFolder(path, force)
    comparison = run_comparison(task, small_plan(**plan), folder, executor or InProcess(), watcher)
    return Compared(comparison, watcher, Path(path))


@pytest.fixture(scope="session")
def iris():
    return named_task("iris", "linear")


@pytest.fixture
def plan_of():
    return small_plan


@pytest.fixture
def recorder():
    return Recorder


@pytest.fixture
def compare(iris, tmp_path):
    """Runs a comparison on iris, in a folder of its own."""

    def compare(path=tmp_path / "c", task=iris, **options):
        return do(task, path, **options)

    return compare


@pytest.fixture(scope="session")
def finished(iris, tmp_path_factory):
    """A finished comparison of two methods, two seeds and two rates; tests leave it as it is."""
    return do(iris, tmp_path_factory.mktemp("finished") / "c")


@pytest.fixture
def copied(finished, tmp_path):
    """Its folder, to be changed."""
    return shutil.copytree(finished.folder, tmp_path / "c")
