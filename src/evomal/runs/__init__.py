"""Run folders, journals, and where work is done; knows records and functions, nothing about losses."""

from evomal.runs.executors import Executor, InProcess, Processes, WorkerError, make_executor
from evomal.runs.folder import Journal, RunFolder, comparable, read_journal

__all__ = [
    "Executor",
    "InProcess",
    "Journal",
    "Processes",
    "RunFolder",
    "WorkerError",
    "comparable",
    "make_executor",
    "read_journal",
]
