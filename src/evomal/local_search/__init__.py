"""The gradient of the task loss through base steps with respect to φ, and Adam on φ."""

from evomal.local_search.endings import NotFiniteError, Tuned
from evomal.local_search.meta_gradient import meta_gradient
from evomal.local_search.tune import tune

__all__ = ["NotFiniteError", "Tuned", "meta_gradient", "tune"]
