import hashlib
import json
import math
import random
from collections import Counter

import pytest

from evomal.config import GeneticSettings, learn_settings
from evomal.engines.genetic import FormulaProposal, GeneticEngine
from evomal.engines.genome import Formula
from evomal.engines.warm_start import words_of
from evomal.expressions import MAX_DEPTH, canonical, parse
from evomal.expressions.generate import MAX_GROWN_DEPTH
from evomal.foundation.errors import EvomalError, ExpressionError, SettingError
from evomal.foundation.seeds import derive


def _engine(seed: int = 0, **settings: float) -> GeneticEngine:
    return GeneticEngine(GeneticSettings(**settings), random.Random(seed))


def _sizes(proposals: list[FormulaProposal]) -> list[float]:
    return [float(proposal.expression.size) for proposal in proposals]


def test_the_initial_population_is_complete_canonical_and_as_large_as_asked() -> None:
    proposals = _engine(population_size=30).ask()
    assert len(proposals) == 30
    assert {proposal.origin for proposal in proposals} == {"initial"}
    assert all(p.expression.complete and canonical(p.expression) == p.expression for p in proposals)
    # Repair may add one level to the depths 2 to 4.
    assert all(2 <= p.expression.height <= 5 for p in proposals)


def test_formulas_to_start_from_come_first_in_canonical_form() -> None:
    given = [Formula(parse("square(sub(y, f))")), Formula(parse("log(mul(f, y))"), (1.0, 2.0, 3.0))]
    proposals = GeneticEngine(GeneticSettings(population_size=5), random.Random(0), given).ask()
    assert [p.genome.key for p in proposals[:2]] == ["square(sub(y, f))", "log(mul(y, f)) [1.0, 3.0, 2.0]"]
    assert [p.weights for p in proposals[2:]] == [None] * 3
    assert {p.origin for p in proposals} == {"initial"}


def test_coefficients_stay_with_copies_and_with_nothing_else() -> None:
    given = Formula(parse("square(sub(y, f))"), (0.5, 2.0, -1.0))
    settings = GeneticSettings(population_size=40, elitism_rate=0.1, crossover_rate=0.3, mutation_rate=0.3)
    engine, copies = GeneticEngine(settings, random.Random(0), [given]), 0
    for _ in range(6):
        before = engine.ask()
        engine.tell([0.0 if p.weights else 1.0 for p in before])
        for p in engine.ask():
            parent = before[p.parents[0]]
            same = p.expression == parent.expression
            assert p.weights == (parent.weights if same else None)
            assert same or p.origin in ("crossover", "mutation")
            copies += p.genome.key == given.key
    assert copies > 20


def test_a_child_that_is_too_high_is_a_copy_coefficients_and_all() -> None:
    given = Formula(parse("mul(y, f)"), (3.0, 4.0))
    settings = GeneticSettings(
        population_size=30, min_depth=1, max_depth=1, max_height=1, crossover_rate=0.0, mutation_rate=1.0
    )
    engine = GeneticEngine(settings, random.Random(0), [given])
    engine.tell([float(index) for index, _ in enumerate(engine.ask())])
    copies = [p for p in engine.ask() if p.parents[0] == 0 and p.expression == given.expression]
    assert {"mutation", "elite"} == {p.origin for p in copies}
    assert {p.weights for p in copies} == {given.weights}


@pytest.mark.parametrize(
    ("seed", "settings", "digest"),
    [
        (0, {}, "8502f0043879a6b4"),
        (1, {"population_size": 12, "max_height": 4}, "9420b99ad7b23b99"),
        (2, {"population_size": 30, "elitism_rate": 0.2, "tournament_size": 2}, "0d12a1abab5e5242"),
    ],
)
def test_a_search_proposes_what_it_always_did(seed: int, settings: dict[str, float], digest: str) -> None:
    """Taken down before engines knew of coefficients: runs of then can be repeated."""
    engine, seen = _engine(seed, **settings), hashlib.sha256()
    for _ in range(12):
        proposals = engine.ask()
        for p in proposals:
            seen.update(f"{p.genome.key}|{p.origin}|{list(p.parents)}\n".encode())
        drawn = [derive(p.genome.key) % 1000 for p in proposals]
        engine.tell([math.inf if value < 50 else value / 1000 for value in drawn])
    assert seen.hexdigest()[:16] == digest


def test_asking_again_gives_the_same_generation() -> None:
    engine = _engine()
    assert engine.ask() == engine.ask()
    engine.tell(_sizes(engine.ask()))
    assert engine.generation == 1
    assert engine.ask() == engine.ask()


