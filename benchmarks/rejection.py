"""How well the rejection filter agrees, part of the way through local search, with its verdict at the end; target 3."""

from collections.abc import Callable

from benchmarks.measuring import show
from evomal.config import learn_settings
from evomal.evaluation.filters import improvement, make_probe, passes
from evomal.local_search import tune
from evomal.losses import LearnedLoss
from evomal.search.methods import make_method
from evomal.tasks import TaskSet, named_task


def rejection(
    dataset: str = "fashion-mnist",
    model: str = "lenet5",
    preset: str = "paper-mnist",
    count: int = 100,
    meta_steps: int | None = None,
    parts: str = "0 0.1 0.2 0.5",
) -> list[list[str]]:
    """Verdicts on random first-generation formulas after parts of their local search, against those at its end."""
    settings = learn_settings(preset, population_size=count, meta_steps=meta_steps)
    tasks = TaskSet((named_task(dataset, model),))
    probes = [make_probe(task, settings.filters.rejection_instances, settings.seed) for task in tasks]
    drawn = {proposed.genome.key: proposed.genome for proposed in make_method(settings).engine(tasks, probes).ask()}
    losses = [genome.loss(tasks, settings) for genome in drawn.values()]

    def verdict(loss: LearnedLoss) -> bool:
        loss.requires_grad_(False)
        try:
            score = min(improvement(loss, probe, settings.filters) for probe in probes)
            return passes(score, tasks.task_type, settings.filters)
        except ArithmeticError:
            return False
        finally:
            loss.requires_grad_()

    whole = settings.tuning.meta_steps
    wanted = {round(float(part) * whole) for part in parts.split()}
    found: dict[int, list[bool]] = {}

    def look(done: int) -> None:
        if done in wanted:
            found[done] = [verdict(loss) for loss in losses]

    look(0)
    tune(losses, tasks, settings.tuning, settings.base, settings.seed, _after(look))
    last = [verdict(loss) for loss in losses]
    rows = [_row(step, whole, verdicts, last) for step, verdicts in sorted(found.items())]
    columns = ["after", "agrees", "wrongly rejected", "wrongly kept", "passes at the end"]
    show(f"Rejection during local search, {len(losses)} formulas on {dataset}/{model}", columns, rows)
    return rows


def _after(look: Callable[[int], None]) -> Callable[[int], None]:
    return lambda step: look(step + 1)


def _row(step: int, whole: int, verdicts: list[bool], last: list[bool]) -> list[str]:
    pairs = list(zip(verdicts, last, strict=True))
    agree = sum(now == end for now, end in pairs)
    lost = sum(end and not now for now, end in pairs)
    kept = sum(now and not end for now, end in pairs)
    return [f"{step} of {whole} meta steps", f"{agree / len(last):.0%}", str(lost), str(kept), str(sum(last))]
