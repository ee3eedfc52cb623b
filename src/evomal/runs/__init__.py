"""Run folders, journals, and where work is done; knows records and functions, nothing about losses."""

from evomal.runs.executors import Executor, InProcess, WorkerError
from evomal.runs.folder import RunFolder
from evomal.runs.homes import make_executor
from evomal.runs.journal import Journal, comparable, read_journal, read_records
from evomal.runs.processes import Processes

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
    "read_records",
]
