"""The search: engines that ask and tell, filters, the evaluation of candidates, and the methods made of them."""

from evomal.evaluation.candidate import Candidate
from evomal.evaluation.watching import Watcher, Watchers
from evomal.search.asked import AskedCandidate
from evomal.search.asking import Search
from evomal.search.method import METHODS, Method
from evomal.search.methods import GLO, GPLFL, ML3, EvoMAL, TaylorGLO, load_method, make_method
from evomal.search.result import LearnResult, SearchInterrupted

__all__ = [
    "GLO",
    "GPLFL",
    "METHODS",
    "ML3",
    "AskedCandidate",
    "Candidate",
    "EvoMAL",
    "LearnResult",
    "Method",
    "Search",
    "SearchInterrupted",
    "TaylorGLO",
    "Watcher",
    "Watchers",
    "load_method",
    "make_method",
]
