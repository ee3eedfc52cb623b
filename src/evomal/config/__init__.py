"""Settings, presets, and how one becomes the other."""

from evomal.config.building import (
    STAGES,
    changed,
    fitting,
    flat_fields,
    learn_settings,
    train_settings,
    unused,
    validated,
)
from evomal.config.paper import PAIRS, Pair, paper_preset, preset_manual
from evomal.config.presets import FIXED, IN_FULL, METHOD_DEFAULTS, PRESETS, UNUSED, WHERE
from evomal.config.settings import LearnSettings, TrainSettings, with_schedule_in_base
from evomal.config.stages import (
    OPTIMIZERS,
    BaseSettings,
    CmaSettings,
    ExecutionSettings,
    FilterSettings,
    GeneticSettings,
    LimitSettings,
    LocalSearchSettings,
    NeuralSettings,
    RacingSettings,
    Settings,
)

__all__ = [
    "FIXED",
    "IN_FULL",
    "METHOD_DEFAULTS",
    "OPTIMIZERS",
    "PAIRS",
    "PRESETS",
    "STAGES",
    "UNUSED",
    "WHERE",
    "BaseSettings",
    "CmaSettings",
    "ExecutionSettings",
    "FilterSettings",
    "GeneticSettings",
    "LearnSettings",
    "LimitSettings",
    "LocalSearchSettings",
    "NeuralSettings",
    "Pair",
    "RacingSettings",
    "Settings",
    "TrainSettings",
    "changed",
    "fitting",
    "flat_fields",
    "learn_settings",
    "paper_preset",
    "preset_manual",
    "train_settings",
    "unused",
    "validated",
    "with_schedule_in_base",
]
