"""Work on a cluster of machines, by Ray."""

import heapq
import logging
import os
import shutil
import signal
import tempfile
import threading
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from pickle import PicklingError
from types import TracebackType
from typing import Any

from evomal.executors.executor import Executor, Job, Stream, WorkerError, unsendable
from evomal.executors.ray_address import require_cluster
from evomal.executors.ray_versions import require_same_versions
from evomal.foundation.errors import SettingError, one_line

RETRIES = 3  # a job whose worker or node is lost is done again so often
LONG = 30  # characters of a temporary folder, beyond which Ray's sockets in it would have too long names


class RayExecutor(Executor):
    """Runs jobs on a Ray cluster, each on one CPU and with one thread.

    The shared object is put once into the object store, which sends it to a node when a job there first asks for it;
    the workers of a node read the same memory. Nothing goes through files. A job whose worker or node is lost is done
    again, so a job must bear being done twice.

    Args:
        address: ``HOST:PORT`` of a running cluster of which this machine is a node; None starts one on this machine
            alone, and ends it in `close`. A cluster that this process is connected to already is used as it is.
        workers: How many jobs run at a time.
        object_store: MiB of shared memory for data, where Ray is started here.
        gpus: How much of a GPU each job takes; without, Ray hides GPUs from it.

    Raises:
        SettingError: Ray is not installed, does not start, or the cluster cannot be used.
    """

    def __init__(self, address: str | None, workers: int, object_store: int = 512, gpus: float = 0.0) -> None:
        self._ray = _ray()
        self.workers = workers
        self._gpus = gpus
        self._folder: str | None = None
        self._run: Any = None
        self._shared: dict[int, tuple[Any, Any]] = {}
        self._ours = not self._ray.is_initialized()
        try:
            if self._ours:
                self._begin(address, object_store)
            if address is not None:
                require_same_versions(self._ray)
            places = self._places()
            if places < 1:
                needs = f"{self._gpus:g} GPU" if self._gpus else "one CPU"
                raise SettingError(
                    f"the Ray cluster has no room for a job, which needs {needs}; add nodes, or give another `device`"
                )
        except BaseException:
            self.close()
            raise
        # Beyond what runs, some wait at the nodes, so that none is idle while a result travels.
        self.in_flight = workers if workers < places else 2 * workers
        if workers > places:
            logging.getLogger("evomal").warning(
                "%d workers, but the cluster has room for %d jobs at a time; the others wait", workers, places
            )

    def stream(self, shared: Any) -> Stream:
        """A stream of jobs for the cluster.

        Taking out the next result raises `WorkerError` when a job lost its worker ``RETRIES`` + 1 times.
        """
        return _Jobs(self, shared)

    def submit(self, shared: Any, job: Job) -> Any:
        """Hand a job to the cluster; its reference."""
        if self._run is None:
            self._run = self._ray.remote(num_cpus=1, num_gpus=self._gpus, max_retries=RETRIES)(_call)
        try:
            # Inside a list, it is fetched by a worker when it needs it, not by Ray for every job.
            return self._run.remote(job.function, [self._put(shared)], job.arguments)
        except (TypeError, PicklingError) as error:
            raise unsendable(one_line(error)) from error

    def wait(self, references: Collection[Any]) -> Any:
        """One of these, whose job is over."""
        return self._ray.wait(list(references))[0][0]

    def close(self) -> None:
        """Leave the cluster, or end it if it was started here; what still runs there for this process ends."""
        self._shared.clear()
        if self._ours and self._ray.is_initialized():
            self._ray.shutdown()
            self._ray._private.worker._worker_logs_enabled = True
        self._ours = False
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _begin(self, address: str | None, object_store: int) -> None:
        """Connect to a cluster, or start one."""
        if address is not None:
            require_cluster(address)
            where: dict[str, Any] = {"address": address}
        else:
            base = tempfile.gettempdir()
            self._folder = tempfile.mkdtemp(prefix="evomal-ray-", dir=base if len(base) <= LONG else "/tmp")
            where = {
                "address": "local",  # whatever RAY_ADDRESS says
                "num_cpus": self.workers,
                "object_store_memory": object_store << 20,
                "include_dashboard": False,
                "_temp_dir": self._folder,
            }
        try:
            with _undisturbed():
                self._ray.init(log_to_driver=False, logging_level=logging.ERROR, **where)
            # It prints every lost worker on standard output, which is ours; there is no other way to say no.
            self._ray._private.worker._worker_logs_enabled = False
        except Exception as error:  # whatever hinders it
            place = "here" if address is None else f"at {address}"
            raise SettingError(f"Ray cannot be used {place} ({one_line(error)}); try `executor='processes'`") from error

    def _places(self) -> int:
        """How many jobs the cluster has room for."""
        resources = self._ray.cluster_resources()
        places = resources.get("CPU", 0.0)
        return int(min(places, resources.get("GPU", 0.0) / self._gpus) if self._gpus else places)

    def _put(self, shared: Any) -> Any:
        """The reference of a shared object; the object is kept, so that its identity stays its own."""
        if id(shared) not in self._shared:
            self._shared[id(shared)] = (shared, self._ray.put(shared))
        return self._shared[id(shared)][1]

    def result(self, reference: Any) -> Any:
        """A result, or the exception that the job raised, as it was."""
        from ray.exceptions import RayError, RayTaskError

        try:
            return self._ray.get(reference)
        except RayError as error:
            cause = error.cause if isinstance(error, RayTaskError) else error
            if not isinstance(cause, RayError):
                raise cause from None
            raise WorkerError(
                f"a job lost its worker or its node {RETRIES + 1} times ({type(cause).__name__}), perhaps for want of "
                "memory; what is finished is kept, go on with fewer workers"
            ) from cause

    def cancel(self, running: Iterable[Any]) -> None:
        """End what nobody waits for any more."""
        for reference in running if self._ray.is_initialized() else ():
            with suppress(Exception):  # it may have ended, or the cluster
                self._ray.cancel(reference, force=True)


