"""Where work is done: here, in processes, on a cluster; knows functions and plain values, nothing about losses."""

from evomal.executors.executor import Executor, InProcess, Stream, WorkerError
from evomal.executors.factory import make_executor
from evomal.executors.processes import Processes

__all__ = ["Executor", "InProcess", "Processes", "Stream", "WorkerError", "make_executor"]
