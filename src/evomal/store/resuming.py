"""Going on with a run: what must be as it was, and what may change."""

from collections.abc import Mapping, Sequence
from logging import getLogger
from os import PathLike
from os.path import exists
from pathlib import Path
from typing import Any

from evomal.config import WHERE, LearnSettings, flat_fields
from evomal.evaluation.lane_count import choose_lanes
from evomal.foundation.errors import RunFolderError, SettingError
from evomal.store import RunFolder
from evomal.store.cleanup import bring_back
from evomal.store.config import CONFIG
from evomal.store.environment import origin_now
from evomal.store.previous_run import PreviousRun
from evomal.store.task_identity import changes, identity
from evomal.tasks import TaskSet

LIMITS = tuple(name for name, stage in flat_fields(LearnSettings).items() if stage == "limits")
FINALS = tuple(name for name, stage in flat_fields(LearnSettings).items() if stage == "finals")
MAY_CHANGE = ("generations", "cma_generations", "workers", *WHERE, *LIMITS, *FINALS)
"""Settings that a run may go on with otherwise, if that is asked for: what is finished does not depend on them."""


def opened(
    out: str | PathLike[str] | RunFolder | None, force: bool, resume: bool, settings: LearnSettings
) -> RunFolder | None:
    """The run folder that an argument stands for; with `resume`, one that is not there yet is a new one.

    Raises:
        SettingError: There is no folder to go on with.
        RunFolderError: The folder cannot be used.
    """
    if isinstance(out, RunFolder):
        return out
    if out is not None:
        bring_back(Path(out).absolute())
        folder = RunFolder(out, force, resume=resume and exists(Path(out) / CONFIG))
        if not folder.resumed:
            folder.prepare({"settings": settings.model_dump(mode="json")})
        return folder
    if resume:
        raise SettingError("there is no run to go on with; give its folder as out")
    return None


def with_lanes(settings: LearnSettings, past: PreviousRun, tasks: TaskSet) -> LearnSettings:
    """Settings that say how many lanes there are: those of then, or what suits the device; on a CPU it is left open."""
    if settings.execution.lanes is not None or tasks.device.type == "cpu":
        return settings
    begun = past.settings is not None and past.members
    lanes = past.settings.lanes if past.settings is not None and begun else choose_lanes(tasks, settings)
    execution = settings.execution.model_copy(update={"lanes": lanes})
    return settings.model_copy(update={"execution": execution})


def require_settings(past: PreviousRun, now: LearnSettings, override: bool) -> None:
    """Make sure that a run goes on as it was begun.

    Args:
        past: What is left of it.
        now: The settings to go on with.
        override: Whether those that may change may change now.

    Raises:
        SettingError: They differ, and may not.
    """
    if past.folder is None or past.settings is None:
        return
    path, before, after = past.folder.path, flat(past.settings), flat(now)
    if not past.members:  # a call that ended before it had seen the task did not know of an optimiser of the task's own
        before["optimizer"] = after["optimizer"]
    # Left open they are 1, or, before anything was evaluated, not chosen yet.
    before["lanes"], after["lanes"] = past.settings.lanes if past.members else now.lanes, now.lanes
    told = {name: f"{name} was {old!r}, now {after[name]!r}" for name, old in before.items() if old != after[name]}
    fixed = [text for name, text in told.items() if name not in may_change(past.settings)]
    if fixed:
        raise SettingError(
            f"'{path}' was begun with other settings, which may not change ({'; '.join(fixed)}); give those of then, "
            "or start another run"
        )
    if told and not override:
        differ = "; ".join(told.values())
        raise SettingError(
            f"'{path}' was begun with other settings ({differ}); give those of then, or add `override=True`"
        )
    done = max((generation for generation, _ in past.members), default=-1) + 1
    if now.generations < done:
        raise SettingError(f"setting 'generations': '{path}' has {done} already, not {now.generations}; give more")


def describe(folder: RunFolder, tasks: TaskSet, settings: LearnSettings, past: PreviousRun) -> None:
    """Write down what a run's results depend on; one that goes on must have the same tasks.

    Raises:
        RunFolderError: The tasks differ from those of then, or nothing can be written.
    """
    now = [identity(task) for task in tasks]
    origin = origin_now(folder.config.get("command"), folder.config if folder.resumed else {})
    if folder.resumed:
        _require_same(folder, now)
        for change in origin.changes():
            getLogger("evomal").warning("'%s': %s; results may differ in their last bits", folder.path, change)
    if past.ended is not None:  # it goes on all the same, with other settings
        folder.checkpoints.write(past.ended.model_copy(update={"ended": None}).model_dump(mode="json"))
    folder.describe({"settings": settings.model_dump(mode="json"), "tasks": now, **origin.as_dict()})


def require_tasks(folder: RunFolder, tasks: TaskSet) -> None:
    """Make sure that tasks are those that a run was begun with: by name, by data, and by what they compute.

    Raises:
        RunFolderError: They differ.
    """
    _require_same(folder, [identity(task) for task in tasks])


def _require_same(folder: RunFolder, now: Sequence[Mapping[str, Any]]) -> None:
    before = folder.config.get("tasks")
    if not isinstance(before, list) or not all(isinstance(task, dict) for task in before):
        raise RunFolderError(
            f"'{folder.path / CONFIG}' is damaged: its tasks are missing; start anew with `force=True`"
        )
    found = [change for old, new in zip(before, now, strict=False) for change in changes(old, new)]
    if len(before) != len(now):
        found = [f"there were {len(before)} tasks, now {len(now)}"]
    if found:
        raise RunFolderError(
            f"'{folder.path}' was begun on another task ({'; '.join(found[:3])}); bring back the data and the model of "
            "then, or start another run"
        )


def may_change(settings: LearnSettings) -> tuple[str, ...]:
    """Flat names of settings that may change.

    GLO's phases follow one another, so its first one keeps its length. Who races or shares lanes with whom depends on
    how many may still be evaluated.
    """
    fixed = {"generations"} if settings.method == "glo" else set()
    if settings.racing.racing or settings.lanes > 1:
        fixed.add("max_evaluations")
    return tuple(name for name in MAY_CHANGE if name not in fixed)


def flat(settings: LearnSettings) -> dict[str, Any]:
    """Settings by their flat names.

    Example:
        >>> from evomal.config import learn_settings
        >>> flat(learn_settings(lr=0.5))["lr"]
        0.5
    """
    return {
        name: getattr(getattr(settings, stage) if stage else settings, name)
        for name, stage in flat_fields(LearnSettings).items()
    } | dict(settings.own)