class _Jobs(Stream):
    def __init__(self, cluster: RayExecutor, shared: Any) -> None:
        super().__init__()
        self._cluster, self._shared = cluster, shared
        self._under_way: dict[Any, int] = {}

    def next_finished(self) -> tuple[int, Any]:
        while self._waiting and len(self._under_way) < self._cluster.in_flight:
            job = heapq.heappop(self._waiting)
            self._under_way[self._cluster.submit(self._shared, job)] = job.number
        reference = self._cluster.wait(self._under_way)
        return self._under_way.pop(reference), self._cluster.result(reference)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._cluster.cancel(self._under_way)
        self._under_way.clear()


def _ray() -> Any:
    try:
        import ray
    except ImportError:
        raise SettingError(
            "setting 'executor': 'ray' needs the package of that name; pip install 'evomal[ray]'"
        ) from None
    return ray


@contextmanager
def _undisturbed() -> Iterator[None]:
    """While Ray starts: no reports of usage, limits where it has none; and our way to end a program stays ours."""
    wanted = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_task_oom_retries": str(RETRIES)}
    before = {name: os.environ.get(name) for name in wanted}
    main = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGTERM)
    os.environ.update(wanted)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            yield
    finally:
        if main:
            signal.signal(signal.SIGTERM, handler)
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


_loaded: dict[Any, Any] = {}


def _call(function: Callable[..., Any], held: list[Any], job: tuple[Any, ...]) -> Any:
    """In a worker: run a job, with the shared object fetched at its first use."""
    (reference,) = held
    if reference not in _loaded:
        import ray
        import torch

        torch.set_num_threads(1)  # whatever OMP_NUM_THREADS says at that node
        # Arrays in the store cannot be written, and PyTorch says so; nothing here writes into data.
        warnings.filterwarnings("ignore", "The given NumPy array is not writable", UserWarning)
        _loaded.clear()  # workers outlive runs; one object at a time is enough
        _loaded[reference] = ray.get(reference)
    return function(_loaded[reference], *job)
