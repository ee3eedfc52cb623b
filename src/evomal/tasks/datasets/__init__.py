"""Registered data sets, split and normalised."""

from evomal.tasks.datasets.data import Data
from evomal.tasks.datasets.registry import DATASETS, DatasetSource, load_dataset

__all__ = ["DATASETS", "Data", "DatasetSource", "load_dataset"]
