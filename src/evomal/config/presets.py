"""Named settings, and what each method takes or has: plain tables of flat names."""

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

WHERE = ("executor", "address", "object_store")
"""Settings that say where candidates are evaluated, beside the number of workers; no result depends on them."""

# What makes a method what it is (D12 to D14); presets give way to it, and an option that contradicts it is refused.
FIXED: dict[str, dict[str, Any]] = {
    "gplfl": {"meta_steps": 0},
    "glo": {"meta_steps": 0},
    "taylorglo": {"meta_steps": 0, "output_activation": "identity"},
    # The one loss that ML³ trains is its result, whatever a filter would say.
    "ml3": {"rejection": False, "gradient_equivalence": False, "output_activation": "identity"},
}
# What a method takes unless told otherwise: GLO's coefficients start from 1, not from 0 as TaylorGLO's do.
METHOD_DEFAULTS: dict[str, dict[str, Any]] = {"glo": {"sigma": 0.3}}

_TREES = (
    "operators",
    "terminals",
    "min_depth",
    "max_depth",
    "tournament_size",
    "crossover_rate",
    "mutation_rate",
    "mutation_depth",
    "elitism_rate",
    "max_height",
    "known_start",
    "start_from",
)
_CMA = ("sigma", "cma_generations")
_NEURAL = ("hidden", "neural_steps")
_TUNING = ("base_steps", "meta_lr", "task_loss_batch")
_RACING = ("racing", "racing_effort", "racing_keep")  # a single loss has nobody to race against
_REJECTION = ("rejection_steps", "rejection_lr", "rejection_threshold")

# What has no effect on a method; giving it is refused, so that nobody believes that it had.
UNUSED: dict[str, tuple[str, ...]] = {
    "evomal": (*_CMA, *_NEURAL),
    "gplfl": (*_TUNING, *_CMA, *_NEURAL),
    "glo": (*_TUNING, *_NEURAL),
    "taylorglo": (*_TREES, "cma_generations", *_TUNING, *_NEURAL),
    "ml3": ("population_size", "generations", *_TREES, *_CMA, "meta_steps", *_REJECTION, *_RACING),
}
