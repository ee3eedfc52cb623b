"""Finished trainings as lines of a journal, written and read."""

from collections.abc import Callable
from dataclasses import asdict
from math import nan
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import Field

from evomal.foundation.serialization import finite_or_none
from evomal.store import read_records
from evomal.store.journal import damaged
from evomal.store.journal_schema import Row
from evomal.training import TrainingRun

Key = tuple[str, float, int]
"""Contender, rate and seed of a training."""
MOST = 1e30  # no number in a file is larger


class FinishedTraining(NamedTuple):
    """A finished training.

    Args:
        run: What it came to.
        loss: `digest` of the loss that it was done with; None if it has none, or an older evomal wrote none.
    """

    run: TrainingRun
    loss: str | None


class TrainingRow(Row, strict=True):
    """A finished training: a line of a journal of trainings; a metric that is not finite is None."""

    what = "a training"

    contender: str
    loss: str | None = None
    lr: Annotated[float, Field(gt=-MOST, lt=MOST)]
    seed: int
    valid: float | None
    test: float | None
    steps: int
    seconds: Annotated[float, Field(gt=-MOST, lt=MOST)]
    reason: str | None = None

    @property
    def key(self) -> Key:
        """What no other line shares, but one of the same training that was done again."""
        return self.contender, self.lr, self.seed

    @property
    def training(self) -> FinishedTraining:
        """What it tells of."""
        valid, test = (nan if metric is None else metric for metric in (self.valid, self.test))
        run = TrainingRun(self.lr, self.seed, valid, test, self.steps, self.seconds, self.reason)
        return FinishedTraining(run, self.loss)


def training_record(name: str, trained: FinishedTraining) -> dict[str, Any]:
    """A finished training as a line of a journal."""
    metrics = {metric: finite_or_none(getattr(trained.run, metric)) for metric in ("valid", "test")}
    return TrainingRow(**{"contender": name, "loss": trained.loss, **asdict(trained.run), **metrics}).record()


def read_trainings(
    path: Path, other: Callable[[int, dict[str, Any]], bool] | None = None
) -> dict[Key, FinishedTraining]:
    """Finished trainings from a journal by contender, rate and seed; of one that was done again, the last.

    Args:
        path: The journal; nothing is finished where there is none.
        other: Takes a line by its number, and says whether it is something else than a training.

    Raises:
        RunFolderError: A line is damaged.
    """
    found: dict[Key, FinishedTraining] = {}
    for number, record in enumerate(read_records(path) if path.exists() else (), start=1):
        if other is not None and other(number, record):
            continue
        try:
            row = TrainingRow.read(record)
        except ValueError:
            raise damaged(path, number) from None
        found[row.key] = row.training
    return found


def is_number(value: Any) -> bool:
    """Whether a value from a file is a number that can be counted with."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < MOST  # so not NaN either
