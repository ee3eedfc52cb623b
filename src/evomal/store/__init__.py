"""The run folder: journal, checkpoints, settings, best loss; what a task is, and what may change when a run goes on."""

from evomal.store.folder import RunFolder
from evomal.store.journal import Journal, comparable, read_journal, read_records, skim_journal

__all__ = ["Journal", "RunFolder", "comparable", "read_journal", "read_records", "skim_journal"]
