"""What a candidate is worth: stages, filters, racing, limits; one at a time or batched behind one interface."""

from evomal.evaluation.candidate import Candidate
from evomal.evaluation.watching import Watcher

__all__ = ["Candidate", "Watcher"]
