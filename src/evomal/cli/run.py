"""The run that `evomal learn` works on: a new one, or one that it goes on with."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evomal.cli.arguments import source_of
from evomal.cli.source import TaskSource
from evomal.config import LearnSettings, changed, learn_settings
from evomal.foundation.errors import RunFolderError, SettingError
from evomal.store import RunFolder
from evomal.store.config import CONFIG, stored_settings


@dataclass(frozen=True, slots=True)
class Given:
    """What the command line said of a run; None, or nothing, where an option was left out.

    Args:
        task: The options of the task, by name.
        also: Further tasks.
        preset: The name of a preset.
        settings: Single settings by flat name.
        command: All arguments.
        override: Whether a run may go on with other settings than it was begun with.
    """

    task: Mapping[str, Any]
    also: Sequence[str]
    preset: str | None
    settings: Mapping[str, Any]
    command: Sequence[str]
    override: bool = False

    @property
    def sources(self) -> list[TaskSource]:
        """All tasks that are named."""
        return _sources(TaskSource(**self.task), self.also)


@dataclass(frozen=True, slots=True)
class Run:
    """A run that can be worked on.

    Args:
        folder: Its folder, open.
        sources: Where its tasks come from.
        settings: Its settings.
        override: Whether these may differ from those that it was begun with.
    """

    folder: RunFolder
    sources: list[TaskSource]
    settings: LearnSettings
    override: bool = False


def new_run(given: Given, out: Path | None, force: bool) -> Run:
    """A run that begins; its settings are written down before torch is imported."""
    sources, settings = given.sources, learn_settings(given.preset, **given.settings)
    method = "" if settings.method == "evomal" else f"-{settings.method}"
    slug = "+".join(each.slug for each in sources)
    folder = RunFolder(out or Path("runs") / f"{slug}{method}-seed{settings.seed}", force)
    # A run that dies at once leaves word of what it was.
    folder.prepare(
        {
            "command": shlex.join(["evomal", *given.command]),
            "preset": given.preset,
            "task": sources[0].as_dict(),
            "also": list(given.also),
            "settings": settings.model_dump(mode="json"),
        }
    )
    return Run(folder, sources, settings)


def old_run(given: Given, path: Path) -> Run:
    """A run that goes on; what was given beside it must be what it was begun with.

    Raises:
        SettingError: It is not, or code would be run that only the folder names.
        RunFolderError: There is no such run, it is damaged, or another process is at work on it.
    """
    folder = RunFolder(path, resume=True)
    try:
        stored = folder.config.get("task")
        sources = given.sources if stored is None else _same_sources(given, folder)
        before = stored_settings(folder.config, folder.path)
        method = given.settings.get("method")
        if method not in (None, before.method):
            raise _other(folder, [f"method was {before.method!r}, now {method!r}"])
        settings = changed(before, given.preset, **given.settings)
    except BaseException:
        folder.discard()
        raise
    return Run(folder, sources, settings, given.override)


def _same_sources(given: Given, folder: RunFolder) -> list[TaskSource]:
    """The tasks of a run, once it is sure that nothing else was named."""
    source = source_of(folder.config["task"], folder.path / CONFIG)
    also = folder.config.get("also") or []
    if not isinstance(also, list) or not all(isinstance(spec, str) for spec in also):
        raise RunFolderError(f"'{folder.path / CONFIG}' is damaged: its 'also' is {also!r}; start anew with --force")
    before = source.as_dict()
    # The fingerprint tells whether it is the same data, wherever it lies.
    now = {name: value for name, value in given.task.items() if name not in ("data", "data_dir")}
    told = {name: f"{name} was {before[name]!r}, now {value!r}" for name, value in now.items() if before[name] != value}
    if given.override:
        told.pop("device", None)
    if given.also and list(given.also) != also:
        told["also"] = f"also was {also!r}, now {list(given.also)!r}"
    if told:
        raise _other(folder, list(told.values()))
    _require_named(given, [source.task, *(spec for spec in also if ":" in spec)], folder)
    return _sources(TaskSource(**{**before, **given.task}), also)


def _require_named(given: Given, specs: Sequence[str | None], folder: RunFolder) -> None:
    """A folder's own word is no reason to run a file: whoever goes on names it."""
    for spec in specs:
        if spec is not None and spec not in (given.task.get("task"), *given.also):
            flag = "--task" if spec == specs[0] else "--also"
            raise SettingError(
                f"'{folder.path}' was begun with {flag} {spec}, whose code is run only where it is named; "
                f"add {flag} {spec}"
            )


def _sources(first: TaskSource, also: Sequence[str]) -> list[TaskSource]:
    return [first, *(first.beside(spec) for spec in also)]


def _other(folder: RunFolder, told: list[str]) -> SettingError:
    return SettingError(
        f"'{folder.path}' was begun with other options ({'; '.join(told)}); leave them out, or start another run"
    )
