"""Registered data sets, split and normalised, and made harder where asked."""

from evomal.tasks.datasets.alterations import Alterations, altered
from evomal.tasks.datasets.data import Data
from evomal.tasks.datasets.own import load_file
from evomal.tasks.datasets.registry import DATASETS, DatasetSource, load_dataset

__all__ = ["DATASETS", "Alterations", "Data", "DatasetSource", "altered", "load_dataset", "load_file"]
