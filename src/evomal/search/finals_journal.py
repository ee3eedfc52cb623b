"""The journal of finals: a line for every training, so that they go on where they were stopped."""

import hashlib
import json
import math
from types import TracebackType
from typing import Self

from evomal.config import LearnSettings
from evomal.config.fields import CountOrZero, NotNegative
from evomal.evaluation.finals import Trial
from evomal.evaluation.finals.training import FinalTraining
from evomal.foundation.errors import RunFolderError
from evomal.foundation.serialization import finite_or_none
from evomal.losses import SavedLoss
from evomal.search.finalists import Finalist
from evomal.store import RunFolder
from evomal.store.journal_schema import Row

Key = tuple[str, float, int, int, int]


class FinalsRow(Row):
    """A line of ``finals.jsonl``.

    Attributes:
        loss: Name and digest of the loss.
        lr: Base learning rate.
        split: Number of the split.
        folds: K, which the split is one of.
        steps: Base steps.
        value: The metric; None if the training failed.
        reason: Why it failed, or None.
        seconds: Time taken.
    """

    what = "a training"

    loss: str
    lr: float
    split: CountOrZero
    folds: CountOrZero
    steps: CountOrZero
    value: float | None
    reason: str | None
    seconds: NotNegative

    @property
    def key(self) -> Key:
        """What no other line shares."""
        return self.loss, self.lr, self.split, self.folds, self.steps

    @property
    def training(self) -> FinalTraining:
        """What it tells of."""
        return FinalTraining(math.inf if self.value is None else self.value, self.reason, self.seconds)


def known_as(finalist: Finalist) -> str:
    """What a journal calls a loss: its name, and a digest of what it computes where that can be told."""
    loss = finalist.loss
    if not isinstance(loss, SavedLoss):
        return finalist.entrant.name
    text = json.dumps(loss.all_entries(), sort_keys=True)
    return f"{finalist.entrant.name} {hashlib.sha256(text.encode()).hexdigest()[:16]}"


class FinalsJournal:
    """What is finished of finals, on the disk as soon as it is known.

    Args:
        folder: The run folder; None keeps it in memory.
        settings: Those of the search.

    Raises:
        RunFolderError: A line is damaged.
    """

    def __init__(self, folder: RunFolder | None, settings: LearnSettings) -> None:
        self._folds = settings.finals.folds
        self._done: dict[Key, FinalTraining] = {}
        for number, record in enumerate([] if folder is None else folder.finals_records(), start=1):
            try:
                line = FinalsRow.read(record)
            except ValueError:
                raise RunFolderError(
                    f"the journal of finals in '{folder.path if folder else ''}' is damaged in line {number}; delete "
                    "that line to have it trained anew"
                ) from None
            self._done.setdefault(line.key, line.training)
        self._journal = None if folder is None else folder.finals_journal()

    def value(self, loss: str, trial: Trial) -> FinalTraining | None:
        """What a training came to; None if it is still to be done."""
        return self._done.get(self._key(loss, trial))

    def write(self, loss: str, trial: Trial, found: FinalTraining) -> None:
        """Write down a training; it is on the disk when this returns.

        Raises:
            StorageError: It cannot be written.
        """
        line = FinalsRow(
            loss=loss,
            lr=trial.lr,
            split=trial.split,
            folds=self._folds,
            steps=trial.steps,
            value=finite_or_none(found.value),
            reason=found.reason,
            seconds=round(found.seconds, 4),
        )
        if self._journal is not None:
            self._journal.write(line.record())
        self._done[self._key(loss, trial)] = found

    def _key(self, loss: str, trial: Trial) -> Key:
        return loss, trial.lr, trial.split, self._folds, trial.steps

    def __enter__(self) -> Self:
        """Nothing more is opened."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file."""
        if self._journal is not None:
            self._journal.close()
