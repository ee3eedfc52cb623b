"""A search on a cluster, played in virtual time: how many workers are idle, what is sent, how long it takes.

Durations are drawn from the journal of a real search and scaled to other networks by steps that were timed; nothing is
computed. Workers are alike, and one process hands out all jobs, one after the other.
"""

import heapq
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import count
from math import ceil
from pathlib import Path
from random import Random
from typing import Any, Literal

from benchmarks.measuring import show

Way = Literal["barriers", "generations", "steady"]
WAYS: tuple[Way, ...] = ("barriers", "generations", "steady")
STEPS = Path(__file__).parent.parent / "docs/results/table4/steps.json"
NETWORKS = "lenet5 alexnet resnet18 wideresnet28-10"
TUNE, JUDGE, TRAIN = 0, 1, 2  # by urgency: what most other work waits for, and trainings fill the gaps, as in a search


@dataclass(frozen=True, slots=True)
class Durations:
    """What one candidate took, in seconds.

    Args:
        tune: Local search.
        judge: Both inner filters; 0 for one that failed before.
        train: Partial training; 0 for one that was not trained.
    """

    tune: float
    judge: float
    train: float

    def scaled(self, meta: float, base: float) -> "Durations":
        """For a network whose meta step and base step take so many times as long; the filters know no network."""
        return replace(self, tune=meta * self.tune, train=base * self.train)


def drawn_from(journal: Path) -> list[Durations]:
    """The candidates of a journal that were evaluated themselves."""
    rows = [json.loads(line) for line in journal.read_text(encoding="utf-8").splitlines()]
    own = [row for row in rows if row["outcome"] not in ("elite", "archived")]
    stages = [row["seconds"] for row in own]
    return [Durations(each.get("tune", 0.0), each.get("filter", 0.0), each.get("train", 0.0)) for each in stages]


class Cluster:
    """Workers that take the most urgent job that waits, in virtual time.

    Args:
        workers: How many there are.
        overhead: Seconds that the one who hands out jobs needs for each.
    """

    def __init__(self, workers: int, overhead: float) -> None:
        self.workers, self.overhead = workers, overhead
        self.now = self.busy = 0.0
        self.jobs = 0
        self._free, self._handing = workers, 0.0
        self._waiting: list[tuple[tuple[int, ...], int, float, Callable[[], None]]] = []
        self._running: list[tuple[float, int, Callable[[], None]]] = []
        self._number = count()

    def submit(self, urgency: tuple[int, ...], seconds: float, then: Callable[[], None]) -> None:
        """A job that takes so long; `then` is called when it is done."""
        heapq.heappush(self._waiting, (urgency, next(self._number), seconds, then))

    def run(self) -> None:
        """Until nothing waits and nothing runs."""
        while self._waiting or self._running:
            while self._waiting and self._free:
                _, number, seconds, then = heapq.heappop(self._waiting)
                self._handing = max(self._handing, self.now) + self.overhead
                heapq.heappush(self._running, (self._handing + seconds, number, then))
                self._free -= 1
                self.busy += seconds
                self.jobs += 1
            self.now, _, then = heapq.heappop(self._running)
            self._free += 1
            then()

    @property
    def idle(self) -> float:
        """Share of the workers' time in which they had nothing to do."""
        return 1 - self.busy / (self.workers * self.now) if self.now else 0.0


def by_stages(cluster: Cluster, generations: Iterable[Sequence[Durations]]) -> None:
    """Each stage waits for the slowest of the one before, and tuning goes in one chunk for each worker."""
    for members in generations:
        chunks = [members[first :: cluster.workers] for first in range(cluster.workers)]
        stages = [[sum(one.tune for one in chunk) for chunk in chunks if chunk]]
        stages += [[one.judge for one in members], [one.train for one in members]]
        for stage in stages:
            for index, seconds in enumerate(stage):
                if seconds:
                    cluster.submit((index,), seconds, lambda: None)
            cluster.run()


def by_generations(cluster: Cluster, generations: Iterable[Sequence[Durations]]) -> None:
    """A candidate goes on as soon as its own verdict and those of all before it are known; generations wait."""
    for members in generations:
        _Generation(cluster, members).begin()
        cluster.run()


class _Generation:
    def __init__(self, cluster: Cluster, members: Sequence[Durations]) -> None:
        self.cluster, self.members = cluster, members
        self.judged: set[int] = set()
        self.next = 0  # all before it are judged, and trained if they are to be

    def begin(self) -> None:
        for index, member in enumerate(self.members):
            self.cluster.submit((TUNE, index), member.tune, lambda index=index: self.tuned(index))

    def tuned(self, index: int) -> None:
        self.cluster.submit((JUDGE, index), self.members[index].judge, lambda: self.passed(index))

    def passed(self, index: int) -> None:
        self.judged.add(index)
        while self.next in self.judged:
            if self.members[self.next].train:
                self.cluster.submit((TRAIN, self.next), self.members[self.next].train, lambda: None)
            self.next += 1