def test_elites_come_first_unchanged_and_ties_fall_to_size_then_index() -> None:
    engine = _engine(population_size=20, elitism_rate=0.2)
    first = engine.ask()
    engine.tell([0.5] * 20)
    elites = [p for p in engine.ask() if p.origin == "elite"]
    order = sorted(range(20), key=lambda i: (first[i].expression.size, i))
    assert elites == engine.ask()[:4]
    assert elites == [FormulaProposal(first[i].expression, "elite", (i,)) for i in order[:4]]


@pytest.mark.parametrize(("rate", "size", "elites"), [(0.0, 25, 1), (0.05, 25, 1), (0.05, 40, 2), (1.0, 4, 4)])
def test_there_is_at_least_one_elite(rate: float, size: int, elites: int) -> None:
    engine = _engine(population_size=size, elitism_rate=rate)
    engine.tell(_sizes(engine.ask()))
    assert sum(p.origin == "elite" for p in engine.ask()) == elites


@pytest.mark.parametrize("worst", [math.inf, math.nan, -math.inf])
def test_a_fitness_that_is_not_finite_is_the_worst(worst: float) -> None:
    engine = _engine(population_size=6)
    first = engine.ask()
    engine.tell([worst] * 5 + [1e300])
    assert engine.ask()[0].expression == first[5].expression


def test_the_best_never_gets_worse() -> None:
    engine = _engine(3)
    best = []
    for _ in range(15):
        fitnesses = [abs(p.expression.size - 12.0) for p in engine.ask()]
        best.append(min(fitnesses))
        engine.tell(fitnesses)
    assert best == sorted(best, reverse=True)
    assert best[-1] == 0


def test_origins_are_drawn_at_their_rates() -> None:
    engine = _engine(population_size=4001, elitism_rate=0.0)
    engine.tell([0.0] * len(engine.ask()))
    counts = Counter(p.origin for p in engine.ask())
    for origin, rate in {"crossover": 0.70, "mutation": 0.25, "reproduction": 0.05}.items():
        assert abs(counts[origin] - 4000 * rate) < 4 * math.sqrt(4000 * rate * (1 - rate))
    assert counts["elite"] == 1


def test_tournaments_favour_the_best_as_four_draws_do() -> None:
    size = 2000
    engine = _engine(population_size=size, crossover_rate=0.0, mutation_rate=0.0, elitism_rate=0.0)
    engine.tell([float(i) for i, _ in enumerate(engine.ask())])
    winners = [p.parents[0] for p in engine.ask()[1:]]
    # The least of four even draws from 0..1 has mean 1/5 and standard deviation sqrt(2/75).
    assert sum(winners) / len(winners) / size == pytest.approx(0.2, abs=4 * math.sqrt(2 / 75 / size))


def test_parents_explain_their_children() -> None:
    engine = _engine(population_size=60)
    before = [p.expression for p in engine.ask()]
    engine.tell(_sizes(engine.ask()))
    number = {"elite": 1, "reproduction": 1, "mutation": 1, "crossover": 2}
    for proposal in engine.ask():
        assert len(proposal.parents) == number[proposal.origin]
        if proposal.origin in ("elite", "reproduction"):
            assert proposal.expression == before[proposal.parents[0]]


def test_no_member_of_any_generation_is_too_high() -> None:
    engine = _engine(1, population_size=30, max_height=4, max_depth=4)
    for _ in range(12):
        proposals = engine.ask()
        assert all(p.expression.height <= 4 and p.expression.complete for p in proposals)
        assert all(canonical(p.expression) == p.expression for p in proposals)
        engine.tell([-s for s in _sizes(proposals)])  # the larger the better


def test_the_lowest_trees_there_are_can_be_searched() -> None:
    engine = _engine(population_size=10, min_depth=1, max_depth=1, max_height=1)
    for _ in range(3):
        assert {p.expression.height for p in engine.ask()} == {1}
        engine.tell([0.0] * 10)


@pytest.mark.parametrize("asked", [False, True])
@pytest.mark.parametrize("generations", [0, 1, 4])
def test_a_search_goes_on_to_the_bit_from_its_state(generations: int, asked: bool) -> None:
    def go_on(engine: GeneticEngine) -> list[list[FormulaProposal]]:
        seen = []
        for _ in range(4):
            seen.append(engine.ask())
            engine.tell([math.inf if size > 20 else size for size in _sizes(engine.ask())])
        return seen

    engine = _engine(5, population_size=12)
    for _ in range(generations):
        engine.tell([math.nan if size > 9 else size for size in _sizes(engine.ask())])
    if asked:
        engine.ask()
    text = json.dumps(engine.state_dict(), allow_nan=False)
    resumed = _engine(99, population_size=12)
    resumed.load_state_dict(json.loads(text))
    assert resumed.generation == engine.generation == generations
    assert go_on(resumed) == go_on(engine)
    assert resumed.state_dict() == engine.state_dict()


