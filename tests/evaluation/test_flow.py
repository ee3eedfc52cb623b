"""A generation without barriers: whoever finishes first, the journal is the same, and nobody waits for nothing.

Stages are played: what comes out of them is drawn, so that thousands of generations take seconds.
"""

from dataclasses import dataclass
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evomal.config import learn_settings
from evomal.evaluation import dispatch
from evomal.evaluation.candidate import Candidate
from evomal.evaluation.evaluator import Evaluator
from evomal.evaluation.grouping import chunks
from evomal.evaluation.stages import Judgement, Partial
from evomal.evaluation.tuning_memory import TunedState, TuningMemory
from evomal.evaluation.watching import Watcher
from evomal.executors import InProcess
from evomal.local_search import Tuned
from helpers.chance import Chance

TASKS = SimpleNamespace(task_type="classification")
STEPS = 500  # of a full partial training


@dataclass(frozen=True)
class Fate:
    """What comes out of the stages for a candidate."""

    tuned: bool = True
    fails: bool = False
    score: float = 1.0
    signature: str | None = None
    heat: float = 0.5
    fitness: float = 0.5
    breaks: bool = False


@dataclass(frozen=True)
class Played:
    """A genome, and its loss, with a fate."""

    key: str
    fate: Fate
    size: int = 3
    scale: float = 1.0

    def loss(self, tasks, settings):
        return SimpleNamespace(coefficients=[1.0], scale=1.0, key=self.key, fate=self.fate)


def _company(group):
    """In lanes what comes out depends on who is there."""
    return sum(map(ord, "".join(each.key for each in group))) / 1e6


def _tune(tasks, settings, genomes):
    found = []
    for genome in genomes:
        loss = genome.loss(tasks, settings)
        loss.coefficients = [1 + (_company(genomes) if settings.lanes > 1 else 0)]
        found.append((loss, Tuned(5, None if genome.fate.tuned else "not finite", 0.1)))
    return found


def _judge(tasks, settings, probes, losses):
    signatures = settings.filters.gradient_equivalence
    return [
        Judgement(
            loss.fate.score, loss.fate.signature if signatures else None, "breaks" if loss.fate.fails else None, 0.1
        )
        for loss in losses
    ]


def _train(tasks, settings, losses):
    extra = _company(losses) if settings.lanes > 1 else 0
    full = settings.partial_steps == STEPS
    return [
        Partial((loss.fate.fitness if full else loss.fate.heat) + extra, "breaks" if loss.fate.breaks else None, 0.1)
        for loss in losses
    ]


@pytest.fixture(scope="module", autouse=True)
def _played():
    with pytest.MonkeyPatch.context() as patch:
        for name, stage in (("tune", _tune), ("judge", _judge), ("train", _train)):
            patch.setattr(dispatch, f"{name}_in_lanes", stage)
            patch.setattr(dispatch, "tune_stage" if name == "tune" else f"{name}_group", stage)
        yield


class Kept(TuningMemory):
    def __init__(self):
        self.known = {}

    def tuned(self, candidate):
        return self.known.get(candidate.index)

    def keep(self, tuned):
        for candidate, loss, outcome in tuned:
            self.known[candidate.index] = TunedState(
                index=candidate.index, weights=tuple(loss.coefficients), scale=loss.scale, steps=outcome.steps,
                seconds=outcome.seconds, reason=outcome.reason, note=outcome.note,
            )  # fmt: skip


def _settings(lanes=1, racing=False, equivalence=True):
    more = {"racing": True, "racing_keep": 0.5} if racing else {}
    return learn_settings(lanes=lanes, gradient_equivalence=equivalence, partial_steps=STEPS, finals=False, **more)


def _members(fates):
    return [Candidate(0, number, Played(f"g{number}", fate), "initial") for number, fate in enumerate(fates)]


def _told(candidate):
    return (
        candidate.index, candidate.outcome, candidate.fitness, candidate.heat, candidate.same_as, candidate.score,
        candidate.signature, candidate.weights, candidate.tuned_steps, candidate.trainings, candidate.reason,
    )  # fmt: skip


class Stop(Exception):
    """Ctrl-C."""


def _journal(members, settings, executor, memory=None, stop=None):
    """What is written, in its order; after `stop` lines the call is interrupted."""
    lines = []

    def done(candidate):
        if len(lines) == stop:
            raise Stop
        lines.append(candidate)

    evaluator = Evaluator(TASKS, settings, (), executor, Watcher(), memory)
    try:
        evaluator.evaluate(members, done)
    except Stop:
        assert stop is not None
    return lines


FATES = st.lists(
    st.builds(
        Fate,
        tuned=st.sampled_from([True, True, True, False]),
        fails=st.sampled_from([False, False, False, True]),
        score=st.sampled_from([1.0, 1.0, 0.1]),
        signature=st.sampled_from([None, "a", "b", "c", "d"]),
        heat=st.sampled_from([0.2, 0.4, 0.6]),
        fitness=st.sampled_from([0.1, 0.3, 0.5]),
        breaks=st.sampled_from([False, False, True]),
    ),
    max_size=12,
)
KINDS = st.builds(_settings, st.sampled_from([1, 1, 2, 3]), st.booleans(), st.booleans())


@given(fates=FATES, settings=KINDS, workers=st.integers(1, 6), draw=st.randoms(use_true_random=False))
def test_the_journal_is_the_same_whoever_finishes_first(fates, settings, workers, draw):
    expected = [_told(each) for each in _journal(_members(fates), settings, InProcess())]
    chance = Chance(workers, lambda running: draw.randrange(len(running)))
    assert [_told(each) for each in _journal(_members(fates), settings, chance)] == expected
    assert sorted(line[0] for line in expected) == list(range(len(fates)))


