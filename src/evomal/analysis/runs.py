"""A run folder read for a report: all that can be read, and a sentence on each part that cannot."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from evomal.foundation.errors import EvomalError, RunFolderError
from evomal.foundation.files import LEARNED, LOSS
from evomal.foundation.plain_yaml import read_yaml
from evomal.foundation.serialization import cleaned, finite_or_none
from evomal.losses import LearnedLoss, load_loss
from evomal.search import LearnResult
from evomal.search.verdict import Verdict
from evomal.store.checkpoint import Checkpoints
from evomal.store.config import CONFIG, MAX_BYTES, read_config
from evomal.store.journal import FINALS, JOURNAL, read_journal, read_records
from evomal.store.journal_schema import CandidateRow

ENDINGS = {
    "target": "the target fitness was reached",
    "patience": "no better fitness was found for as many generations as were to be waited",
    "evaluations": "its number of evaluations was used up",
    "time": "its time was used up",
    "interrupt": "it was stopped from outside",
}
UNKNOWN_METRIC = "fitness"
"""What is minimised where a run has no loss yet to say it."""


@dataclass(frozen=True, slots=True)
class SearchRecord:
    """A search, finished or not, as its folder tells it; what comes from files is unchecked but for its type.

    Args:
        name: What a report calls it.
        config: What ``config.yaml`` holds; empty where that cannot be read.
        records: The journal's lines; none where it cannot be read.
        loss: The best loss; None where there is none, or it cannot be read.
        ended: How it ended, one of the words of a checkpoint; None while it goes on, and where that is not known.
        baseline: The task loss's metric after the same partial training, or None.
        seconds: Wall time over all calls, or None.
        problems: What is missing, damaged or unfinished, one sentence each.
        verdict: What its finals came to; None where there were none, or they are not finished.
        finals: The lines of their journal.
    """

    name: str
    config: Mapping[str, Any]
    records: list[dict[str, Any]]
    loss: LearnedLoss | None
    ended: str | None
    baseline: float | None
    seconds: float | None
    problems: tuple[str, ...]
    verdict: Verdict | None = None
    finals: tuple[Mapping[str, Any], ...] = ()

    @property
    def settings(self) -> dict[str, Any]:
        """Every setting, by stage."""
        return _part(self.config, "settings")

    @property
    def method(self) -> str:
        """What learned the loss."""
        return _text(self.settings.get("method") or self._info.get("method"))

    @property
    def seed(self) -> str:
        """The seed."""
        return _text(self.settings.get("seed", self._info.get("seed")))

    @property
    def task(self) -> str:
        """What the task is called."""
        told = _part(self._info, "learned_on").get("task")
        if told:
            return _text(told)
        tasks = self.config.get("tasks")
        names = [_text(each.get("task")) for each in tasks if isinstance(each, dict)] if isinstance(tasks, list) else []
        return " + ".join(names) or "unknown task"

    @property
    def metric(self) -> str:
        """What the fitness is."""
        tasks = self.config.get("tasks")
        begun = next((each for each in tasks if isinstance(each, dict)), {}) if isinstance(tasks, list) else {}
        return _text(_part(self._info, "learned_on").get("metric") or begun.get("metric") or UNKNOWN_METRIC)

    @property
    def task_loss(self) -> str:
        """What the task loss is called."""
        return _text(_part(self._info, "baseline").get("loss") or "task loss")

    @property
    def fitness(self) -> float | None:
        """The best loss's fitness."""
        return _number(self._info.get("fitness"))

    @property
    def place(self) -> tuple[int, int] | None:
        """(generation, index) of the best loss."""
        found = _part(self._info, "found")
        generation, index = found.get("generation"), found.get("index")
        return (generation, index) if isinstance(generation, int) and isinstance(index, int) else None

    @property
    def _info(self) -> dict[str, Any]:
        return {} if self.loss is None else self.loss.info


def metrics_of(records: Sequence[SearchRecord]) -> list[str]:
    """The metrics that searches minimise, each once; one of which it is not known shares those of the others."""
    known = dict.fromkeys(record.metric for record in records if record.metric != UNKNOWN_METRIC)
    return list(known) or [UNKNOWN_METRIC]


