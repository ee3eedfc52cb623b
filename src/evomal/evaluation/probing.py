"""What is tried before a search starts, so that nothing that can be known beforehand ends it hours later."""

from evomal.config import LearnSettings, method_entry
from evomal.engines.genome import Formula, prior_counts
from evomal.evaluation.filters import FilterProbe, improvement, make_probe, passes
from evomal.expressions import parse
from evomal.foundation.errors import EvomalError, ModelError, SettingError, one_line
from evomal.local_search import tune
from evomal.tasks import Task, TaskSet, probe
from evomal.training import one_thread
from evomal.training.precision import precision


def probed(tasks: TaskSet, settings: LearnSettings) -> tuple[FilterProbe, ...]:
    """Probe models and data for all that a search does with them, and the task losses by the rejection filter (D8).

    Returns:
        For each task, the predictions that the inner filters look at.

    Raises:
        EvomalError: Something does not fit, in one sentence.
    """
    counts = prior_counts(tasks) if looks_at_prior(tasks, settings) else None
    with precision(settings.execution.precision, tasks.device):
        probes = tuple(_probed_one(task, settings) for task in tasks)
    for task, each in zip(tasks, probes, strict=True):
        if counts is not None and len(counts) != each.classes:
            raise SettingError(
                f"terminal 'prior' is the classes' share of the training labels, and task '{task.name}' has labels of "
                f"{len(counts)} classes but outputs for {each.classes}; leave it out, or mend the number of outputs"
            )
    return probes


def looks_at_prior(tasks: TaskSet, settings: LearnSettings) -> bool:
    """Whether formulas of a search may look at how often classes occur."""
    used = "formulas" in method_entry(settings.method).parts
    return used and "prior" in settings.genetic.terminals and tasks.task_type != "regression"


def _probed_one(task: Task, settings: LearnSettings) -> FilterProbe:
    probe(task)
    try:
        filter_probe = make_probe(task, settings.filters.rejection_instances, settings.seed)
        if settings.tuning.meta_steps > 0:
            _probe_meta_gradient(task, settings)
    except EvomalError:
        raise
    except Exception as error:
        raise ModelError(f"model '{task.model_name}' fails on a batch of training data: {one_line(error)}") from error
    if settings.filters.rejection:
        with one_thread():
            score = improvement(task.task_loss, filter_probe, settings.filters)
        if not passes(score, task.task_type, settings.filters):
            raise SettingError(
                f"the task loss of '{task.name}' does not pass the rejection filter itself (it improves "
                f"'{task.metric.name}' by {score:.2f} of what is possible), so every formula would be rejected; raise "
                "rejection_steps, lower rejection_threshold, or switch rejection off"
            )
    return filter_probe


def _probe_meta_gradient(task: Task, settings: LearnSettings) -> None:
    """One meta-gradient of a plain loss, so that a model which allows none is refused before the search."""
    tasks = TaskSet.of(task)
    loss = Formula(parse("square(sub(y, f))")).loss(tasks, settings)
    one_step = settings.local_search.model_copy(update={"meta_steps": 1})
    (outcome,) = tune([loss], tasks, one_step, settings.base, settings.seed)
    if outcome.reason is not None:
        raise ModelError(
            f"no meta-gradient can be taken through model '{task.model_name}' ({outcome.reason}); use operations that "
            f"can be differentiated twice, or {'another method' if settings.method == 'ml3' else '`meta_steps=0`'}"
        )
