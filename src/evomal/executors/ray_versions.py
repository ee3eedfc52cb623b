"""Whether the nodes of a Ray cluster have the packages that this process has."""

import logging
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from evomal.foundation.errors import SettingError

PATIENCE = 60.0  # seconds for all nodes to say what is installed there
SAME = ("evomal", "torch")
"""Packages that should be of one version everywhere."""


def require_same_versions(ray: Any) -> None:
    """Refuse a cluster with nodes that lack our packages; warn of other versions there.

    Raises:
        SettingError: A node lacks a package.
    """
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    names = SAME

    def installed() -> dict[str, str | None]:
        # Sent by value: where evomal is missing, nothing of it can be imported.
        from importlib.metadata import PackageNotFoundError, version

        found: dict[str, str | None] = {}
        for name in names:
            try:
                found[name] = version(name)
            except PackageNotFoundError:
                found[name] = None
        return found

    look = ray.remote(num_cpus=0, max_retries=0)(installed)
    asked = {}
    for node in ray.nodes():
        if node["Alive"] and node["Resources"].get("CPU"):
            strategy = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            asked[look.options(scheduling_strategy=strategy).remote()] = node["NodeManagerAddress"]
    ready, _ = ray.wait(list(asked), num_returns=len(asked), timeout=PATIENCE) if asked else ([], [])
    for reference in set(asked) - set(ready):
        logging.getLogger("evomal").warning(
            "node %s of the cluster does not say within %g s what is installed there", asked[reference], PATIENCE
        )
    for reference in ready:
        with suppress(ray.exceptions.RayError):  # a node that has just been lost
            _compare(asked[reference], ray.get(reference))


def _compare(node: str, theirs: dict[str, str | None]) -> None:
    for name, found in theirs.items():
        own = _own_version(name)
        if found is None:
            raise SettingError(f"node {node} of the cluster has no {name}; install there what is here ({name} {own})")
        if found != own:
            logging.getLogger("evomal").warning(
                "node %s of the cluster has %s %s, this process %s; results may differ in their last bits",
                node, name, found, own,
            )  # fmt: skip


def _own_version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
