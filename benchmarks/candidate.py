"""One candidate at the paper's S_meta and S_testing on Fashion-MNIST / LeNet-5, split by stage."""

import time

from benchmarks.measuring import show
from benchmarks.subjects import FORMULA, lenet5
from evomal.config import learn_settings
from evomal.engines.genome import Formula
from evomal.evaluation.filters import make_probe
from evomal.evaluation.stages import judge_stage, train_stage, tune_stage
from evomal.expressions import parse
from evomal.tasks import TaskSet


def candidate() -> None:
    """Every stage once, at full length."""
    task, settings = lenet5().task, learn_settings("paper-mnist")
    tasks, probes = TaskSet((task,)), [make_probe(task, settings.filters.rejection_instances, settings.seed)]
    rows, total, start = [], 0.0, time.perf_counter()

    def stage(name: str) -> None:
        nonlocal start, total
        now = time.perf_counter()
        total += now - start
        rows.append([name, f"{now - start:.2f}"])
        start = now

    ((loss, outcome),) = tune_stage(tasks, settings, [Formula(parse(FORMULA))])
    stage(f"local search, {outcome.steps} meta steps, alone")
    judge_stage(tasks, settings, probes, loss)
    stage(f"filters, {settings.filters.rejection_steps} steps on the predictions")
    train_stage(tasks, settings, loss)
    stage(f"partial training, {settings.partial_steps} steps, and the metric")
    show("One candidate", ["stage", "seconds"], [*rows, ["all", f"{total:.2f}"]])
