"""Settings as keyword arguments, for editors and type checkers; a test holds them to the settings."""

# Made by `python -c "from evomal.config import keywords_text; print(keywords_text())"`; a test compares the two.

from collections.abc import Sequence
from typing import Literal, TypedDict


class AskKeywords(TypedDict, total=False):
    """What `evomal.Search` takes."""

    output_activation: Literal["identity", "softplus"] | None
    """Softplus keeps the loss above zero."""
    scale_control: bool | None
    """Rescale tuned losses so that their first gradient is as long as the task loss's."""
    optimizer: str | None
    """Optimiser of the base model; own: that which the task brings."""
    lr: float | None
    """Base learning rate α, the greatest of the schedule (adam, adamw, rmsprop: 0.001 unless given)."""
    momentum: float | None
    """Momentum."""
    nesterov: bool | None
    """Nesterov momentum."""
    weight_decay: float | None
    """Weight decay, decoupled from the gradient for adamw (which has 0.01 unless given)."""
    betas: tuple[float, float] | None
    """How much of the means of gradients and of their squares is kept."""
    smoothing: float | None
    """How much of the mean of squared gradients is kept."""
    eps: float | None
    """Added to the root of the mean of squares."""
    clip: float | None
    """Greatest norm of the gradient of all weights together; longer ones are shortened to it."""
    schedule: Literal["constant", "step", "cosine", "one-cycle"] | None
    """Learning rate over the steps of a training, be it partial or full."""
    milestones: Sequence[float] | None
    """Where the rate is multiplied by gamma, as shares of all steps."""
    gamma: float | None
    """The factor at each milestone."""
    warmup: float | None
    """Share of all steps in which the rate first rises to lr (one-cycle: 0 means 0.3)."""
    batch_size: int | None
    """Instances in a batch."""
    operators: Sequence[str] | None
    """Operators that formulas are made of, the paper's unless told otherwise."""
    terminals: Sequence[str] | None
    """Leaves of formulas; beside the paper's four there are prior (the class's share of the training labels) and
    progress (the share of a training's steps that are done).
    """
    population_size: int | None
    """Formulas in a generation."""
    generations: int | None
    """Generations, the initial population counted."""
    min_depth: int | None
    """Least depth of an initial formula."""
    max_depth: int | None
    """Greatest depth of an initial formula."""
    tournament_size: int | None
    """Formulas that compete to become a parent."""
    crossover_rate: float | None
    """Share of children made by crossover."""
    mutation_rate: float | None
    """Share of children made by mutation."""
    mutation_depth: int | None
    """Greatest depth of the subtree that mutation grows."""
    elitism_rate: float | None
    """Share of the best kept unchanged, at least one."""
    max_height: int | None
    """Greatest height of a formula, checked after repair."""
    known_start: float | None
    """Share of the first generation that may be known formulas; they go on to the finals too."""
    start_from: Sequence[str] | None
    """Losses to begin with: names of handcrafted ones, formulas, or loss files."""
    sigma: float | None
    """Initial standard deviation of CMA-ES."""
    cma_generations: int | None
    """Generations of CMA-ES, after those of the formulas."""
    hidden: int | None
    """Units in each of two hidden layers."""
    neural_steps: int | None
    """Meta gradient steps."""
    meta_steps: int | None
    """Meta gradient steps; 0 leaves φ = 1."""
    base_steps: int | None
    """Base steps that each meta gradient goes through."""
    meta_lr: float | None
    """Meta learning rate η of Adam on φ."""
    task_loss_batch: Literal["valid", "train"] | None
    """Batch that the task loss is taken on: a validation batch, or the training batch."""
    rejection: bool | None
    """Reject formulas that do not improve predictions."""
    rejection_instances: int | None
    """Instances B that both filters look at."""
    rejection_steps: int | None
    """Adam steps on the predictions."""
    rejection_lr: float | None
    """Rate of these steps, times max(1, std of the logits)."""
    rejection_threshold: float | None
    """Share of the possible improvement to reach."""
    gradient_equivalence: bool | None
    """Take over the fitness of equal gradients."""
    max_evaluations: int | None
    """Candidates to evaluate; known ones cost nothing."""
    target_fitness: float | None
    """Fitness to be content with."""
    patience: int | None
    """Generations without a better fitness."""


