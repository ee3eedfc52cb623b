"""Where work is done: here, in processes, on a cluster; knows functions and plain values, nothing about losses."""

from evomal.executors.executor import Executor, InProcess, WorkerError
from evomal.executors.factory import make_executor
from evomal.executors.processes import Processes

__all__ = ["Executor", "InProcess", "Processes", "WorkerError", "make_executor"]
