"""Named settings: plain tables of flat names."""

from typing import Any

PRACTICE = "practice"
"""The preset of a command that names none."""

PRESETS: dict[str, dict[str, Any]] = {
    # What serves best, as far as it was measured: a search of some minutes, and finals that cost as much.
    PRACTICE: {
        "lr": 0.03,
        "momentum": 0.9,
        "schedule": "cosine",
        "batch_size": 100,
        "population_size": 24,
        "generations": 12,
        "meta_steps": 100,
        "meta_lr": 0.01,
        "partial_steps": 300,
        "rejection_steps": 300,
        "scale_control": True,
        "fitness_lrs": (0.25, 1.0, 4.0),
        "fitness_trial": 0.2,
        "fitness_share": 0.3,
        "break_ties": True,
        "log_prior": True,
        "known_start": 0.5,
        "steps": 1_000,
    },
    # A minute or two on two cores with small models and data.
    "quick": {
        "finals": False,
        "lr": 0.1,
        "batch_size": 64,
        "population_size": 20,
        "generations": 10,
        "meta_steps": 100,
        "partial_steps": 200,
        "rejection_steps": 300,
        "steps": 1_000,
    },
    # MNIST / LeNet-5 of the paper; the numbers it does not print are from its authors' published code (D4).
    "paper-mnist": {
        "finals": False,
        "lr": 0.01,
        "momentum": 0.0,
        "weight_decay": 0.0,
        "batch_size": 128,
        "population_size": 25,
        "generations": 50,
        "meta_steps": 250,
        "partial_steps": 500,
        "steps": 10_000,
    },
}

# All that the paper trains on images of 32×32 has one set of settings in its authors' code, whatever the network;
# `evomal.config.paper` says where each is from.
_PHOTOGRAPHS = {"momentum": 0.9, "nesterov": True, "weight_decay": 5e-4, "steps": 150_000}
_COLOURED = ("paper-cifar10", "paper-cifar100", "paper-svhn")
PRESETS |= dict.fromkeys(_COLOURED, PRESETS["paper-mnist"] | _PHOTOGRAPHS)

IN_FULL: dict[str, dict[str, Any]] = {
    name: {"schedule": "step", "milestones": (2 / 3, 0.9), "gamma": 0.1} for name in _COLOURED
}
"""What presets say of full trainings alone; the partial ones of a search have a constant rate."""