class LearnKeywords(AskKeywords, total=False):
    """What a search takes; None: not given."""

    method: str | None
    """How the loss is learned, or a class of your own as my_module.py:Mine (runs that file)."""
    seed: int | None
    """The run is a function of its seed."""
    partial_steps: int | None
    """Base steps of the partial training that gives the fitness."""
    fitness_lrs: Sequence[float] | None
    """Multiples of the base learning rate; the fitness is that at the best."""
    fitness_trial: float | None
    """Share of partial_steps after which only the best of several fitness_lrs is trained in full."""
    fitness_share: float | None
    """Share of training and validation data that the search validates on, of no more than 5,000."""
    log_prior: bool | None
    """Where classes are uneven, formulas see the softmax of logits plus log prior."""
    break_ties: bool | None
    """Of equal fitnesses prefer the lower task loss on validation data."""
    workers: int | None
    """Processes that evaluate candidates, one thread each."""
    asynchronous: bool | None
    """Breed a child whenever a worker is free, from who is finished by then; what comes out depends on timing."""
    racing: bool | None
    """Evaluate in full only what does well in a short heat."""
    racing_effort: float | None
    """Steps of the heat, as a share of meta_steps and of partial_steps."""
    racing_keep: float | None
    """Share of a generation's new candidates that is evaluated in full, at least one."""
    finals: bool | None
    """Cross-validate the best candidates and the handcrafted losses, each at its own best rate."""
    finalists: int | None
    """Candidates that take part, at most."""
    varied: int | None
    """Handcrafted losses, the best of short trainings, of which other hyper-parameters are tried too."""
    steps: int | None
    """Finals: base steps of a full training, as the loss will be used."""
    folds: int | None
    """Folds of the cross-validation."""
    retests: int | None
    """Fresh cross-validations in which the best few are tested again, at most."""
    finals_budget: int | None
    """Base steps in all."""
    finals_effort: float | None
    """Without a finals_budget: base steps in all, as a multiple of what the search takes."""
    executor: Literal["auto", "here", "processes", "ray"] | None
    """Where candidates are evaluated; auto: here, or in processes if there are several workers."""
    address: str | None
    """HOST:PORT of a running cluster."""
    object_store: int | None
    """MiB of shared memory for data, where Ray is started here."""
    lanes: int | None
    """Candidates that are evaluated as one batched program."""
    precision: Literal["float32", "tf32", "bf16"] | None
    """On a GPU: how matrix products are computed."""
    max_time: float | str | None
    """Wall time of the search in this call: seconds, or such as 90s, 45m, 2h30m."""


class TrainKeywords(TypedDict, total=False):
    """What a full training takes."""

    steps: int | None
    """Base steps of a full training."""
    seeds: Sequence[int] | None
    """One fresh network for each seed."""
    lrs: Sequence[float] | None
    """Base learning rates; of several the best on validation is taken."""
    optimizer: str | None
    """Optimiser of the base model; own: that which the task brings."""
    lr: float | None
    """Base learning rate α, the greatest of the schedule (adam, adamw, rmsprop: 0.001 unless given)."""
    momentum: float | None
    """Momentum."""
    nesterov: bool | None
    """Nesterov momentum."""
    weight_decay: float | None
    """Weight decay, decoupled from the gradient for adamw (which has 0.01 unless given)."""
    betas: tuple[float, float] | None
    """How much of the means of gradients and of their squares is kept."""
    smoothing: float | None
    """How much of the mean of squared gradients is kept."""
    eps: float | None
    """Added to the root of the mean of squares."""
    clip: float | None
    """Greatest norm of the gradient of all weights together; longer ones are shortened to it."""
    schedule: Literal["constant", "step", "cosine", "one-cycle"] | None
    """Learning rate over the steps of a training, be it partial or full."""
    milestones: Sequence[float] | None
    """Where the rate is multiplied by gamma, as shares of all steps."""
    gamma: float | None
    """The factor at each milestone."""
    warmup: float | None
    """Share of all steps in which the rate first rises to lr (one-cycle: 0 means 0.3)."""
    batch_size: int | None
    """Instances in a batch."""
