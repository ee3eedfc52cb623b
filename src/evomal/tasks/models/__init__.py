"""Registered models, built for the shapes of a data set."""

from evomal.tasks.models.lenet5 import LeNet5
from evomal.tasks.models.registry import MODELS, ModelFactory, make_factory
from evomal.tasks.models.simple import MLP, Linear

__all__ = ["MLP", "MODELS", "LeNet5", "Linear", "ModelFactory", "make_factory"]
