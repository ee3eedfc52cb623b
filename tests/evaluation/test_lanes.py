"""Stages in lanes against the stages candidate by candidate."""

import math
import random

import pytest
import torch
from torch import nn

import evomal
from evomal.engines.genome import Formula
from evomal.evaluation import batched_stages as lanes
from evomal.evaluation.batched_filters import improvements, signatures
from evomal.evaluation.batched_stages import in_groups, judge_in_lanes, train_in_lanes, tune_in_lanes
from evomal.evaluation.filters import gradient_signature, improvement, make_probe
from evomal.evaluation.lane_count import Cost, choose_lanes
from evomal.evaluation.stages import judge_group, train_group, tune_stage
from evomal.expressions import canonical, finished, parse, ramped_half_and_half
from evomal.losses.batched import BatchingError
from evomal.losses.batched_families import stack
from evomal.tasks import TaskSet
from helpers import tasks

SETTINGS = tasks.quick(meta_lr=0.01)
TREES = [finished(t, t, random.Random(1), 10) for t in ramped_half_and_half(random.Random(7), 12, 2, 4)]
TREES += [parse("mul(-1, mul(y, log(f)))"), parse("square(sub(y, f))"), parse("sign(mul(y, f))")]
GENOMES = [Formula(canonical(tree)) for tree in TREES]


def _network():
    return nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 3))


def _blobs(**options):
    return TaskSet.of(tasks.blobs(factory=_network, **options))


def _two():
    return TaskSet((tasks.blobs(factory=_network), tasks.blobs(name="more", seed=1)))


def _doubt(outputs, targets):
    """One minus the probability of the right class: unlike a count of errors, it does not jump when a bit changes."""
    return 1 - outputs.softmax(1).gather(1, targets[:, None]).mean()


@pytest.fixture
def exact():
    """Builds tasks in float64 with a metric that does not jump.

    Training at a great rate makes of a last bit of float32, which processors round differently, another prediction.
    """
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    options = {"factory": _network, "metric": _doubt, "task_type": "classification"}
    yield lambda *each: TaskSet(tuple(tasks.blobs(**options, **one) for one in each or ({},)))
    torch.set_default_dtype(before)


def _losses(task, settings=SETTINGS):
    losses = [genome.loss(task, settings) for genome in GENOMES]
    with torch.no_grad():
        losses[0].weights.fill_(float("nan"))  # a candidate that fails
    return losses


def _probes(task, instances=60):
    return [make_probe(one, instances, 0) for one in task]


@pytest.fixture(autouse=True)
def _really_in_lanes():
    """Whatever falls back to one by one fails the test."""

    def refuse(tasks, settings, *items):
        raise AssertionError("not in lanes")

    with pytest.MonkeyPatch.context() as patch:
        for name in ("tune_stage", "judge_group", "train_group"):
            patch.setattr(lanes, name, refuse)
        yield patch


@pytest.fixture
def alone(_really_in_lanes):
    """But this one, which is about that."""
    _really_in_lanes.undo()


may_fall_back = pytest.mark.usefixtures("alone")


@pytest.mark.parametrize("make", [_blobs, _two])
@pytest.mark.parametrize("control", [False, True])
def test_tuning(make, control):
    settings, task = tasks.quick(meta_lr=0.01, scale_control=control), make()
    ours, theirs = tune_in_lanes(task, settings, GENOMES), tune_stage(task, settings, GENOMES)
    close = 0
    for (loss, outcome), (reference, expected) in zip(ours, theirs, strict=True):
        assert str(loss.expression) == str(reference.expression)
        assert (outcome.steps, outcome.reason, outcome.note) == (expected.steps, expected.reason, expected.note)
        # Where a coefficient has no effect, Adam follows rounding: not further than its steps reach.
        torch.testing.assert_close(loss.weights, reference.weights, rtol=0, atol=0.081)
        close += torch.allclose(loss.weights, reference.weights, rtol=1e-4, atol=1e-4)
        assert loss.scale == pytest.approx(reference.scale, rel=0.05)
    assert close >= 0.7 * len(GENOMES)


