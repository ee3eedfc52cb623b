"""Registered models, built for the shapes of a data set."""

from evomal.tasks.models.convolutional import VGG16, AlexNet, AllCNNC, SqueezeNet
from evomal.tasks.models.registry import MODELS, ModelFactory, make_factory
from evomal.tasks.models.residual import PreResNet101, PyramidNet110, ResNet18, WideResNet28
from evomal.tasks.models.simple import MLP, LeNet5, Linear

__all__ = [
    "MLP",
    "MODELS",
    "VGG16",
    "AlexNet",
    "AllCNNC",
    "LeNet5",
    "Linear",
    "ModelFactory",
    "PreResNet101",
    "PyramidNet110",
    "ResNet18",
    "SqueezeNet",
    "WideResNet28",
    "make_factory",
]