def search_record(result: LearnResult) -> SearchRecord:
    """A search from what it ended with, as its folder would tell it.

    Args:
        result: Of `learn`, with or without a run folder.
    """
    loss, settings = result.learned, result.settings
    records = [CandidateRow.of(member, loss.task_type, settings).record() for member in result.members]
    config = {"settings": settings.model_dump(mode="json"), "versions": loss.info.get("versions", {})}
    problems = _unfinished(result.ended, config, records)
    name, baseline = f"seed {settings.seed}", finite_or_none(result.baseline)
    return SearchRecord(
        name, config, records, loss, result.ended, baseline, result.seconds, tuple(problems), result.verdict
    )


def read_search(folder: str | PathLike[str]) -> SearchRecord:
    """Read what a run folder holds; nothing in it is locked, changed or run.

    Args:
        folder: The run folder, of a search that is finished, goes on, or failed, of this version or an older one.

    Raises:
        RunFolderError: It holds nothing of a run at all.

    Example:
        >>> read_search("none")
        Traceback (most recent call last):
        ...
        evomal.foundation.errors.RunFolderError: 'none' holds no run; give a run folder, or that of a comparison
    """
    path = Path(folder)
    if not any((path / name).is_file() for name in (CONFIG, JOURNAL, LOSS)):
        raise RunFolderError(f"'{folder}' holds no run; give a run folder, or that of a comparison")
    problems: list[str] = []
    config = _config(path, problems)
    records = _tried(lambda: read_journal(path), problems) or []
    # What a search learned; the loss that its finals handed out may be another one.
    learned = path / LEARNED
    file = learned if learned.is_file() else path / LOSS
    loss = _tried(lambda: load_loss(file), problems) if file.is_file() else None
    loss = loss if isinstance(loss, LearnedLoss) else None
    if loss is None and not (path / LOSS).is_file():
        problems.append("there is no loss yet: no candidate was trained before the run ended, or it has just begun")
    state = next(iter(Checkpoints(path).read()), {})
    ended = state.get("ended")
    problems += _unfinished(ended, config, records)
    info = {} if loss is None else loss.info
    baseline = _number(state.get("baseline")) if state else _number(_part(info, "baseline").get("fitness"))
    name = path.resolve().name or str(path)
    seconds = _number(state.get("seconds"))
    verdict = Verdict.of(info.get("verdict"))
    finals = _tried(lambda: read_records(path / FINALS), problems) or [] if (path / FINALS).is_file() else []
    told = _part(info, "verdict").get("message")
    if verdict is None and isinstance(told, str):
        problems.append(f"the verdict of its finals is of another version, and says: {told[:500]}")
    elif verdict is None and finals:
        problems.append(f"its finals are not finished: {len(finals)} trainings so far")
    return SearchRecord(
        name, config, records, loss, _maybe_text(ended), baseline, seconds, tuple(problems), verdict, tuple(finals)
    )


def _config(path: Path, problems: list[str]) -> dict[str, Any]:
    try:
        return read_config(path)
    except EvomalError as error:
        problems.append(str(error))
    try:  # of an older version there may be settings to show all the same
        return read_yaml(path / CONFIG, MAX_BYTES)
    except (EvomalError, OSError):
        return {}


def _tried(read: Any, problems: list[str]) -> Any:
    try:
        return read()
    except EvomalError as error:
        problems.append(str(error))
        return None


def _unfinished(ended: Any, config: Mapping[str, Any], records: list[dict[str, Any]]) -> list[str]:
    done = len({record["generation"] for record in records})
    planned = _part(_part(config, "settings"), "genetic").get("generations")
    if ended in ENDINGS:
        return [f"the search ended before its last generation: {ENDINGS[ended]}"]
    if ended is None:
        of = f" of {planned}" if isinstance(planned, int) else ""
        return [f"the search is not finished: {len(records)} candidates in {done}{of} generations so far"]
    return []


def _part(values: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A group of entries; a file that anybody may have written can hold anything."""
    value = values.get(name)
    return value if isinstance(value, dict) else {}


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _text(value: Any) -> str:
    return cleaned("unknown" if value is None else value)[:200]


def _maybe_text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
