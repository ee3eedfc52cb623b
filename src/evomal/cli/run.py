"""The run that `evomal learn` works on: a new one, or one that it goes on with."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evomal.cli.source import TaskSource, found_here, resume_command, same_codes, source_of
from evomal.config import PRACTICE, LearnSettings, changed, learn_settings
from evomal.foundation.errors import RunFolderError, SettingError
from evomal.store import RunFolder
from evomal.store.config import CONFIG, require_own_training, settings_entries, stored_settings


@dataclass(frozen=True, slots=True)
class GivenSearch:
    """What the command line said of a run; None, or nothing, where an option was left out.

    Args:
        task: The options of the task, by name.
        also: Further tasks.
        preset: The name of a preset.
        settings: Single settings by flat name.
        command: All arguments.
        override: Whether a run may go on with other settings than it was begun with.
        method: Where the user's own method is from; None for one by name.
    """

    task: Mapping[str, Any]
    also: Sequence[str]
    preset: str | None
    settings: Mapping[str, Any]
    command: Sequence[str]
    override: bool = False
    method: str | None = None

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
        method: Where the user's own method is from; None for one by name.
    """

    folder: RunFolder
    sources: list[TaskSource]
    settings: LearnSettings
    override: bool = False
    method: str | None = None

    @property
    def resume_command(self) -> str:
        """How to go on with it from here."""
        return resume_command("learn", self.folder.path, self.sources, self.method)


def new_run(given: GivenSearch, out: Path | None, force: bool) -> Run:
    """A run that begins; its settings are written down before torch is imported."""
    preset = given.preset or PRACTICE
    sources, settings = given.sources, learn_settings(preset, **given.settings)
    method = "" if settings.method == "evomal" else f"-{settings.method}"
    slug = "+".join(each.slug for each in sources)
    folder = RunFolder(out or Path("runs") / f"{slug}{method}-seed{settings.seed}", force)
    # A run that dies at once leaves word of what it was.
    folder.prepare(
        {
            "command": shlex.join(["evomal", *given.command]),
            "preset": preset,
            "task": sources[0].stored(),
            "also": list(given.also),
            "directory": str(Path.cwd()),
            **settings_entries(settings),
            **({} if given.method is None else {"method_from": given.method}),
        }
    )
    return Run(folder, sources, settings, method=given.method)


def old_run(given: GivenSearch, path: Path) -> Run:
    """A run that goes on; what was given beside it must be what it was begun with.

    Raises:
        SettingError: It is not, or code would be run that only the folder names.
        RunFolderError: There is no such run, it is damaged, or another process is at work on it.
    """
    folder = RunFolder(path, resume=True)
    with folder.closed_if_refused():
        require_own_training(folder.config, folder.path)
        stored = folder.config.get("task")
        sources = given.sources if stored is None else _same_sources(given, folder)
        _require_method(given, folder)
        before = stored_settings(folder.config, folder.path)
        method = given.settings.get("method")
        if method not in (None, before.method):
            raise _other(folder, [f"method was {before.method!r}, now {method!r}"])
        settings = changed(before, given.preset, **given.settings)
    return Run(folder, sources, settings, given.override, given.method)


def _require_method(given: GivenSearch, folder: RunFolder) -> None:
    """A method of the user's own is code too: whoever goes on names it."""
    spec = folder.config.get("method_from")
    if spec is not None and given.method is None:
        lacking = f"--method {shlex.quote(found_here(str(spec), folder.config.get('directory')))}"
        raise SettingError(
            f"'{folder.path}' was begun with {lacking}, whose code is run only where it is named; add {lacking}"
        )


def _same_sources(given: GivenSearch, folder: RunFolder) -> list[TaskSource]:
    """The tasks of a run, once it is sure that nothing else was named."""
    source = source_of(folder.config["task"], folder.path / CONFIG)
    also = folder.config.get("also") or []
    if not isinstance(also, list) or not all(isinstance(spec, str) for spec in also):
        raise RunFolderError(f"'{folder.path / CONFIG}' is damaged: its 'also' is {also!r}; start anew with --force")
    before, now = source.as_dict(), dict(given.task)
    # What lies elsewhere by now may be the same: the fingerprint of data, and what code makes, are compared later.
    alike = {"data", "data_dir"} | ({"task"} if source.task is not None and "task" in now else set())
    told = {
        name: f"{name} was {before[name]!r}, now {value!r}"
        for name, value in now.items()
        if before[name] != value and name not in alike
    }
    if given.override:
        told.pop("device", None)
    if given.also and not same_codes(also, given.also):
        told["also"] = f"also was {also!r}, now {list(given.also)!r}"
    if told:
        raise _other(folder, list(told.values()))
    _require_named(given, source.task, also, folder)
    return _sources(TaskSource(**{**before, **given.task}), given.also or also)


def _require_named(given: GivenSearch, task: str | None, also: Sequence[str], folder: RunFolder) -> None:
    """A folder's own word is no reason to run a file: whoever goes on names it."""
    codes = [] if task is None or "task" in given.task else [("--task", task)]
    codes += [] if given.also else [("--also", spec) for spec in also if ":" in spec]
    if codes:
        where = folder.config.get("directory")
        lacking = " ".join(f"{flag} {shlex.quote(found_here(spec, where))}" for flag, spec in codes)
        raise SettingError(
            f"'{folder.path}' was begun with {lacking}, whose code is run only where it is named; add {lacking}"
        )


def _sources(first: TaskSource, also: Sequence[str]) -> list[TaskSource]:
    return [first, *(first.beside(spec) for spec in also)]


def _other(folder: RunFolder, told: list[str]) -> SettingError:
    return SettingError(
        f"'{folder.path}' was begun with other options ({'; '.join(told)}); leave them out, or start another run"
    )