@pytest.mark.parametrize("make", [_blobs, _two, lambda: _blobs(outputs=1, classes=2), lambda: TaskSet.of(tasks.line())])
def test_judging(make):
    task = make()
    ours = judge_in_lanes(task, SETTINGS, _probes(task), _losses(task))
    theirs = judge_group(task, SETTINGS, _probes(task), _losses(task))
    assert [j.reason for j in ours] == [j.reason for j in theirs]
    assert ours[0].reason == "the loss or its gradient is not finite"
    assert ours[0].score is ours[0].signature is None
    for mine, reference in zip(ours[1:], theirs[1:], strict=True):
        assert mine.score == pytest.approx(reference.score, abs=0.02)
        assert mine.seconds > 0
    agreeing = sum(a.signature == b.signature for a, b in zip(ours, theirs, strict=True))
    assert agreeing >= len(ours) - 2  # a norm may lie in the middle between two texts


@pytest.mark.parametrize("off", ["rejection", "gradient_equivalence"])
def test_a_filter_that_is_off_measures_nothing(off):
    task, settings = _blobs(), tasks.quick(**{off: False})
    for mine, reference in zip(
        judge_in_lanes(task, settings, _probes(task), _losses(task)),
        judge_group(task, settings, _probes(task), _losses(task)),
        strict=True,
    ):
        assert (mine.score is None) == (reference.score is None)
        assert (mine.signature is None) == (reference.signature is None)


def test_a_loss_that_breaks_during_rejection_keeps_its_signature():
    task, settings = TaskSet.of(tasks.line()), tasks.quick(rejection_lr=1e30, rejection_steps=5)
    losses = [evomal.SymbolicLoss(text, task_type="regression") for text in ("square(sub(y, f))", "abs(sub(y, f))")]
    ours = judge_in_lanes(task, settings, _probes(task), losses)
    theirs = judge_group(task, settings, _probes(task), losses)
    assert [(j.signature, j.reason) for j in ours] == [(j.signature, j.reason) for j in theirs]
    assert [j.reason for j in ours] == ["the loss or its gradient is not finite", None]
    assert all(j.signature for j in ours)


def test_nothing_to_improve_passes():
    task = _blobs()
    (probe,) = _probes(task)
    perfect = evomal.evaluation.filters.FilterProbe(
        20 * nn.functional.one_hot(probe.targets, 3).float(), probe.wider, probe.targets, 0.0, 0.0, probe.metric,
        probe.task_type,
    )  # fmt: skip
    losses = _losses(task)[1:]
    assert improvements(stack(losses), perfect, SETTINGS.filters) == [math.inf] * len(losses)


def test_the_measurements_are_those_of_the_filters():
    task = _blobs()
    (probe,), losses = _probes(task), _losses(task)[1:]
    for loss, score, text in zip(
        losses,
        improvements(stack(losses), probe, SETTINGS.filters),
        signatures(stack(losses), probe),
        strict=True,
    ):
        assert score == pytest.approx(improvement(loss, probe, SETTINGS.filters), abs=0.02)
        numbers, expected = ([float(part) for part in t.split()] for t in (text, gradient_signature(loss, probe)))
        assert numbers == pytest.approx(expected, rel=0.1)


@pytest.mark.parametrize(
    ("each", "rates"),
    [([{}], (0.1, 1.0, 3.0)), ([{}, {"name": "more", "seed": 1}], (1.0,))],
    ids=["one task at three rates", "two tasks"],
)
def test_training(exact, each, rates):
    settings, task = tasks.quick(fitness_lrs=rates), exact(*each)
    ours, theirs = train_in_lanes(task, settings, _losses(task)), train_group(task, settings, _losses(task))
    agreeing = [
        (mine.reason, mine.trainings, mine.rate, pytest.approx(mine.fitness, abs=1e-5))
        == (reference.reason, reference.trainings, reference.rate, reference.fitness)
        for mine, reference in zip(ours, theirs, strict=True)
    ]
    assert sum(agreeing) >= len(ours) - 2  # where gradients jump, a training may follow its last bits
    assert all([agreeing[0], *agreeing[-3:]])  # the one that fails, and those that everybody knows
    assert ours[0].fitness == math.inf
    assert ours[0].reason == "the loss is not finite at step 0"


