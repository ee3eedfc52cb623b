"""`evomal tune`: local search only, an old formula with new coefficients for a new task."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from evomal.cli import options
from evomal.cli.output import print_json, require_free, say
from evomal.cli.source import TaskSource, task_options
from evomal.config import LearnSettings, flat_fields, learn_settings
from evomal.foundation.errors import LossFileError

if TYPE_CHECKING:
    from evomal.local_search import Tuned
    from evomal.losses import LearnedLoss
    from evomal.tasks import Task

SETTINGS = [name for name, stage in flat_fields(LearnSettings).items() if stage in ("base", "local_search")] + ["seed"]


@options.setting_options(LearnSettings, SETTINGS)
@task_options
def tune(
    loss: Annotated[str, typer.Option("--loss", help="A loss file, or a run folder (its best loss).")],
    out: Annotated[
        Path,
        typer.Option("--out", help="The new loss file, or a folder for loss.json."),
    ],
    source: TaskSource,
    force: options.Force = False,
    preset: options.Preset = None,
    fresh: Annotated[
        bool,
        typer.Option(
            "--fresh",
            help="Start from untuned coefficients: 1 for a formula, 0 for a Taylor loss, drawn for a network.",
        ),
    ] = False,
    quiet: options.Quiet = False,
    as_json: options.AsJson = False,
    **settings: Any,
) -> int:
    """Tune the coefficients of an old formula for a new task; the formula stays as it is."""
    chosen = learn_settings(preset, **options.with_tuples(settings))
    file = require_free(out, "loss.json", force)
    from evomal.cli.losses import fitted, read_learned_loss
    from evomal.foundation.seeds import generator

    learned = read_learned_loss(loss)
    loaded = source.load()
    learned = fitted(learned, loss, loaded)
    if fresh:
        learned.coefficients = learned.untuned(generator(chosen.seed, loaded.key, "phi", "fresh"))
    before = learned.formula(digits=4)
    outcome = _tuned(learned, loaded, chosen)
    if outcome.reason:
        say(f"error: loss '{loss}' cannot be tuned on task '{loaded.name}': {outcome.reason}")
        return 1
    result = {
        "before": before,
        "after": learned.formula(digits=4),
        "weights": learned.coefficients,
        "steps": outcome.steps,
        "note": outcome.note,
        "seconds": outcome.seconds,
        "loss": str(file),
    }
    try:
        learned.save(file)
    except LossFileError:  # what was tuned is not to be lost with it
        result["loss"] = None
        raise
    finally:
        _print(result, chosen.local_search.meta_steps, quiet, as_json)
    return 0


def _tuned(loss: "LearnedLoss", task: "Task", settings: LearnSettings) -> "Tuned":
    """Tune φ in place, and rewrite what the file says of its history."""
    from evomal.local_search import tune as tune_losses
    from evomal.store.provenance import described, tuned_for
    from evomal.tasks import probe
    from evomal.training.optimizers import fitted_settings

    probe(task)
    settings = fitted_settings(settings, [task.own])
    (outcome,) = tune_losses([loss], task, settings.local_search, settings.base, settings.seed)
    if outcome.reason is None:
        # The formula keeps its history; its fitness was that of other coefficients.
        loss.info = {name: value for name, value in loss.info.items() if name not in ("fitness", "baseline")}
        loss.info["tuned_on"] = {**described(task), "seed": settings.seed}
        loss.info["tuned_for"] = tuned_for(loss, task, settings)
    return outcome


def _print(result: dict[str, Any], meta_steps: int, quiet: bool, as_json: bool) -> None:
    from evomal.foundation.serialization import duration
    from evomal.report.tables import print_pairs

    if as_json:
        print_json(result)
        return
    note = f"; {result['note']}" if result["note"] else ""
    pairs = {
        "before": result["before"],
        "after": result["after"],
        "meta steps": f"{result['steps']} of {meta_steps}{note}",
        "time": duration(result["seconds"]),
        "loss file": result["loss"] or "none, as it cannot be written",
    }
    print_pairs({name: pairs[name] for name in ("after", "loss file")} if quiet else pairs, sys.stdout)
