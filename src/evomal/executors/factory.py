"""Which executor a run has: this process, worker processes, or a cluster."""

from typing import Literal

from evomal.executors.executor import Executor, InProcess
from evomal.foundation.errors import SettingError

Kind = Literal["auto", "here", "processes", "ray"]


def make_executor(
    workers: int, executor: Kind = "auto", address: str | None = None, object_store: int = 512, gpus: float = 0.0
) -> Executor:
    """An executor with that many workers.

    Args:
        workers: How many jobs run at a time.
        executor: ``"here"``: in this process; ``"processes"``: in worker processes; ``"ray"``: on a cluster;
            ``"auto"``: here for one worker, else in processes.
        address: For Ray, ``HOST:PORT`` of a running cluster; None starts one on this machine alone.
        object_store: For Ray that is started here, MiB of shared memory for data.
        gpus: For Ray, how much of a GPU each job takes.

    Returns:
        The executor; `close` gives back what it holds.

    Raises:
        SettingError: The choices do not fit together, Ray is not installed, or the cluster cannot be used.

    Example:
        >>> type(make_executor(1)).__name__
        'InProcess'
        >>> make_executor(1, "processes").close()
    """
    if address is not None and executor != "ray":
        raise SettingError(f"setting 'address': '{address}' is for executor 'ray', not '{executor}'; leave it out")
    if executor == "here" and workers > 1:
        raise SettingError(
            f"setting 'executor': 'here' has one worker, not {workers}; give `workers=1`, or 'processes'"
        )
    if executor == "ray":
        from evomal.executors.ray_cluster import RayExecutor

        return RayExecutor(address, workers, object_store, gpus)
    if executor == "here" or (executor == "auto" and workers == 1):
        return InProcess()
    from evomal.executors.processes import Processes

    return Processes(workers)
