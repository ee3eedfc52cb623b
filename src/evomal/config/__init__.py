"""Settings, presets, and how one becomes the other."""

from evomal.config.building import changed, fitting, learn_settings, train_settings, unused, validated
from evomal.config.changes import Change, changes, holds, idle
from evomal.config.fields import Meaning, Settings, fields_of, flat, flat_fields, given, meanings, setting, with_given
from evomal.config.manual import preset_manual, settings_manual
from evomal.config.methods import REGISTRY, MethodEntry, choosers, method_entry, register
from evomal.config.paper import PAIRS, Pair, paper_preset
from evomal.config.presets import IN_FULL, PRACTICE, PRESETS
from evomal.config.settings import LearnSettings, TrainSettings, with_schedule_in_base
from evomal.config.signatures import keywords_text, listed, signature_with, used_by, used_elsewhere
from evomal.config.stages import (
    OPTIMIZERS,
    SCHEDULE,
    BaseSettings,
    CmaSettings,
    ExecutionSettings,
    FilterSettings,
    FinalsSettings,
    GeneticSettings,
    LimitSettings,
    LocalSearchSettings,
    NeuralSettings,
    RacingSettings,
    lacking,
)

__all__ = [
    "IN_FULL",
    "OPTIMIZERS",
    "PAIRS",
    "PRACTICE",
    "PRESETS",
    "REGISTRY",
    "SCHEDULE",
    "BaseSettings",
    "Change",
    "CmaSettings",
    "ExecutionSettings",
    "FilterSettings",
    "FinalsSettings",
    "GeneticSettings",
    "LearnSettings",
    "LimitSettings",
    "LocalSearchSettings",
    "Meaning",
    "MethodEntry",
    "NeuralSettings",
    "Pair",
    "RacingSettings",
    "Settings",
    "TrainSettings",
    "changed",
    "changes",
    "choosers",
    "fields_of",
    "fitting",
    "flat",
    "flat_fields",
    "given",
    "holds",
    "idle",
    "keywords_text",
    "lacking",
    "learn_settings",
    "listed",
    "meanings",
    "method_entry",
    "paper_preset",
    "preset_manual",
    "register",
    "setting",
    "settings_manual",
    "signature_with",
    "train_settings",
    "unused",
    "used_by",
    "used_elsewhere",
    "validated",
    "with_given",
    "with_schedule_in_base",
]
