"""What a run folder says of its run: settings, task and versions, as plain values."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evomal.config import LearnSettings, given, validated, with_given
from evomal.foundation.errors import RunFolderError, SettingError
from evomal.foundation.plain_yaml import read_yaml

CONFIG = "config.yaml"
FORMAT, VERSION = "evomal-run", 1
MAX_BYTES = 1_000_000


def read_config(folder: Path) -> dict[str, Any]:
    """What a run folder says of its run.

    Args:
        folder: The run folder.

    Returns:
        Plain values; only format, version and that settings are there has been checked.

    Raises:
        RunFolderError: The folder holds no run, a damaged one, one of another version, or one of before there was any.
    """
    path = folder / CONFIG
    if not path.is_file():
        raise RunFolderError(f"'{folder}' holds no run ({CONFIG} is missing); give the folder of a run")
    config = read_yaml(path, MAX_BYTES)
    version = config.get("version")
    if config.get("format") != FORMAT:
        raise RunFolderError(
            f"'{path}' is not of format {FORMAT}: it is no run, or one of an evomal that could not resume; start anew "
            "with `force=True`"
        )
    if type(version) is int and version > VERSION:
        raise RunFolderError(
            f"'{folder}' comes from the future (version {version}; this evomal reads {VERSION}); update evomal"
        )
    if version != VERSION or isinstance(version, bool) or not isinstance(config.get("settings"), dict):
        raise RunFolderError(f"'{path}' is damaged; start anew with `force=True`, or give another `out`")
    return config


def require_own_training(config: Mapping[str, Any], path: Path) -> None:
    """Refuse the folder of an `evomal.Search`, which somebody asks and tells: only that goes on with it.

    Raises:
        RunFolderError: It is one.
    """
    if "asked" in config:
        raise RunFolderError(
            f"'{path}' holds a search that is asked and told, not a run; go on with it by "
            f"evomal.Search(out={str(path)!r})"
        )


def settings_entries(settings: LearnSettings) -> dict[str, Any]:
    """The settings of a search as a configuration has them, with the names of those that somebody gave."""
    return {"settings": settings.model_dump(mode="json"), "given": sorted(given(settings))}


def stored_settings(config: Mapping[str, Any], path: Path) -> LearnSettings:
    """The settings of a search from its configuration.

    Args:
        config: What lies in the run folder.
        path: The run folder.

    Raises:
        RunFolderError: They are missing, or no such settings can be.
    """
    settings = config["settings"]
    if isinstance(settings, dict) and "finals" not in settings:  # of before there were any: the run had none
        settings = {**settings, "finals": {"finals": False}}
    names = config.get("given", [])  # an older evomal did not write down which of them were given
    try:
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise SettingError(f"its 'given' is {names!r}")
        return with_given(validated(LearnSettings, settings), names)
    except SettingError as error:
        raise RunFolderError(f"'{path / CONFIG}' is damaged ({error}); start anew with `force=True`") from None
