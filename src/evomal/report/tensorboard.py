"""A running search in TensorBoard."""

import time
from collections import Counter
from collections.abc import Sequence
from logging import getLogger
from math import isfinite
from os import PathLike
from pathlib import Path
from typing import Any

from evomal.evaluation.finals import Entrant, FinalsPlan, Trial
from evomal.foundation.contexts import uninterrupted
from evomal.foundation.errors import SettingError
from evomal.search import Candidate, Watcher


class TensorBoard(Watcher):
    """Writes what a search finds as TensorBoard's events, for ``tensorboard --logdir``.

    ===========================  ========================  ====================================================
    tag                          step                      value
    ===========================  ========================  ====================================================
    ``fitness/best``             candidates finished       best fitness so far, of those trained themselves
    ``fitness/task loss``        candidates finished       the task loss's metric after the same training
    ``fitness/candidate``        candidates finished       fitness of each candidate that was trained
    ``outcomes/rejected`` …      candidates finished       how many so far ended in this way
    ``finals/NAME at RATE``      number of the split       metric of a full training in the finals
    ``formula``                  candidates finished       text: the best loss, whenever there is a better one
    ===========================  ========================  ====================================================

    It is written from one place without a thread, so that there is nothing to wait for at the end. Where nothing can be
    written any more, a warning says so, and the search goes on.

    Args:
        folder: Where event files lie; made when the first one is written. A search that goes on adds a file.

    Raises:
        SettingError: The package ``tensorboard`` is missing.

    Example:
        >>> from evomal.search import EvoMAL
        >>> def learned(task):
        ...     return EvoMAL(preset="quick").learn(task, watcher=TensorBoard("runs/mine/tensorboard"))
    """

    def __init__(self, folder: str | PathLike[str]) -> None:
        self.folder = Path(folder)
        self._events = _Events(self.folder)
        self._counts: Counter[str] = Counter()
        self._shown: Candidate | None = None
        self._baseline = float("inf")
        self._steps = 0

    def baseline(self, fitness: float) -> None:
        """Keep it, to be drawn beside the best fitness."""
        self._baseline = fitness

    def resumed(self, members: Sequence[Candidate], best: Candidate | None, generation: int) -> None:
        """Have TensorBoard forget what an earlier call wrote after these members."""
        self._counts.update(member.outcome or "unfinished" for member in members)
        self._events.start(self._counts.total() + 1)
        self._show(best)

    def member(self, candidate: Candidate, best: Candidate | None) -> None:
        """Write a fitness, and the best loss if this is it."""
        self._counts[candidate.outcome or "unfinished"] += 1
        if candidate.own_fitness is not None:
            self._scalar("fitness/candidate", candidate.own_fitness)
        self._show(best)

    def generation(self, number: int, best: Candidate | None) -> None:
        """Write where the search stands."""
        if best is not None:
            self._scalar("fitness/best", best.fitness)
        self._scalar("fitness/task loss", self._baseline)
        for outcome, count in sorted(self._counts.items()):
            self._scalar(f"outcomes/{outcome}", count)

    def finals(self, entrants: Sequence[Entrant], plan: FinalsPlan) -> None:
        """Keep how long a full training is."""
        self._steps = plan.steps

    def final(self, entrant: Entrant, trial: Trial, value: float) -> None:
        """Write the metric of a full training; those of the screening are shorter."""
        if trial.steps == self._steps:
            self._events.scalar(f"finals/{entrant.name} at {trial.lr:.4g}", value, trial.split)

    def _scalar(self, tag: str, value: float) -> None:
        self._events.scalar(tag, value, self._counts.total())

    def _show(self, best: Candidate | None) -> None:
        if best is None or best is self._shown:
            return
        self._shown = best
        self._scalar("fitness/best", best.fitness)
        self._events.text("formula", best.short or best.formula, self._counts.total())


class _Events:
    """One file of events, opened when there is something to write."""

    def __init__(self, folder: Path) -> None:
        try:
            from tensorboard.compat.proto.event_pb2 import Event, SessionLog
            from tensorboard.summary.writer.record_writer import RecordWriter
            from torch.utils.tensorboard import summary
        except ImportError:
            raise SettingError(
                "logs for TensorBoard need the package tensorboard; run pip install 'evomal[tensorboard]'"
            ) from None
        self._folder, self._event, self._session = folder, Event, SessionLog
        self._records, self._summary = RecordWriter, summary
        self._file: Any = None
        self._broken = False

    def start(self, step: int) -> None:
        """Events of earlier files count for nothing from this step on."""
        self._write(step=step, session_log=self._session(status=self._session.START))

    def scalar(self, tag: str, value: float, step: int) -> None:
        """A number; one that is not finite is left out."""
        if isfinite(value):
            self._write(step=step, summary=self._summary.scalar(tag, value))

    def text(self, tag: str, value: str, step: int) -> None:
        """A text, shown as it stands."""
        self._write(step=step, summary=self._summary.text(tag, f"`{value}`"))

    def _write(self, **event: Any) -> None:
        if self._broken:
            return
        try:
            with uninterrupted():
                if self._file is None:
                    self._open()
                # The wall's clock, as TensorBoard wants it; nothing of ours reads it.
                self._records(self._file).write(self._event(wall_time=time.time(), **event).SerializeToString())
        except OSError as error:
            self._broken = True
            getLogger("evomal").warning(
                "logs for TensorBoard in '%s' end here (%s); the search goes on", self._folder, error.strerror
            )

    def _open(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        number = len(list(self._folder.iterdir()))
        name = f"events.out.tfevents.{int(time.time())}.{number}.evomal"
        self._file = (self._folder / name).open("xb", buffering=0)
        first = self._event(wall_time=time.time(), file_version="brain.Event:2")
        self._records(self._file).write(first.SerializeToString())
