"""A search without generations: its journal says how it went, and everything follows from that."""

import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evomal.config import GeneticSettings, learn_settings
from evomal.engines.breeding import Breeding, copy_of
from evomal.engines.genetic import GeneticEngine
from evomal.engines.genome import Formula
from evomal.engines.steady_state import SteadyState
from evomal.executors.executor import InProcess, Stream
from evomal.expressions import canonical, parse, vocabulary
from evomal.foundation.errors import RunFolderError, SettingError
from evomal.foundation.seeds import python_random
from evomal.search import GPLFL, EvoMAL, Watcher
from evomal.search.asynchronous import engine_for
from evomal.store import read_journal
from evomal.tasks import TaskSet
from helpers import stops, tasks

FLAT = {"asynchronous": True}


class Told(Watcher):
    """Keeps with how many members, and with which generation, a search goes on."""

    def resumed(self, members, best, generation):
        self.resumed_with = len(members), generation


class Shuffled(InProcess):
    """Several workers that finish in an order of their own."""

    def __init__(self, workers, seed):
        self.workers, self._draw = workers, random.Random(seed)

    def stream(self, shared):
        return _Shuffled(shared, self._draw)


class _Shuffled(Stream):
    def __init__(self, shared, draw):
        super().__init__()
        self._shared, self._draw = shared, draw

    def next_finished(self):
        job = self._waiting.pop(self._draw.randrange(len(self._waiting)))
        return job.number, job.function(self._shared, *job.arguments)


def learn(folder=None, workers=3, seed=7, resume=False, watcher=None, **flat):
    method = EvoMAL(stops.tiny(**FLAT | flat))
    return method.learn(tasks.line(), folder, watcher=watcher, executor=Shuffled(workers, seed), resume=resume)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    out = tmp_path_factory.mktemp("asynchronous") / "a"
    return learn(out), out


def test_it_begins_as_a_search_by_generations_does():
    sized = GeneticSettings(population_size=6)
    theirs = GeneticEngine(sized, python_random(1, "genetic")).ask()
    assert [SteadyState(sized, 1, "genetic").breed(number) for number in range(6)] == theirs


@settings(deadline=None, max_examples=30)
@given(st.permutations(range(12)), st.integers(0, 5))
def test_a_child_depends_on_its_number_and_on_who_was_told_in_which_order(order, elites):
    sized = GeneticSettings(population_size=5, elitism_rate=elites / 5)
    engines = [SteadyState(sized, 3) for _ in range(2)]
    drawn = [SteadyState(sized, 3).breed(number).genome for number in range(12)]
    for engine in engines:
        for number in order:
            engine.breed(99)  # what is bred meanwhile does not matter
            engine.tell(number, drawn[number], float(number % 4))
    one, other = engines
    assert one.breed(12) == other.breed(12)
    population = [told[2] for told, _ in one._population()]
    best = sorted(order, key=lambda number: (number % 4, drawn[number].size, number))[: max(1, elites)]
    assert population[: len(best)] == best
    assert population[len(best) :] == [n for n in order if n not in best][-(5 - len(best)) :][: 5 - len(best)]
    assert set(one.breed(12).parents) <= set(population)


def test_before_anybody_is_finished_children_are_newcomers():
    engine = SteadyState(GeneticSettings(population_size=2), 0)
    assert {engine.breed(number).origin for number in range(6)} == {"initial"}
    assert len({engine.breed(number).expression for number in range(6)}) > 3


def test_everybody_is_evaluated_once_and_says_after_whom(whole):
    result, out = whole
    records = read_journal(out, as_written=True)
    assert {(r["generation"], r["index"]) for r in records} == {(g, i) for g in range(4) for i in range(6)}
    assert len(records) == len(result.members) == 24
    assert all(record["after"] <= place for place, record in enumerate(records))
    # Three workers: nobody is further behind than those that were under way, or waited for one that was.
    assert [record["after"] for record in records][:3].count(0) >= 2
    assert {"trained", "archived", "rejected"} <= set(result.outcomes)


def test_the_engine_breeds_the_same_again_from_the_journal_alone(whole):
    _, out = whole
    sized = stops.tiny(**FLAT).genetic
    records = read_journal(out, as_written=True)
    for record in records:
        engine = SteadyState(sized, 2, TaskSet.of(tasks.line()).key, "genetic")
        members = {m.place: m for m in whole[0].members}
        for told in records[: record["after"]]:
            member = members[told["generation"], told["index"]]
            engine.tell(6 * told["generation"] + told["index"], member.genome, member.told)
        bred = engine.breed(6 * record["generation"] + record["index"])
        assert (str(bred.expression), list(bred.parents)) == (record["expression"], record["parents"])


def test_what_is_found_of_a_formula_does_not_hang_on_timing(whole):
    others = {m.key: m for m in learn(seed=8, workers=5).members if m.outcome == "trained"}
    both = [(m, others[m.key]) for m in whole[0].members if m.outcome == "trained" and m.key in others]
    assert both
    assert all((a.weights, a.fitness, a.score) == (b.weights, b.fitness, b.score) for a, b in both)


def test_one_worker_evaluates_in_order():
    one, other = (learn(workers=1, seed=seed) for seed in (0, 1))
    assert [m.key for m in one.members] == [m.key for m in other.members]
    assert [m.after for m in one.members] == list(range(24))


