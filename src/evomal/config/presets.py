"""Named settings: plain tables of flat names; the experiments of the paper among them, and where each value is from."""

from typing import Any, NamedTuple

from evomal.foundation.errors import SettingError

PRACTICE = "practice"
"""The preset of a command that names none."""

PRESETS: dict[str, dict[str, Any]] = {
    # What serves best, as far as it was measured: a search of some minutes, and finals of 1.5 times its steps.
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
        "finals_effort": 1.65,
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
# `SOURCES` says where each is from.
_PHOTOGRAPHS = {"momentum": 0.9, "nesterov": True, "weight_decay": 5e-4, "steps": 150_000}
_COLOURED = ("paper-cifar10", "paper-cifar100", "paper-svhn")
PRESETS |= dict.fromkeys(_COLOURED, PRESETS["paper-mnist"] | _PHOTOGRAPHS)

IN_FULL: dict[str, dict[str, Any]] = {
    name: {"schedule": "step", "milestones": (2 / 3, 0.9), "gamma": 0.1} for name in _COLOURED
}
"""What presets say of full trainings alone; the partial ones of a search have a constant rate."""


PAPER, CODE, OURS = "the paper", "its authors' code", "a decision of ours"


class Source(NamedTuple):
    """Where the value of a setting is from."""

    kind: str  # PAPER, CODE or OURS
    where: str


class Pair(NamedTuple):
    """A data set and a network that the paper has results of."""

    dataset: str
    model: str
    tables: tuple[int, ...]  # 2: learned there; 3: learned on CIFAR-10 and transferred
    network: str  # how the network is read where its paper, or the authors' code, leaves a choice

    @property
    def preset(self) -> str:
        """The preset that both have."""
        return f"paper-{self.dataset}"


NETWORKS = {
    "lenet5": "tanh and average pooling, without padding, as the 44,426 parameters of the code have it",
    "alexnet": "3×3 kernels and a first stride of 2 (code); dropout 0.5 (its own paper; the code has none)",
    "vgg16": "batch normalisation and one linear layer (code)",
    "allcnnc": "dropout 0.2 and 0.5, no batch normalisation (its own paper; the code normalises, and drops no inputs)",
    "resnet18": "first convolution 3×3, no first pooling (code)",
    "preresnet101": "bottleneck blocks, last normalisation (its own paper; the code has basic blocks and no last one)",
    "wideresnet28-10": "no dropout (code)",
    "squeezenet": "first convolution 3×3, stride 1, batch normalisation, bypass (code); dropout 0.5 (its own paper)",
    "pyramidnet110": "basic blocks, α = 48 (code)",
}
_CIFAR10 = ("alexnet", "vgg16", "allcnnc", "resnet18", "preresnet101", "wideresnet28-10", "squeezenet")


def _pair(dataset: str, model: str, *tables: int) -> Pair:
    return Pair(dataset, model, tables, NETWORKS[model])


PAIRS: tuple[Pair, ...] = (
    _pair("mnist", "lenet5", 2),
    *(_pair("cifar10", model, 2) for model in _CIFAR10),
    *(_pair("cifar100", model, *((2, 3) if model == "wideresnet28-10" else (3,))) for model in _CIFAR10),
    _pair("cifar100", "pyramidnet110", 2),
    _pair("svhn", "wideresnet28-10", 2),
)

_BASE = Source(CODE, "configuration of the data set, base and testing")
SOURCES: dict[str, Source] = {
    "population_size": Source(PAPER, "Sections 3.1.2 and 4.1"),
    "generations": Source(PAPER, "Sections 3.1.2 and 4.1; here the initial population counts as one"),
    "crossover_rate": Source(PAPER, "Section 3.1.2"),
    "mutation_rate": Source(PAPER, "Section 3.1.2"),
    "elitism_rate": Source(PAPER, "Section 3.1.2; at least one"),
    "tournament_size": Source(CODE, "configuration"),
    "min_depth": Source(CODE, "configuration"),
    "max_depth": Source(CODE, "configuration"),
    "max_height": Source(CODE, "configuration; here checked after repair"),
    "mutation_depth": Source(OURS, "the new subtrees of mutation, 0 to 2"),
    "meta_steps": Source(CODE, "configuration"),
    "base_steps": Source(CODE, "configuration"),
    "meta_lr": Source(CODE, "configuration"),
    "task_loss_batch": Source(OURS, "Algorithm 1 takes the training batch, which `--task-loss-batch train` does"),
    "partial_steps": Source(PAPER, "Section 3.4.4"),
    "rejection_instances": Source(PAPER, "Section 3.4.2"),
    "rejection_threshold": Source(PAPER, "Section 3.4.2; here a share of the possible improvement"),
    "rejection_steps": Source(CODE, "configuration (100 for MNIST, where both gave the same verdicts)"),
    "rejection_lr": Source(OURS, "Adam, as plain steps hardly move a mean over 100 predictions"),
    "lr": _BASE,
    "momentum": Source(CODE, "configuration; the paper says SGD with momentum for all, and MNIST has none there"),
    "nesterov": _BASE,
    "weight_decay": _BASE,
    "batch_size": _BASE,
    "steps": Source(CODE, "configuration, testing"),
    "schedule": Source(CODE, "configuration, testing; full trainings alone"),
    "milestones": Source(CODE, "after 100,000 and 135,000 of 150,000 steps"),
    "gamma": Source(CODE, "configuration, testing"),
    "finals": Source(PAPER, "the loss of the best fitness is handed out"),
}
"""Where each setting of the presets ``paper-…`` is from; what they do not name has the default of the setting."""

DATA = (
    ("held out for validation", "10 % of the training data, stratified", Source(PAPER, "Section 4.2; strata are ours")),
    ("normalisation", "mean and deviation of the training split", Source(OURS, "the code has those of the whole set")),
    ("augmentation, CIFAR", "crops of images padded by 4, flips", Source(PAPER, "Section 4.2; sizes from the code")),
    ("augmentation, SVHN", "crops", Source(OURS, "the code mirrors digits too, and test data")),
    ("augmentation, MNIST", "none", Source(CODE, "data sets")),
    ("seeds", "5", Source(PAPER, "Section 4.2")),
)


def paper_preset(dataset: str, model: str) -> str:
    """The preset of a pair of Tables 2 and 3.

    Raises:
        SettingError: The paper does not have the pair.

    Example:
        >>> paper_preset("cifar10", "vgg16")
        'paper-cifar10'
    """
    for pair in PAIRS:
        if (pair.dataset, pair.model) == (dataset, model):
            return pair.preset
    known = ", ".join(f"{pair.dataset}/{pair.model}" for pair in PAIRS)
    raise SettingError(f"the paper has no results of {dataset}/{model}; its pairs are {known}")
