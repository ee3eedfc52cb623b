"""What is counted rather than timed: kernels of a step, synchronisations."""

import warnings
from collections import Counter
from collections.abc import Callable
from functools import partial

import torch
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from benchmarks.gpu.given import BASE, Given, Note, batches
from benchmarks.gpu.steps import improving, plain, training, tuning
from evomal.config import LocalSearchSettings
from evomal.local_search.batched_tune import tune_lanes
from evomal.losses.batched_families import stack
from evomal.tasks import TaskSet
from evomal.training import fit
from evomal.training.batched_fit import fit_lanes
from evomal.training.graphs import graphs


def kernels(given: Given, note: Note) -> None:
    """Kernels launched in a step of one lane and of many, and the costliest of these."""
    loop = plain(given, graph=False)
    _profiled(given, note, "plain PyTorch step", loop)
    with graphs(False):
        for count in (1, given.many):
            _profiled(given, note, f"base step, {count} lanes", training(given, count).step)
            _profiled(given, note, f"meta step, {count} lanes", tuning(given, count).step)
        search, _ = improving(given, given.many)
        _profiled(given, note, f"filter step, {given.many} lanes", lambda number: search())


def _profiled(given: Given, note: Note, name: str, step: Callable[[int], object]) -> None:
    for number in range(4):
        step(number)
    given.wait()
    activities = [ProfilerActivity.CUDA, ProfilerActivity.CPU] if given.cuda else [ProfilerActivity.CPU]
    with profile(activities=activities) as seen:
        step(4)
        step(5)
        given.wait()
    if not given.cuda:
        note(name, f"{sum(event.count for event in seen.key_averages()) / 2:.0f} operations (no GPU)")
        return
    times: Counter[str] = Counter()
    counts: Counter[str] = Counter()
    for event in seen.events():
        if event.device_type == DeviceType.CUDA and not getattr(event, "is_user_annotation", False):
            times[event.name] += event.time_range.elapsed_us() / 2
            counts[event.name] += 1
    note(name, f"{sum(counts.values()) / 2:.0f} kernels, {sum(times.values()):.0f} µs on the device")
    top = [f"{t:.0f} µs in {counts[kernel] / 2:.0f} × {kernel[:90]}" for kernel, t in times.most_common(12)]
    note(f"{name}: costliest", top)


def synchronisations(given: Given, note: Note) -> None:
    """How often a device is waited for in a training, a tuning and the filter: twice as long must not be more."""
    from evomal.config import FilterSettings
    from evomal.evaluation.batched_filters import improvements
    from evomal.evaluation.filters import make_probe

    task, short = given.task(), 20 if given.cuda else 2
    losses = given.losses(given.many if given.cuda else 2)
    probe = make_probe(task, 100, 0)

    def lanes(steps: int) -> None:
        fixed = [loss.requires_grad_(False) for loss in losses]
        fit_lanes(task.make_model(0), stack(fixed), task.train, batches(task), steps, BASE, 0)

    def one(steps: int) -> None:
        fit(task.make_model(0), losses[0].requires_grad_(False), task.train, batches(task), steps, BASE, 0)

    def tuned(steps: int) -> None:
        tune_lanes(losses, TaskSet.of(task), LocalSearchSettings(meta_steps=steps), BASE, 0)

    def filtered(steps: int) -> None:
        fixed = [loss.requires_grad_(False) for loss in losses]
        improvements(stack(fixed), probe, FilterSettings(rejection_steps=steps))

    calls = {"training in lanes": lanes, "training of one": one, "tuning in lanes": tuned, "filter in lanes": filtered}
    for name, call in calls.items():
        for graph in (True, False) if given.cuda else (False,):
            with graphs(graph):
                call(short)  # what is made once
                found = {steps: _waits(given, partial(call, steps)) for steps in (short, 3 * short)}
            with_graph = "graph" if graph else "no graph"
            extra = len(found[3 * short]) - len(found[short])
            note(f"{name}, {with_graph}", f"{len(found[short])} in all; {extra} more in {2 * short} more steps")
            if extra > 0:
                places = Counter(found[3 * short]) - Counter(found[short])
                note(f"{name}, {with_graph}: where", [f"{n} × {place}" for place, n in places.most_common(5)])


def _waits(given: Given, call: Callable[[], object]) -> list[str]:
    """Where a call waited for the device."""
    if not given.cuda:
        call()
        return []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            call()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    return [
        f"{each.filename.split('/')[-1]}:{each.lineno}" for each in caught if "synchroniz" in str(each.message).lower()
    ]