@pytest.mark.parametrize("stop", [1, 9, 20])
def test_an_interrupted_search_goes_on_and_ends_complete(tmp_path, stop):
    stopped = learn(tmp_path / "a", watcher=stops.Stop(stop))
    assert stopped.ended == "interrupt"
    before = read_journal(tmp_path / "a", as_written=True)
    assert len(before) == stop
    told = Told()
    result = learn(tmp_path / "a", seed=1, resume=True, watcher=told)
    assert told.resumed_with == (stop, stop // 6)
    records = read_journal(tmp_path / "a", as_written=True)
    assert (result.ended, len(records)) == ("generations", 24)
    assert records[:stop] == before
    again = learn(tmp_path / "a", resume=True, watcher=stops.Never())
    assert again.loss.coefficients == result.loss.coefficients


def test_a_journal_that_another_engine_wrote_is_refused(whole, tmp_path):
    folder = stops.cut(whole[1], tmp_path / "b", 20)
    lines = [json.loads(line) for line in (folder / "journal.jsonl").read_text().splitlines()]
    lines[-1]["expression"] = "add(y, f)"
    (folder / "journal.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    with pytest.raises(RunFolderError, match="this evomal breeds another one after the lines before; go on with"):
        learn(folder, resume=True)


def test_limits_hold(whole):
    few = learn(max_evaluations=7)
    assert (few.ended, sum(member.own for member in few.members)) == ("evaluations", 7)
    best = min(m.fitness for m in whole[0].members if m.outcome == "trained")
    met = learn(target_fitness=best)
    assert (met.ended, met.fitness) == ("target", best)


@pytest.mark.parametrize(
    ("flat", "text"),
    [
        ({"racing": True}, "setting 'asynchronous': candidates race within a generation; leave out racing"),
        ({"lanes": 4}, "setting 'asynchronous': lanes are of candidates that wait for one another; give lanes=1"),
    ],
)
def test_what_needs_generations_is_refused(flat, text):
    with pytest.raises(SettingError, match=text):
        stops.tiny(**FLAT | flat)


def test_methods_of_whole_generations_are_refused():
    with pytest.raises(SettingError, match="asynchronous"):
        learn_settings(method="taylorglo", asynchronous=True)
    assert GPLFL(learn_settings(method="gplfl", asynchronous=True)).settings.genetic.asynchronous


KEY = (2, TaskSet.of(tasks.line()).key, "genetic")  # with the seed of `stops.tiny`
SIZED = stops.tiny(**FLAT).genetic


class Newcomers(SteadyState):
    """Breeds nothing: every child is a newcomer."""

    def breed(self, number):
        newcomers = Breeding(self.settings, vocabulary(), python_random("own", number)).newcomers(1)
        return copy_of(newcomers[0], "initial")


def test_an_engine_of_the_users_own_breeds(tmp_path):
    def learned(**options):
        method = EvoMAL(stops.tiny(**FLAT))
        return method.learn(tasks.line(), tmp_path / "a", engine=Newcomers(SIZED), executor=Shuffled(3, 7), **options)

    stopped = learned(watcher=stops.Stop(9))
    assert (stopped.ended, len(stopped.members)) == ("interrupt", 9)
    with pytest.raises(RunFolderError, match="this evomal breeds another one after the lines before; go on with"):
        learn(tmp_path / "a", resume=True)  # with the usual engine
    result = learned(resume=True)
    bred = {(n // 6, n % 6): Newcomers(SIZED).breed(n).genome.key for n in range(24)}
    assert {member.place: member.key for member in result.members} == bred


class Own(GeneticEngine):
    """Another breeding, as far as anybody can tell."""


def _told_already():
    engine = SteadyState(SIZED, *KEY)
    engine.tell(0, engine.breed(0).genome, 0.5)
    return engine


LOST = "a search without generations could take over the formulas to start from alone; give a SteadyState as engine"


@pytest.mark.parametrize(
    ("engine", "message"),
    [
        (lambda: Own(SIZED, python_random(*KEY)), f"^of this Own, which has a breeding, settings or .*, {LOST}"),
        (lambda: GeneticEngine(SIZED, random.Random(0)), f"^of this GeneticEngine, which .*, {LOST}"),
        (
            lambda: GeneticEngine(SIZED.model_copy(update={"tournament_size": 1}), python_random(*KEY)),
            f"^of this GeneticEngine, which .*, {LOST}",
        ),
        (_told_already, "^the engine was told 1 fitnesses already; give a fresh one$"),
    ],
)
def test_an_engine_of_which_something_would_be_lost_is_refused(engine, message, tmp_path):
    with pytest.raises(SettingError, match=message):
        EvoMAL(stops.tiny(**FLAT)).learn(tasks.line(), tmp_path / "a", engine=engine())
    assert not (tmp_path / "a").exists()


def test_the_methods_own_engine_with_other_formulas_to_start_from_is_taken_over():
    start = Formula(canonical(parse("square(sub(y, f))")))
    found = engine_for(GeneticEngine(SIZED, python_random(*KEY), [start]), stops.tiny(**FLAT), KEY[1])
    assert isinstance(found, SteadyState)
    assert found.breed(0).genome == start
    assert found.breed(1) == SteadyState(SIZED, *KEY, initial=[start]).breed(1)


def test_with_generations_an_engine_without_them_is_refused():
    with pytest.raises(
        SettingError, match=r"^a SteadyState breeds one child at a time, without generations; add `asyn"
    ):
        EvoMAL(stops.tiny()).learn(tasks.line(), engine=SteadyState(SIZED, *KEY))
