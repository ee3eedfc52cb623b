"""Training with a loss, and the evaluation of a metric."""

from evomal.training.evaluate import evaluate
from evomal.training.fit import Fit, fit, one_thread
from evomal.training.meta_testing import MetaTest, TrainingRun, meta_test

__all__ = ["Fit", "MetaTest", "TrainingRun", "evaluate", "fit", "meta_test", "one_thread"]
