"""What people have without evomal: Optuna over handcrafted losses, their hyper-parameters and the learning rate."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from evomal.config import LearnSettings
from evomal.evaluation.finals.training import train_final
from evomal.foundation.seeds import derive
from evomal.losses import HANDCRAFTED
from evomal.losses.criterion import LossFunction
from evomal.tasks import Task, TaskSet

SPAN = 64.0  # rates from the base rate through this to the base rate times this
STARTS = 10  # trials before anything is pruned


class Incumbent(NamedTuple):
    """The best so far.

    Args:
        steps: Base steps that were spent until it was found.
        name: The loss, hyper-parameters included.
        lr: Its rate.
        value: Its cross-validated metric.
    """

    steps: int
    name: str
    lr: float
    value: float


def by_optuna(task: Task, settings: LearnSettings, budget: int) -> list[Incumbent]:
    """Every loss that was the best at some time, the last one last; the task loss at the base rate is tried first.

    A trial is a loss, its hyper-parameters and a rate, drawn by TPE with Optuna's defaults; it is worth its mean metric
    over the folds of a cross-validation, full trainings as in evomal's finals. After each fold the median rule prunes.

    Args:
        task: The task; its test data have no part in this.
        settings: Steps, folds, base rate and seed are taken from them.
        budget: Base steps.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = optuna.samplers.TPESampler(seed=derive(settings.seed, "optuna") % 2**31)
    study = optuna.create_study(sampler=sampler, pruner=optuna.pruners.MedianPruner(n_startup_trials=STARTS))
    study.enqueue_trial({"loss": task.task_loss_name, "lr": settings.base.lr})
    tasks, names, steps = TaskSet.of(task), _names(task), settings.finals.steps
    found: list[Incumbent] = []
    spent = 0
    while spent + settings.finals.folds * steps <= budget:
        trial = study.ask()
        name, lr = _drawn(trial, names), trial.suggest_float("lr", *_rates(settings.base.lr), log=True)
        values: list[float] = []
        for fold in range(settings.finals.folds):
            value = train_final(tasks, settings, _loss(task, name), lr, fold, steps).value
            spent += steps
            values.append(value if math.isfinite(value) else 1e6)
            trial.report(sum(values) / len(values), fold)
            if trial.should_prune():
                break
        if len(values) < settings.finals.folds:
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
            continue
        mean = sum(values) / len(values)
        study.tell(trial, mean)
        if not found or mean < found[-1].value:
            found.append(Incumbent(spent, name, lr, mean))
    return found


def _rates(base: float) -> tuple[float, float]:
    return base / SPAN, base * SPAN


def _names(task: Task) -> list[str]:
    """The task loss, and every handcrafted loss that serves the task."""
    fitting = [name for name, entry in HANDCRAFTED.items() if entry.task_type == task.task_type]
    return list(dict.fromkeys([task.task_loss_name, *fitting]))


def _drawn(trial: Any, names: Sequence[str]) -> str:
    """A loss and its hyper-parameters, each between the least and the greatest value that makes sense."""
    name = str(trial.suggest_categorical("loss", names))
    if name not in HANDCRAFTED:
        return name
    parameters = HANDCRAFTED[name].parameters.items()
    given = {key: trial.suggest_float(f"{name}.{key}", *_bounds(parameter)) for key, parameter in parameters}
    return f"{name}({', '.join(f'{key}={value:g}' for key, value in given.items())})" if given else name


def _bounds(parameter: Any) -> tuple[float, float]:
    """From the least to the greatest; where that is far out, no further than ten times the default."""
    reach = 10 * max(abs(parameter.default), 0.1)
    return max(parameter.least, -reach), min(parameter.most, reach)


def _loss(task: Task, name: str) -> LossFunction | None:
    return None if name == task.task_loss_name else task.handcrafted(name)
