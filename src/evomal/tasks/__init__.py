"""What is learned on: tasks, data sets, models, metrics and batches."""

from evomal.tasks.batches import Batches
from evomal.tasks.datasets import DATASETS, Alterations, Data, altered, load_dataset
from evomal.tasks.metrics import METRICS, Metric, get_metric
from evomal.tasks.models import MODELS, make_factory
from evomal.tasks.named import named_task
from evomal.tasks.probe import probe
from evomal.tasks.several import TaskSet
from evomal.tasks.splits import AnySplit, LazySplit, Split
from evomal.tasks.task import Task
from evomal.tasks.user import load_user_task

__all__ = [
    "DATASETS",
    "METRICS",
    "MODELS",
    "Alterations",
    "AnySplit",
    "Batches",
    "Data",
    "LazySplit",
    "Metric",
    "Split",
    "Task",
    "TaskSet",
    "altered",
    "get_metric",
    "load_dataset",
    "load_user_task",
    "make_factory",
    "named_task",
    "probe",
]
