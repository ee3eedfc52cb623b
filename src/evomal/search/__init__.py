"""The search: engines that ask and tell, filters, the evaluation of candidates, and the methods made of them."""

from evomal.search.candidate import Candidate
from evomal.search.evomal import EvoMAL
from evomal.search.result import LearnResult
from evomal.search.watching import Watcher

__all__ = ["Candidate", "EvoMAL", "LearnResult", "Watcher"]