def in_steady_state(cluster: Cluster, candidates: Sequence[Durations]) -> None:
    """A child is bred whenever a worker is free; a worker keeps its candidate to the end."""
    left = iter(enumerate(candidates))

    def breed() -> None:
        for index, member in left:
            cluster.submit((index,), member.tune + member.judge + member.train, breed)
            return

    for _ in range(cluster.workers):
        breed()
    cluster.run()


def played(
    way: Way, found: Sequence[Durations], workers: int, population: int, generations: int, overhead: float, seed: int
) -> Cluster:
    """A search by one way; candidates are drawn with the same seed, so that all ways evaluate the same ones.

    Args:
        way: ``barriers``, ``generations`` or ``steady``.
        found: What candidates are drawn from.
        workers: How many there are.
        population: Candidates of a generation.
        generations: How many; steady state evaluates as many candidates in all.
        overhead: Seconds to hand out a job.
        seed: Of the draws.

    Example:
        >>> one = played("steady", [Durations(2, 1, 3)], workers=3, population=4, generations=3, overhead=0, seed=0)
        >>> one.now, one.idle
        (24.0, 0.0)
    """
    draw = Random(seed)
    candidates = draw.choices(found, k=population * generations)
    cluster = Cluster(workers, overhead)
    if way == "steady":
        in_steady_state(cluster, candidates)
    else:
        play = by_stages if way == "barriers" else by_generations
        play(cluster, (candidates[first : first + population] for first in range(0, len(candidates), population)))
    return cluster


def cluster(
    journal: Path = Path("docs/results/cluster/journal.jsonl"),
    steps: Path = STEPS,
    networks: str = NETWORKS,
    workers: str = "2 4 8 16 32 64 128 256 512 1024",
    population: int = 25,
    generations: int = 50,
    per_worker: int = 0,
    per_machine: int = 32,
    overhead: float | None = None,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Idle workers, bytes sent and wall time for 2 to 1,024 workers: by stages, by generations, in steady state.

    `journal` is that of a LeNet-5 search, `steps` the times that `evomal reproduce table4` measured. With `per_worker`
    a generation has so many candidates for each worker, and at least `population`. `overhead` is what it takes to hand
    out a job; by default that is measured, with what jobs weigh. Data are sent once to each machine of `per_machine`
    workers.
    """
    found, times = drawn_from(journal), json.loads(steps.read_text(encoding="utf-8"))
    weight = job_weight()
    overhead = weight.seconds if overhead is None else overhead
    rows = []
    for name in networks.split():
        ratios = {stage: times[name][stage] / times["lenet5"][stage] for stage in ("meta", "base")}
        scaled = [each.scaled(**ratios) for each in found]
        for number in map(int, workers.split()):
            members = max(population, per_worker * number)
            for way in WAYS:
                after = played(way, scaled, number, members, generations, overhead, seed)
                sent = weight.bytes * after.jobs + ceil(number / per_machine) * weight.shared
                rows.append(
                    {"network": name, "workers": number, "population": members, "way": way, "idle": after.idle}
                    | {"hours": after.now / 3600, "candidates": members * generations, "gigabytes": sent / 2**30}
                )
    _show(rows, f"{overhead * 1e3:.2f} ms to hand out a job of {weight.bytes / 1024:.0f} KiB, there and back")
    return rows


@dataclass(frozen=True, slots=True)
class Weight:
    """What a job weighs.

    Args:
        bytes: There and back.
        shared: What a machine is sent once: the data.
        seconds: To pack it and to unpack what comes back.
    """

    bytes: int
    shared: int
    seconds: float


def job_weight() -> Weight:
    """A partial training of LeNet-5 on images like Fashion-MNIST's, packed as jobs are."""
    import pickle
    from time import perf_counter

    from evomal.config import learn_settings
    from evomal.evaluation.stages import Partial, train_group
    from evomal.losses import SymbolicLoss

    loss = SymbolicLoss("square(sub(y, mul(f, log(f))))", task_type="classification")
    job = (train_group, (learn_settings("paper-mnist"), [loss]))
    back = [Partial(0.1, None, 1.0)]
    packed, unpacked = pickle.dumps(job), pickle.dumps(back)
    start = perf_counter()
    rounds = 50
    for _ in range(rounds):
        pickle.dumps(job)
        pickle.loads(unpacked)
    each = (perf_counter() - start) / rounds
    return Weight(len(packed) + len(unpacked), 60_000 * 28 * 28 * 4, each)


def _show(rows: Sequence[dict[str, Any]], note: str) -> None:
    by_place: dict[tuple[str, int], dict[str, dict[str, Any]]] = {}
    for row in rows:
        by_place.setdefault((row["network"], row["workers"]), {})[row["way"]] = row
    lines = [
        [name, str(number), f"{ways['steady']['candidates']:,}"]
        + [f"{100 * (1 - ways[way]['idle']):.0f} %" for way in WAYS]
        + [f"{ways[way]['hours']:.3g}" for way in WAYS]
        + [f"{ways['steady']['gigabytes']:.2g}"]
        for (name, number), ways in by_place.items()
    ]
    busy, hours = [f"busy, {way}" for way in WAYS], [f"hours, {way}" for way in WAYS]
    show(f"A search in virtual time; {note}", ["network", "workers", "candidates", *busy, *hours, "GiB sent"], lines)
