"""Searches of a quarter of a second, and ways to stop them."""

import shutil
from pathlib import Path

from evomal.search import EvoMAL, Watcher
from evomal.store import RunFolder, comparable, read_records
from evomal.store.journal import JOURNAL
from helpers import tasks


def tiny(**flat):
    """Settings of a search in which something of every kind happens: four generations of six."""
    small = {
        "population_size": 6,
        "generations": 4,
        "partial_steps": 6,
        "meta_steps": 1,
        "rejection_steps": 3,
        "rejection_lr": 0.05,
        "finals": False,
    }
    return tasks.quick(**(small | {"seed": 2} | flat))


class Stop(Watcher):
    """Ctrl-C after so many members."""

    def __init__(self, members):
        self.left = members

    def member(self, candidate, best):
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


class Never(Watcher):
    """For a search that is finished: nothing may happen."""

    def _fail(self, *arguments):
        raise AssertionError(f"something is done: {arguments}")

    resumed = stage = member = generation = _fail


def learn(out, stop=None, watcher=None, task=None, resume=False, override=False, **flat):
    """A search; after `stop` members comes Ctrl-C."""
    watcher = watcher or (Stop(stop) if stop else None)
    return EvoMAL(tiny(**flat)).learn(task or tasks.line(), out, watcher=watcher, resume=resume, override=override)


def lines(out):
    """The journal in the order in which it was written, without times."""
    return comparable(read_records(out / JOURNAL))


def in_order(records):
    """Records by generation and index."""
    return sorted(records, key=lambda record: (record["generation"], record["index"]))


def reopened(folder):
    """A run folder of its own, to be looked at as one that goes on."""
    return RunFolder(folder, resume=True)


def cut(folder, place, kept):
    """A run folder of which only the first lines of the journal are left."""
    copy = copied(folder, place)
    journal = (copy / JOURNAL).read_bytes().splitlines(keepends=True)
    (copy / JOURNAL).write_bytes(b"".join(journal[:kept]))
    return copy


def copied(folder, place):
    """A run folder that a test may change."""
    return Path(shutil.copytree(folder, place))
