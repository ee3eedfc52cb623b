"""What is written down of a finished search and of a finished training, and how it is read again."""

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from evomal.comparison.contenders import SearchSummary
from evomal.comparison.entries import Entry
from evomal.foundation.errors import EvomalError
from evomal.foundation.serialization import finite_or_none
from evomal.losses import LearnedLoss, load_loss
from evomal.losses.criterion import LossFunction
from evomal.training import TrainingRun

SUMMARY = "search.json"
NUMBERS = ("seconds", "evaluations", "meta_steps")
MAYBE_NUMBERS = ("fitness", "baseline", "workers")


class Trained(NamedTuple):
    """A finished training.

    Args:
        run: What it came to.
        loss: `digest` of the loss that it was done with; None if it is not learned.
    """

    run: TrainingRun
    loss: str | None


def digest(loss: LossFunction) -> str | None:
    """16 hexadecimal digits that tell a learned loss, however it came to be; None for any other.

    Example:
        >>> from evomal.losses import TaylorLoss
        >>> one, other = (TaylorLoss([0, 0, 0, x, 0, 0, 0, 0], task_type="regression") for x in (1.0, 2.0))
        >>> digest(one) == digest(one), digest(one) == digest(other)
        (True, False)
    """
    if not isinstance(loss, LearnedLoss):
        return None
    return hashlib.sha256(json.dumps(loss.all_entries(), sort_keys=True).encode()).hexdigest()[:16]


def search_record(summary: SearchSummary) -> str:
    """A finished search as the text of its file."""
    return json.dumps(asdict(summary), indent=2, allow_nan=False) + "\n"


def read_search(folder: Path, seed: int) -> SearchSummary | None:
    """A finished search from its run folder.

    Args:
        folder: The run folder.
        seed: The seed that it must have had.

    Returns:
        The search; None if it is not finished, or if its summary or its loss is damaged.
    """
    try:
        summary = SearchSummary(**json.loads((folder / SUMMARY).read_text(encoding="utf-8")))
        load_loss(folder)
    except (OSError, ValueError, TypeError, RecursionError, EvomalError):
        return None
    return summary if _is_sound(summary, seed) else None


def _is_sound(summary: SearchSummary, seed: int) -> bool:
    maybe = [getattr(summary, name) for name in MAYBE_NUMBERS]
    return (
        summary.seed == seed
        and all(_is_number(getattr(summary, name)) for name in NUMBERS)
        and all(value is None or _is_number(value) for value in maybe)
        and isinstance(summary.formula, str)
        and isinstance(summary.loss_file, str)
        and isinstance(summary.outcomes, dict)
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e30  # so not NaN either


def training_record(entry: Entry, trained: Trained) -> dict[str, Any]:
    """A finished training as a line of the journal; a metric that is not finite is None."""
    run = trained.run
    metrics = {name: finite_or_none(getattr(run, name)) for name in ("valid", "test")}
    return {"contender": entry.name, "loss": trained.loss, **asdict(run), **metrics}


def read_training(record: dict[str, Any]) -> tuple[tuple[str, float, int], Trained]:
    """A finished training from a line of the journal, with its contender, rate and seed.

    Raises:
        ValueError: The line is no training.
    """
    values = dict(record)
    try:
        name, loss = values.pop("contender"), values.pop("loss", None)
        for metric in ("valid", "test"):
            values[metric] = float("nan") if values[metric] is None else float(values[metric])
        run = TrainingRun(**values)
    except (KeyError, TypeError, OverflowError) as error:
        raise ValueError("no training") from error
    texts = isinstance(name, str) and all(text is None or isinstance(text, str) for text in (loss, run.reason))
    whole = type(run.seed) is type(run.steps) is int
    if not (texts and whole and _is_number(run.lr) and _is_number(run.seconds)):
        raise ValueError("no training")
    return (name, float(run.lr), run.seed), Trained(run, loss)