@given(
    fates=FATES,
    settings=KINDS,
    workers=st.integers(1, 6),
    stops=st.lists(st.integers(0, 8), min_size=1, max_size=3),
    draw=st.randoms(use_true_random=False),
)
def test_interruptions_change_nothing_either(fates, settings, workers, stops, draw):
    expected = {line.index: _told(line) for line in _journal(_members(fates), settings, InProcess())}
    memory, found = Kept(), {}
    for stop in [*stops, None]:
        members = [found.get(each.index, each) for each in _members(fates)]
        chance = Chance(workers, lambda running: draw.randrange(len(running)))
        found |= {line.index: line for line in _journal(members, settings, chance, memory, stop)}
    if settings.racing.racing:  # the heat is taken anew, and what is tuned is told once more
        assert {index: line[1:3] for index, line in ((i, _told(c)) for i, c in found.items())} == {
            index: line[1:3] for index, line in expected.items()
        }
    else:
        assert {index: _told(line) for index, line in found.items()} == expected


@given(fates=FATES, equivalence=st.booleans())
def test_outcomes_are_those_of_the_definition(fates, equivalence):
    """D8 and D9 as they are written down: one by one, by index."""
    chance = Chance(3, lambda running: len(running) - 1)
    members = _members(fates)
    _journal(members, _settings(equivalence=equivalence), chance)
    passed = {}
    for number, (fate, member) in enumerate(zip(fates, members, strict=True)):
        like = passed.get(fate.signature) if equivalence and fate.signature else None
        if not fate.tuned or fate.fails:
            assert (member.outcome, member.trainings) == ("failed", 0)
        elif fate.score < 0.6:
            assert (member.outcome, member.trainings) == ("rejected", 0)
        elif like is not None:
            assert (member.outcome, member.same_as, member.fitness) == ("equivalent", (0, like), members[like].fitness)
        else:
            assert (member.outcome, member.trainings) == ("failed" if fate.breaks else "trained", 1)
            assert member.fitness == fate.fitness
            passed.setdefault(fate.signature, number)


def _index(job):
    """Whose job it is: with enough workers each has one candidate."""
    (one,) = job.arguments[-1]
    return int(one.key[1:])


def _before(late, stage, equivalence):
    """What is over when nothing is left to wait for but one candidate's stage: (stage, candidate) pairs."""
    over = []

    def choose(running):
        others = [place for place, job in enumerate(running) if (job.function, _index(job)) != (stage, late)]
        if not others and (stage, late) not in {(job.function, _index(job)) for job in executor.finished}:
            over.extend((job.function, _index(job)) for job in executor.finished)
        return others[0] if others else 0

    executor = Chance(100, choose)
    _journal(
        _members([Fate(signature=str(number)) for number in range(6)]), _settings(equivalence=equivalence), executor
    )
    return set(over)


@pytest.mark.parametrize("stage", [_tune, _judge])
@pytest.mark.parametrize("late", [0, 2, 5])
def test_only_those_after_a_candidate_that_is_late_wait_for_its_verdict(stage, late):
    over = _before(late, stage, equivalence=True)
    assert {index for job, index in over if job is _train} == set(range(late))
    assert {index for job, index in over if job is _judge} == set(range(6)) - {late}


@pytest.mark.parametrize("stage", [_tune, _judge, _train])
def test_without_d9_nobody_waits_for_another(stage):
    over = _before(2, stage, equivalence=False)
    assert {index for job, index in over if job is _train} == set(range(6)) - {2}


def test_who_trains_late_holds_nobody_up():
    over = _before(1, _train, equivalence=True)
    assert {index for job, index in over if job is _train} == set(range(6)) - {1}


def test_a_group_of_lanes_begins_when_its_members_are_known():
    """Of three pairs the second is late in tuning: the first is trained before, the third is judged after it."""

    def choose(running):
        found = [
            (job.function is _tune and job.arguments[-1][0].key == "g2", place) for place, job in enumerate(running)
        ]
        return min(found)[1]

    executor = Chance(100, choose)
    _journal(_members([Fate()] * 6), _settings(lanes=2), executor)
    order = [(job.function, [each.key for each in job.arguments[-1]]) for job in executor.finished]
    late = order.index((_tune, ["g2", "g3"]))
    first = [(stage, ["g0", "g1"]) for stage in (_tune, _judge, _train)]
    assert [job for job in order[:late] if job != (_tune, ["g4", "g5"])] == first
    assert late == len(first) + 1
    assert sorted(map(str, order[late + 1 :])) == sorted(
        str((stage, pair)) for stage in (_judge, _train) for pair in (["g2", "g3"], ["g4", "g5"])
    )


def test_one_worker_goes_stage_by_stage_by_index():
    executor = Chance(1, lambda running: 0)
    _journal(_members([Fate(signature=str(number)) for number in range(3)]), _settings(), executor)
    steps = [(job.function, [each.key for each in job.arguments[-1]]) for job in executor.finished]
    single = [["g0"], ["g1"], ["g2"]]
    assert steps == [
        (_tune, ["g0", "g1", "g2"]),
        *((_judge, one) for one in single),
        *((_train, one) for one in single),
    ]


@given(st.integers(0, 200), st.integers(1, 64))
def test_chunks_shrink_and_hold_everybody_once(count, workers):
    pieces = chunks(range(count), workers)
    assert [item for piece in pieces for item in piece] == list(range(count))
    sizes = [len(piece) for piece in pieces]
    assert sizes == sorted(sizes, reverse=True)
    assert all(sizes)
    if count >= workers > 1:
        assert sizes[0] <= -(-count // workers)
        if count >= 10 * workers:
            assert 2 * sizes[-1] <= sizes[0]
