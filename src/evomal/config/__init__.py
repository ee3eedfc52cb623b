"""Settings, presets, and how one becomes the other."""

from evomal.config.building import STAGES, fitting, flat_fields, learn_settings, train_settings, unused, validated
from evomal.config.presets import FIXED, PRESETS, UNUSED, USUAL
from evomal.config.settings import (
    BaseSettings,
    CmaSettings,
    FilterSettings,
    GeneticSettings,
    LearnSettings,
    LocalSearchSettings,
    NeuralSettings,
    Settings,
    TrainSettings,
)

__all__ = [
    "FIXED",
    "PRESETS",
    "STAGES",
    "UNUSED",
    "USUAL",
    "BaseSettings",
    "CmaSettings",
    "FilterSettings",
    "GeneticSettings",
    "LearnSettings",
    "LocalSearchSettings",
    "NeuralSettings",
    "Settings",
    "TrainSettings",
    "fitting",
    "flat_fields",
    "learn_settings",
    "train_settings",
    "unused",
    "validated",
]
