"""A real out-of-memory error: the group is halved, and the results are those of a device with room."""

import torch

from benchmarks.gpu.given import Given, Note
from evomal.config import learn_settings
from evomal.evaluation import batched_stages as search_lanes
from evomal.evaluation.batched_stages import in_groups, train_in_lanes
from evomal.tasks import TaskSet


def memory(given: Given, note: Note) -> None:
    """Train a group with plenty of memory and with hardly any."""
    tasks, count = TaskSet.of(given.task()), given.many
    settings = learn_settings("paper-mnist", partial_steps=20, lanes=count)
    losses = given.losses(count)
    if not given.cuda:
        note("dry run", len(in_groups(lambda g: [1] * len(g), lambda g: [1] * len(g), losses)))
        return
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    with_room = train_in_lanes(tasks, settings, losses)
    peak = torch.cuda.max_memory_allocated()
    note("most memory of the group, MiB", peak / 2**20)
    sizes = []
    plain = search_lanes.fit_lanes

    def watched(model, stacked, *others, **named):
        sizes.append(stacked.lanes)
        return plain(model, stacked, *others, **named)

    torch.cuda.empty_cache()
    held = torch.cuda.memory_allocated()
    free = torch.cuda.mem_get_info()[0]
    spare = max(int(0.45 * (peak - held)), 64 * 2**20)
    filler = torch.empty(max(0, free - spare), dtype=torch.uint8, device=given.place)
    note("left free, MiB", torch.cuda.mem_get_info()[0] / 2**20)
    search_lanes.fit_lanes = watched
    try:
        squeezed = train_in_lanes(tasks, settings, losses)
    finally:
        search_lanes.fit_lanes = plain
        del filler
        torch.cuda.empty_cache()
    note("sizes of groups that were tried", sizes)
    pairs = list(zip(with_room, squeezed, strict=True))
    note("reasons alike", all(a.reason == b.reason for a, b in pairs))
    differences = [abs(a.fitness - b.fitness) for a, b in pairs if a.reason is None]
    note("largest difference of fitness", max(differences, default=0.0))
    again = train_in_lanes(tasks, settings, losses)
    note("afterwards, with room again, equal", [a.fitness for a in again] == [a.fitness for a in with_room])
