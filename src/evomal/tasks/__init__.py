"""What is learned on: tasks, data sets, models, metrics and batches."""

from evomal.tasks.augmentation import AUGMENTATIONS, Augmentation, Normalisation
from evomal.tasks.datasets import DATASETS, Alterations, Data, altered, load_dataset, load_file
from evomal.tasks.metrics import METRICS, Metric, get_metric
from evomal.tasks.models import MODELS, make_factory
from evomal.tasks.named import file_task, named_task, task_of
from evomal.tasks.probe import probe
from evomal.tasks.sampling import Batches
from evomal.tasks.several import TaskSet
from evomal.tasks.splits import AnySplit, LazySplit, Split
from evomal.tasks.task import Task
from evomal.tasks.user import load_user_task

__all__ = [
    "AUGMENTATIONS",
    "DATASETS",
    "METRICS",
    "MODELS",
    "Alterations",
    "AnySplit",
    "Augmentation",
    "Batches",
    "Data",
    "LazySplit",
    "Metric",
    "Normalisation",
    "Split",
    "Task",
    "TaskSet",
    "altered",
    "file_task",
    "get_metric",
    "load_dataset",
    "load_file",
    "load_user_task",
    "make_factory",
    "named_task",
    "probe",
    "task_of",
]
