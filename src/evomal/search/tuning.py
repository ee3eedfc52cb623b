"""`evomal.tune`: local search alone, an old formula with new coefficients for a new task."""

import copy
from dataclasses import dataclass, replace
from os import PathLike, fspath
from pathlib import Path
from typing import Any

from evomal.config import LearnSettings, flat_fields, learn_settings
from evomal.foundation.contexts import recording
from evomal.foundation.errors import SettingError, unknown_name
from evomal.foundation.files import LOSS, require_free
from evomal.foundation.later_rooms import carried_out
from evomal.foundation.seeds import generator
from evomal.foundation.serialization import duration
from evomal.local_search import tune as tune_losses
from evomal.losses import LearnedLoss
from evomal.losses.loading import tunable, tunable_by_name
from evomal.search.result import LearnResult
from evomal.store.provenance import counted_entries, tuned_for
from evomal.tasks import Task, probe
from evomal.training.optimizers import fitted_settings

SETTINGS = [name for name, stage in flat_fields(LearnSettings).items() if stage in ("base", "local_search")] + ["seed"]
"""The settings that tuning alone has."""


@dataclass(frozen=True, slots=True)
class TuneResult:
    """A loss with new coefficients.

    Args:
        loss: The loss, a PyTorch criterion.
        before: Its formula before, with its coefficients.
        after: Its formula now.
        steps: Meta steps that were taken.
        meta_steps: Meta steps that were to be taken.
        seconds: Time spent.
        note: What ended the tuning early though the loss can be used, or None.
        reason: Why the loss cannot be used, or None.
        file: Where it is saved, or None.
    """

    loss: LearnedLoss
    before: str
    after: str
    steps: int
    meta_steps: int
    seconds: float
    note: str | None = None
    reason: str | None = None
    file: str | None = None

    @property
    def pairs(self) -> dict[str, str]:
        """What it came to, for people."""
        return {
            "before": self.before,
            "after": self.after,
            "meta steps": f"{self.steps} of {self.meta_steps}" + (f"; {self.note}" if self.note else ""),
            "time": duration(self.seconds),
        }

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        return str(carried_out("html_of_tuned", self))

    def _repr_latex_(self) -> str | None:
        """The formula now, in LaTeX."""
        found: str | None = carried_out("latex_of_loss", self.loss)
        return found

    def __str__(self) -> str:
        """What it came to, a line each."""
        pairs = self.pairs | ({} if self.file is None else {"loss file": self.file})
        return "\n".join(f"{name:10}  {value}" for name, value in pairs.items())

    def as_dict(self) -> dict[str, Any]:
        """Everything as plain values, as the command prints it."""
        told = {name: getattr(self, name) for name in ("before", "after", "steps", "note", "seconds")}
        return told | {"weights": self.loss.coefficients, "loss": self.file}


@recording()
def tune(
    task: Task,
    loss: str | PathLike[str] | LearnedLoss | LearnResult,
    *,
    out: str | PathLike[str] | None = None,
    fresh: bool = False,
    force: bool = False,
    preset: str | None = None,
    **flat: Any,
) -> TuneResult:
    """Tune the coefficients of an old formula for a new task; the formula stays as it is.

    Args:
        task: The task.
        loss: A loss file or run folder by name, a learned loss, or a search's result; it is left as it is.
        out: The new loss file, or a folder for ``loss.json``; None saves nothing.
        fresh: Start from untuned coefficients: 1 for a formula, 0 for a Taylor loss, drawn for a network.
        force: Replace what lies in `out`.
        preset: Named settings.
        **flat: Single settings of local search and of base steps, such as ``meta_steps=100, lr=0.01, seed=0``.

    Returns:
        The loss with its new coefficients, and how the tuning went. It prints as a few lines.

    Raises:
        EvomalError: A setting is odd, the loss does not fit the task, has no coefficients, or cannot be tuned.

    Example:
        >>> import evomal
        >>> from evomal.tasks import named_task
        >>> old = evomal.SymbolicLoss("square(sub(y, f))", task_type="classification")
        >>> result = tune(named_task("iris", "linear"), old, meta_steps=3, preset="quick")
        >>> result.steps, result.loss.coefficients == old.coefficients
        (3, False)
    """
    if not isinstance(task, Task):
        raise SettingError(f"a loss is tuned on one task, and this is a {type(task).__name__}; give an evomal.Task")
    for name in flat:
        if name not in SETTINGS:
            raise unknown_name("setting", name, SETTINGS)
    settings = learn_settings(preset, **flat)
    file = None if out is None else require_free(Path(out), LOSS, force)
    named = fspath(loss) if isinstance(loss, str | PathLike) else type(loss).__name__
    given = loss.learned if isinstance(loss, LearnResult) else loss
    read = tunable_by_name(named) if isinstance(given, str | PathLike) else tunable(copy.deepcopy(given), named)
    result = tuned(task, read, named, settings, fresh)
    if result.reason is not None:
        raise SettingError(f"loss '{named}' cannot be tuned on task '{task.name}': {result.reason}")
    return result if file is None else saved(result, file)


def tuned(task: Task, loss: LearnedLoss, name: str, settings: LearnSettings, fresh: bool = False) -> TuneResult:
    """Tune a loss in place, and rewrite what its file says of its history.

    Args:
        task: The task.
        loss: The loss, which has coefficients.
        name: What it is called.
        settings: Of local search and of base steps, and the seed.
        fresh: Start from untuned coefficients.

    Returns:
        How it went; `reason` says so if the loss cannot be used.

    Raises:
        EvomalError: The loss does not fit the task, or the task's parts each other.
    """
    loss = task.fitted(loss, name)
    if fresh:
        loss.coefficients = loss.untuned(generator(settings.seed, task.key, "phi", "fresh"))
    before = loss.formula(digits=4)
    probe(task)
    settings = fitted_settings(settings, [task.own])
    (ended,) = tune_losses([loss], task, settings.local_search, settings.base, settings.seed)
    loss.requires_grad_(False)
    if ended.reason is None:
        # The formula keeps its history; its fitness was that of other coefficients.
        loss.info = {name: value for name, value in loss.info.items() if name not in ("fitness", "baseline")}
        loss.info["tuned_on"] = {**counted_entries(task), "seed": settings.seed}
        loss.info["tuned_for"] = tuned_for(loss, task, settings)
    steps = ended.steps, settings.local_search.meta_steps, ended.seconds, ended.note, ended.reason
    return TuneResult(loss, before, loss.formula(digits=4), *steps)


def saved(result: TuneResult, file: Path) -> TuneResult:
    """The result, once its loss is saved.

    Raises:
        LossFileError: It cannot be.
    """
    result.loss.save(file)
    return replace(result, file=str(file))
