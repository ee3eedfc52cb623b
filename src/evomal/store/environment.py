"""How the parts of a run or a comparison were made: the command, and the versions of what computes."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import metadata
from typing import Any

PACKAGES = ("torch", "numpy", "scipy", "cma")
EARLIER = "earlier_versions"


@dataclass(frozen=True, slots=True)
class Origin:
    """What made a run or a comparison.

    Args:
        command: The last command line; None for a call from Python.
        versions: Of evomal, Python and the packages that compute, when it was finished.
        earlier: Other sets of versions, under which parts of it were finished.

    Example:
        >>> Origin(versions={"torch": "2.1"}, earlier=({"torch": "2.0"},)).changes()
        ['finished parts were made with torch 2.0, now torch 2.1']
    """

    command: str | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    earlier: tuple[Mapping[str, str], ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Everything as plain values."""
        return {
            "command": self.command,
            "versions": dict(self.versions),
            EARLIER: [dict(each) for each in self.earlier],
        }

    def changes(self) -> list[str]:
        """What differs between the versions of now and each earlier set, one sentence a set."""
        told = []
        for old in self.earlier:
            names = [name for name, now in self.versions.items() if old.get(name, now) != now]
            if names:
                before, after = (", ".join(f"{name} {kind[name]}" for name in names) for kind in (old, self.versions))
                told.append(f"finished parts were made with {before}, now {after}")
        return told


def versions() -> dict[str, str]:
    """The versions of evomal, Python and the packages that compute.

    Example:
        >>> list(versions())
        ['evomal', 'python', 'torch', 'numpy', 'scipy', 'cma']
    """
    import platform

    import evomal

    known = {"evomal": evomal.__version__, "python": platform.python_version()}
    for name in PACKAGES:
        with suppress(metadata.PackageNotFoundError):  # installed in some way of its own
            known[name] = metadata.version(name)
    return known


def origin_now(command: str | None, before: Mapping[str, Any]) -> Origin:
    """The origin of what starts, or goes on.

    Args:
        command: The command line, or None.
        before: The document of what is finished; empty if nothing is. One of an older evomal may know no versions.

    Returns:
        The origin; versions that `before` names and that are not those of now are among the earlier ones.

    Example:
        >>> origin_now(None, {"versions": {"torch": "2.0"}}).earlier
        ({'torch': '2.0'},)
    """
    now = versions()
    sets = before.get(EARLIER)
    named = [*(sets if isinstance(sets, list) else ()), before.get("versions")]
    earlier: list[dict[str, str]] = []
    for known in named:
        if isinstance(known, dict):
            plain = {str(name): str(version) for name, version in known.items()}
            if plain not in (now, *earlier):
                earlier.append(plain)
    return Origin(command, now, tuple(earlier))