@pytest.mark.parametrize(
    "damage",
    [
        {"rng": [3, [1, 2], None]},
        {"rng": None},
        {"told": [["mull(y, f)", 0.0]]},
        {"told": [["mul(y, f)", "low"]]},
        {"asked": [{"expression": "mul(y, f)", "origin": "luck", "parents": []}]},
        {"asked": [{"origin": "elite", "parents": []}]},
    ],
)
def test_a_damaged_state_is_refused_and_changes_nothing(damage: dict[str, object]) -> None:
    engine = _engine(2)
    engine.tell(_sizes(engine.ask()))
    before = engine.state_dict()
    with pytest.raises(EvomalError, match=r"the state of the genetic engine is damaged \(.*\); start the search again"):
        engine.load_state_dict({**before, **damage})
    assert engine.state_dict() == before


def test_telling_what_was_not_asked() -> None:
    engine = _engine(population_size=3)
    with pytest.raises(EvomalError, match=r"tell\(\) came before ask\(\)"):
        engine.tell([1.0] * 3)
    engine.ask()
    with pytest.raises(EvomalError, match=r"tell\(\) got 2 fitnesses for 3 proposals: give one for each"):
        engine.tell([1.0] * 2)
    engine.tell([1.0] * 3)
    with pytest.raises(EvomalError, match="came before"):
        engine.tell([1.0] * 3)


@pytest.mark.parametrize(
    ("formula", "message"),
    [
        (Formula(parse("abs(f)")), "'abs(f)' cannot start a search: it lacks y; a loss needs both y and f"),
        (
            Formula(parse("abs(abs(abs(mul(y, f))))")),
            "'abs(abs(abs(mul(y, f))))' cannot start a search: it has height 4, above max_height 3",
        ),
        (
            Formula(parse("mul(y, f)"), (1.0,)),
            "'mul(y, f) [1.0]' cannot start a search: it has 2 edges and needs as many coefficients, not 1",
        ),
        (
            Formula(parse("mul(y, f)"), (1.0, math.inf)),
            "'mul(y, f) [1.0, inf]' cannot start a search: it has a coefficient that is not finite or above 1e+30",
        ),
    ],
)
def test_formulas_that_cannot_start_a_search(formula: Formula, message: str) -> None:
    settings = GeneticSettings(max_depth=3, max_height=3)
    with pytest.raises(ExpressionError) as caught:
        GeneticEngine(settings, random.Random(0), [formula])
    assert str(caught.value) == message


def test_more_formulas_than_places() -> None:
    with pytest.raises(SettingError, match="'population_size': 2 places cannot hold 3 formulas to start from"):
        GeneticEngine(GeneticSettings(population_size=2), random.Random(0), [Formula(parse("mul(y, f)"))] * 3)


@pytest.mark.parametrize(
    ("name", "limit"),
    [("max_height", MAX_DEPTH), ("max_depth", MAX_GROWN_DEPTH), ("mutation_depth", MAX_GROWN_DEPTH)],
)
def test_depths_that_no_formula_can_have(name: str, limit: int) -> None:
    learn_settings(**{"max_height": MAX_DEPTH, name: limit})
    with pytest.raises(SettingError, match=f"^setting '{name}': input should be less than or equal to {limit}"):
        learn_settings(**{"max_height": MAX_DEPTH, name: limit + 1})


@pytest.mark.parametrize("name", ["max_depth", "mutation_depth"])
def test_trees_of_operators_of_two_arguments_alone_are_not_drawn_for_ever(name: str) -> None:
    pairs = {"operators": ("add", "mul"), "max_height": MAX_DEPTH}
    words_of(learn_settings(**pairs, **{name: 8}))  # 511 nodes
    with pytest.raises(SettingError) as caught:
        words_of(learn_settings(**pairs, **{name: 9}))
    assert str(caught.value) == (
        f"setting '{name}': all operators take two arguments, so that a formula of depth 9 has 1,023 nodes, and at "
        "most 1,000 are allowed; give a lower one, or an operator of one argument"
    )