@pytest.mark.parametrize("method", ["taylorglo", "ml3"])
def test_other_families(exact, method):
    from evomal.engines.genome import Network, Polynomial

    settings = tasks.quick(method=method, hidden=5) if method == "ml3" else tasks.quick(method=method)
    task = exact()
    draw = random.Random(0)
    if method == "ml3":
        genomes = [Network(5) for _ in range(3)]
    else:
        genomes = [Polynomial(tuple(draw.gauss(0, 0.5) for _ in range(8))) for _ in range(3)]
    losses = [genome.loss(task, settings) for genome in genomes]
    ours, theirs = train_in_lanes(task, settings, losses), train_group(task, settings, losses)
    assert [p.fitness for p in ours] == pytest.approx([p.fitness for p in theirs], abs=1e-5)
    judged, expected = (f(task, settings, _probes(task), losses) for f in (judge_in_lanes, judge_group))
    for mine, reference in zip(judged, expected, strict=True):
        assert mine.reason == reference.reason
        assert (mine.score is None) == (reference.score is None)


@may_fall_back
def test_a_model_without_lanes_falls_back_to_one_by_one():
    class Recurrent(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.head = nn.LSTM(5, 4, batch_first=True), nn.Linear(4, 3)

        def forward(self, x):
            return self.head(self.layer(x.unsqueeze(1))[0][:, -1])

    settings = tasks.quick(partial_steps=3, meta_steps=2)
    task = TaskSet.of(tasks.blobs(factory=Recurrent))
    losses = _losses(task)[1:4]
    ours, theirs = train_in_lanes(task, settings, losses), train_group(task, settings, losses)
    assert [(p.fitness, p.reason) for p in ours] == [(p.fitness, p.reason) for p in theirs]
    tuned, expected = (stage(task, settings, GENOMES[1:4]) for stage in (tune_in_lanes, tune_stage))
    assert [loss.coefficients for loss, _ in tuned] == [loss.coefficients for loss, _ in expected]


@may_fall_back
def test_a_single_candidate_falls_back_to_its_own_stage():
    task = _blobs()
    (ours,) = train_in_lanes(task, SETTINGS, _losses(task)[2:3])
    (theirs,) = train_group(task, SETTINGS, _losses(task)[2:3])
    assert ours.fitness == theirs.fitness
    assert train_in_lanes(task, SETTINGS, []) == []


def _room_for(count, calls):
    """Work that runs out of memory for more than some items."""

    def together(group):
        calls.append(("together", len(group)))
        if len(group) > count:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return [10 * item for item in group]

    def alone(group):
        calls.append(("alone", len(group)))
        return [10 * item for item in group]

    return together, alone


@pytest.mark.parametrize("room", [0, 1, 2, 3, 5, 8])
def test_a_group_that_does_not_fit_into_memory_is_halved(room):
    calls = []
    assert in_groups(*_room_for(room, calls), range(11)) == [10 * item for item in range(11)]
    assert all(size <= 1 for way, size in calls if way == "alone")
    done = [size for way, size in calls if way == "together" and size <= room]
    assert sum(done) + sum(size for way, size in calls if way == "alone") == 11  # nothing was done twice


@may_fall_back
def test_out_of_memory_in_a_stage(exact, monkeypatch):
    fit_lanes, sizes = lanes.fit_lanes, []

    def narrow(model, losses, *rest):
        sizes.append(losses.lanes)
        if losses.lanes > 4:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return fit_lanes(model, losses, *rest)

    task = exact()
    theirs = train_group(task, SETTINGS, _losses(task)[1:10])
    monkeypatch.setattr(lanes, "fit_lanes", narrow)
    ours = train_in_lanes(task, SETTINGS, _losses(task)[1:10])
    # One formula is a log(log(f)), which makes much of last bits.
    assert [p.fitness for p in ours] == pytest.approx([p.fitness for p in theirs], abs=1e-3)
    assert sizes == [9, 4, 5, 2, 3]


@may_fall_back
def test_memory_that_does_not_suffice_for_one_is_no_fault_of_the_candidate(monkeypatch):
    class Full(nn.Linear):
        def forward(self, x):
            raise torch.OutOfMemoryError("CUDA out of memory")

    task, good = TaskSet.of(tasks.blobs(factory=lambda: Full(5, 3))), _blobs()
    probes = [make_probe(one, 20, 0) for one in good]
    for stage in (tune_stage, tune_in_lanes):
        with pytest.raises(torch.OutOfMemoryError):
            stage(task, SETTINGS, GENOMES[1:2])
    for stage in (train_group, train_in_lanes):
        with pytest.raises(torch.OutOfMemoryError):
            stage(task, SETTINGS, _losses(good)[1:2])

    def full(*arguments):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("evomal.evaluation.stages.improvement", full)
    with pytest.raises(torch.OutOfMemoryError):
        judge_group(good, SETTINGS, probes, _losses(good)[1:2])


@may_fall_back
def test_any_other_failure_falls_back_to_one_by_one():
    def together(group):
        raise ValueError("a candidate's fault")

    assert in_groups(together, lambda group: [str(item) for item in group], [1, 2]) == ["1", "2"]


class _Clock:
    """A device on which lanes cost what is given, in seconds and bytes."""

    def __init__(self, seconds, size=1):
        self.seconds, self.size, self.asked = seconds, size, []

    def __call__(self, lanes):
        self.asked.append(lanes)
        if isinstance(self.seconds(lanes), Exception):
            raise self.seconds(lanes)
        return Cost(self.seconds(lanes), self.size * lanes)


@pytest.mark.parametrize(
    ("seconds", "memory", "expected", "asked"),
    [
        (lambda n: 1.0, 10**9, 25, [1, 2, 4, 8, 16, 25]),  # the device is idle with few
        (lambda n: float(n), 10**9, 1, [1, 2]),  # nothing is gained
        (lambda n: max(1.0, n / 4), 10**9, 4, [1, 2, 4, 8]),  # it is busy with four
        (lambda n: 1.0, 9, 8, [1, 2, 4, 8]),  # 16 would not fit
        (lambda n: 1.0, 1, 1, [1]),
        (lambda n: 1.0 if n < 8 else torch.OutOfMemoryError("full"), 10**9, 4, [1, 2, 4, 8]),
        (lambda n: BatchingError("no lanes"), 10**9, 1, [1]),
        (lambda n: RuntimeError("whatever a model does"), 10**9, 1, [1]),
    ],
)
def test_the_number_of_lanes_is_found_by_a_probe(monkeypatch, seconds, memory, expected, asked):
    task, clock = _blobs(), _Clock(seconds)
    monkeypatch.setattr(type(task), "device", torch.device("cuda"))
    assert choose_lanes(task, tasks.quick(population_size=25), clock, lambda: memory) == expected
    assert clock.asked == asked


def _counted(factory=lambda: nn.Linear(5, 3), **flat):
    values = {"population_size": 24, "meta_steps": 60, "partial_steps": 40, "scale_control": True}
    return choose_lanes(_blobs_of(factory), tasks.quick(**values | flat))


def _blobs_of(factory):
    return TaskSet.of(tasks.blobs(factory=factory))


def _hooked():
    model = nn.Linear(5, 3)
    model.register_forward_hook(lambda *given: None)
    return model


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, 12),
        ({"workers": 8}, 12),  # results do not depend on their number
        ({"population_size": 5}, 5),
        ({"partial_steps": 39}, 1),  # too short to pay
        ({"scale_control": False}, 1),  # the paper's way
        ({"base_steps": 2}, 1),
        ({"precision": "bf16"}, 1),
        ({"method": "taylorglo", "meta_steps": None}, 1),
        ({"factory": _network}, 1),  # it normalises
        ({"factory": _hooked}, 1),
        ({"factory": lambda: nn.Sequential(nn.Linear(5, 3000), nn.ReLU(), nn.Linear(3000, 3))}, 12),
        ({"factory": lambda: nn.Sequential(nn.Linear(5, 70000), nn.ReLU(), nn.Linear(70000, 3))}, 1),
        ({"lanes": 1}, 1),
        ({"lanes": 3}, 3),
    ],
)
def test_lanes_on_a_cpu_are_counted(given, expected):
    if given.get("method") == "taylorglo":
        flat = {"method": "taylorglo", "partial_steps": 100, "scale_control": True}
        assert choose_lanes(_blobs(), tasks.quick(**flat)) == expected
    else:
        assert _counted(**given) == expected


def test_the_number_of_lanes_on_a_cpu_or_as_given():
    def never(lanes):
        raise AssertionError("nothing is probed")

    assert choose_lanes(_blobs(), SETTINGS, never) == 1
    assert choose_lanes(_blobs(), tasks.quick(lanes=7), never) == 7
