"""Where a loss came from and what it was tuned for; with which command and versions a run or a comparison was made."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import metadata
from typing import Any

from evomal.config import BaseSettings, LearnSettings
from evomal.evaluation.candidate import Candidate
from evomal.foundation.serialization import finite_or_none
from evomal.losses import LearnedLoss, SavedLoss
from evomal.tasks import Task, TaskSet
from evomal.training.step_size import mean_norm_ratio

PACKAGES = ("torch", "numpy", "scipy", "cma")
OF_A_LOSS = ("torch",)  # of these, what its file names
EARLIER = "earlier_versions"


def provenance(
    loss: LearnedLoss, candidate: Candidate, tasks: TaskSet, settings: LearnSettings, baseline: float
) -> dict[str, Any]:
    """The entries of a loss file that tell its history, as plain values."""
    if not tasks:
        return _trained_elsewhere(candidate, tasks, settings)
    # The loss was chosen for what it does at this rate.
    fitness_rate = {} if candidate.fitness_lr == 1 else {"lr": settings.base.lr * candidate.fitness_lr}
    return {
        "learned_on": tasks_entries(tasks),
        "method": settings.method,
        "seed": settings.seed,
        "fitness": candidate.own_fitness,
        "baseline": {"loss": tasks.task_loss_name, "fitness": finite_or_none(baseline)},
        "found": {"generation": candidate.generation, "index": candidate.index},
        "tuned_for": tuned_for(loss, tasks, settings) | fitness_rate,
        "versions": versions(packages=OF_A_LOSS),
    }


def chosen(loss: SavedLoss, tasks: TaskSet, settings: LearnSettings, baseline: float) -> dict[str, Any]:
    """The entries of the file of a loss that the search did not find, but that its finals chose."""
    return {
        "learned_on": tasks_entries(tasks),
        "method": settings.method,
        "seed": settings.seed,
        "baseline": {"loss": tasks.task_loss_name, "fitness": finite_or_none(baseline)},
        "tuned_for": base_training(settings.base, tasks[0]),
        "versions": versions(packages=OF_A_LOSS),
    }


def _trained_elsewhere(candidate: Candidate, tasks: TaskSet, settings: LearnSettings) -> dict[str, Any]:
    """What is known where somebody else trains: nothing of the task, and the metric that was told."""
    return {
        "learned_on": {"task": tasks.name},
        "method": settings.method,
        "seed": settings.seed,
        "fitness": candidate.own_fitness,
        "found": {"generation": candidate.generation, "index": candidate.index},
        "versions": versions(packages=OF_A_LOSS),
    }


def task_entries(task: Task) -> dict[str, Any]:
    """What a loss file says of a task."""
    return {
        "task": task.name,
        "dataset": task.dataset,
        "model": task.model_name,
        "metric": task.metric.name,
        "data_fingerprint": task.fingerprint,
    }


def counted_entries(task: Task) -> dict[str, Any]:
    """The same, and how many training labels each class has, where the task has labels to count."""
    counts = task.class_counts
    return task_entries(task) | ({} if counts is None else {"class_counts": counts.tolist()})


def tasks_entries(tasks: TaskSet) -> dict[str, Any]:
    """What a loss file says of the tasks that a loss was learned on."""
    if len(tasks) == 1:
        return counted_entries(tasks[0])
    names = [task_entries(task) for task in tasks]
    together = {name: " + ".join(dict.fromkeys(entry[name] for entry in names)) for name in names[0]}
    return together | {"task": tasks.name, "tasks": [counted_entries(task) for task in tasks]}


def tuned_for(loss: LearnedLoss, tasks: Task | TaskSet, settings: LearnSettings) -> dict[str, Any]:
    """The base training that a loss's coefficients were tuned for; of several tasks, the mean ratio in the log."""
    base, seed, tasks = settings.base, settings.seed, TaskSet.of(tasks)
    return {
        **base_training(settings.base, tasks[0]),
        "meta_steps": settings.tuning.meta_steps,
        "gradient_norm_ratio": _ratio(loss, tasks, base.batch_size, seed),
    }


def base_training(base: BaseSettings, task: Task) -> dict[str, Any]:
    """How networks are trained: the settings that matter for the optimiser, and what is the user's own by its name.

    Example:
        >>> from evomal.tasks import named_task
        >>> base_training(BaseSettings(lr=0.1), named_task("iris", "linear"))["optimizer"]
        'sgd'
    """
    return {**base.known(), **task.own.names()}


def _ratio(loss: LearnedLoss, tasks: TaskSet, batch_size: int, seed: int) -> float | None:
    """The ratio, or None: what a model does on a bad day must not cost a loss that is found."""
    try:
        return mean_norm_ratio(loss, tasks, batch_size, seed)
    except Exception:
        return None


@dataclass(frozen=True, slots=True)
class Origin:
    """What made a run or a comparison.

    Args:
        command: The last command line; None for a call from Python.
        versions: Of evomal, Python and the packages that compute, when it was finished.
        earlier: Other sets of versions, under which parts of it were finished.

    Example:
        >>> Origin(versions={"torch": "2.1"}, earlier=({"torch": "2.0"},)).changes()
        ['finished parts were made with torch 2.0, now torch 2.1']
    """

    command: str | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    earlier: tuple[Mapping[str, str], ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Everything as plain values."""
        return {
            "command": self.command,
            "versions": dict(self.versions),
            EARLIER: [dict(each) for each in self.earlier],
        }

    def changes(self) -> list[str]:
        """What differs between the versions of now and each earlier set, one sentence a set."""
        told = []
        for old in self.earlier:
            names = [name for name, now in self.versions.items() if old.get(name, now) != now]
            if names:
                before, after = (", ".join(f"{name} {kind[name]}" for name in names) for kind in (old, self.versions))
                told.append(f"finished parts were made with {before}, now {after}")
        return told


def versions(*, packages: Sequence[str] = PACKAGES) -> dict[str, str]:
    """The versions of evomal, Python and the packages that compute.

    Args:
        packages: Names of packages; one that was not installed by its name is left out.

    Example:
        >>> list(versions()), list(versions(packages=["torch"]))
        (['evomal', 'python', 'torch', 'numpy', 'scipy', 'cma'], ['evomal', 'python', 'torch'])
    """
    import platform

    import evomal

    known = {"evomal": evomal.__version__, "python": platform.python_version()}
    for name in packages:
        with suppress(metadata.PackageNotFoundError):  # installed in some way of its own
            known[name] = metadata.version(name)
    return known


def origin_now(command: str | None, before: Mapping[str, Any]) -> Origin:
    """The origin of what starts, or goes on.

    Args:
        command: The command line, or None.
        before: The document of what is finished; empty if nothing is. One of an older evomal may know no versions.

    Returns:
        The origin; versions that `before` names and that are not those of now are among the earlier ones.

    Example:
        >>> origin_now(None, {"versions": {"torch": "2.0"}}).earlier
        ({'torch': '2.0'},)
    """
    now = versions()
    sets = before.get(EARLIER)
    named = [*(sets if isinstance(sets, list) else ()), before.get("versions")]
    earlier: list[dict[str, str]] = []
    for known in named:
        if isinstance(known, dict):
            plain = {str(name): str(version) for name, version in known.items()}
            if plain not in (now, *earlier):
                earlier.append(plain)
    return Origin(command, now, tuple(earlier))
