"""Learn a loss function for your model, data set and metric.

Names are imported when they are first used, so that `import evomal` is quick and does nothing else.

Comments name decisions by a number, such as D3: `docs/decisions.md` says what each is, under its number (`#d3`).
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from evomal.comparison import Comparison as Comparison
    from evomal.comparison import TrainResult as TrainResult
    from evomal.comparison import compare as compare
    from evomal.comparison import train as train
    from evomal.config import Settings as Settings
    from evomal.expressions import register_operator as register_operator
    from evomal.foundation.errors import EvomalError as EvomalError
    from evomal.local_search.meta_gradient import meta_gradient as meta_gradient
    from evomal.losses import HandcraftedLoss as HandcraftedLoss
    from evomal.losses import NeuralLoss as NeuralLoss
    from evomal.losses import SymbolicLoss as SymbolicLoss
    from evomal.losses import TaylorLoss as TaylorLoss
    from evomal.losses import load_loss as load_loss
    from evomal.reproduction import reproduce as reproduce
    from evomal.search import GLO as GLO
    from evomal.search import GPLFL as GPLFL
    from evomal.search import ML3 as ML3
    from evomal.search import EvoMAL as EvoMAL
    from evomal.search import LearnResult as LearnResult
    from evomal.search import Method as Method
    from evomal.search import Search as Search
    from evomal.search import TaylorGLO as TaylorGLO
    from evomal.search.tuning import TuneResult as TuneResult
    from evomal.search.tuning import tune as tune
    from evomal.tasks import Task as Task
    from evomal.training import meta_test as meta_test

__version__ = "0.1.0"

_HOMES = {
    "compare": "evomal.comparison",
    "Comparison": "evomal.comparison",
    "EvoMAL": "evomal.search",
    "EvomalError": "evomal.foundation.errors",
    "GLO": "evomal.search",
    "GPLFL": "evomal.search",
    "HandcraftedLoss": "evomal.losses",
    "LearnResult": "evomal.search",
    "load_loss": "evomal.losses",
    "meta_gradient": "evomal.local_search",
    "meta_test": "evomal.training",
    "Method": "evomal.search",
    "ML3": "evomal.search",
    "NeuralLoss": "evomal.losses",
    "register_operator": "evomal.expressions",
    "reproduce": "evomal.reproduction",
    "Search": "evomal.search",
    "Settings": "evomal.config",
    "SymbolicLoss": "evomal.losses",
    "Task": "evomal.tasks",
    "TaylorGLO": "evomal.search",
    "TaylorLoss": "evomal.losses",
    "train": "evomal.comparison",
    "TrainResult": "evomal.comparison",
    "tune": "evomal.search.tuning",
    "TuneResult": "evomal.search.tuning",
}

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    if name == "sklearn":  # a module, whose name is not to be confused with scikit-learn's
        return import_module("evomal.sklearn")
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'evomal' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted(__all__)
