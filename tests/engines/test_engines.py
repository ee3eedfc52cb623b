"""States of engines are data: what is damaged is refused and changes nothing, what is taken can be gone on from."""

import copy
import json
import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evomal.config import GeneticSettings
from evomal.engines.cma import CmaEngine
from evomal.engines.engine import SingleEngine
from evomal.engines.genetic import GeneticEngine
from evomal.engines.genome import Formula, Network, Polynomial
from evomal.engines.two_phase import TwoPhaseEngine
from evomal.expressions import parse
from evomal.foundation.errors import EvomalError
from evomal.foundation.seeds import derive

START = [Formula(parse("square(sub(y, f))"), (0.5, 2.0, -1.0)), Formula(parse("mul(y, f)"))]


def _genetic():
    return GeneticEngine(GeneticSettings(population_size=5, max_height=6), random.Random(3), START)


ENGINES = {
    "genetic": _genetic,
    "cma": lambda: CmaEngine([0.0] * 8, 1.2, 5, (0, "test"), Polynomial),
    "two-phase": lambda: TwoPhaseEngine(_genetic(), 2, 0.3, (0, "test")),
    "single": lambda: SingleEngine(Network(6)),
}


def _fitness(proposed):
    """A function of the genome alone, worst of the worst now and then."""
    drawn = derive(proposed.genome.key) % 1000
    return {0: math.inf, 1: math.nan, 2: -math.inf}.get(drawn % 20, drawn / 1000)


def _walk(engine, generations):
    seen = []
    for _ in range(generations):
        asked = engine.ask()
        seen.append([(proposed.genome.key, proposed.origin, proposed.parents) for proposed in asked])
        engine.tell([_fitness(proposed) for proposed in asked])
    return seen


def _state(name, generations, asked):
    engine = ENGINES[name]()
    _walk(engine, generations)
    if asked:
        engine.ask()
    return engine.state_dict()


STATES = {(name, k, asked): _state(name, k, asked) for name in ENGINES for k in range(4) for asked in (False, True)}


@pytest.mark.parametrize("name", ENGINES)
def test_a_state_is_json_and_the_same_after_it_was_loaded(name):
    for (engine, _, _), state in STATES.items():
        if engine == name:
            resumed = ENGINES[name]()
            resumed.load_state_dict(json.loads(json.dumps(state, allow_nan=False)))
            assert resumed.state_dict() == state


@pytest.mark.parametrize("name", ENGINES)
def test_a_state_does_not_change_with_its_engine_nor_the_engine_with_its_state(name):
    engine = ENGINES[name]()
    _walk(engine, 1)
    state = engine.state_dict()
    before = copy.deepcopy(state)
    resumed = ENGINES[name]()
    resumed.load_state_dict(state)
    _walk(engine, 2), _walk(resumed, 2)
    assert state == before


@pytest.mark.parametrize("name", ENGINES)
def test_an_engine_that_has_gone_further_goes_back(name):
    engine = ENGINES[name]()
    _walk(engine, 1)
    state = engine.state_dict()
    onward = _walk(engine, 2)
    engine.load_state_dict(state)
    assert _walk(engine, 2) == onward


TEXTS = [
    "mul(y, f)",
    "mul(f, y)",
    "abs(f)",
    "abs(" * 7 + "mul(y, f)" + ")" * 7,
    "elite",
    "initial",
    "mul(y, \x1b[31mf)",
]
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from([-1, 0, 1, 2, 5, 624, 625, 2**32 - 1, 2**32, 10**400]),
    st.floats(),
    st.sampled_from(TEXTS),
    st.text(max_size=5),
)
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
)


def _mutated(state, data):
    """A copy of a state in which one value, somewhere, is another, there twice, or not there."""
    state = {"state": copy.deepcopy(state)}
    inside, key = state, "state"
    while isinstance(inside[key], dict | list) and inside[key] and data.draw(st.integers(0, 3)):
        inside = inside[key]
        key = data.draw(st.sampled_from(sorted(inside) if isinstance(inside, dict) else range(len(inside))))
    change = data.draw(st.sampled_from(["replace", "replace", "delete", "double", "zero"]))
    if change == "delete" and inside is not state:
        del inside[key]
    elif change == "double" and isinstance(inside, list):
        inside.append(inside[key])
    elif change == "zero" and isinstance(inside[key], list):
        inside[key] = [0] * len(inside[key])
    else:
        inside[key] = data.draw(VALUES)
    return state["state"]


def _refused(engine, state):
    try:
        engine.load_state_dict(state)
    except EvomalError as error:
        return str(error)
    return None


@pytest.mark.parametrize("name", ENGINES)
@settings(max_examples=80, deadline=None, derandomize=True)
@given(data=st.data())
def test_whatever_a_state_holds_it_is_refused_or_can_be_gone_on_from(name, data):
    state = data.draw(st.sampled_from([key for key in STATES if key[0] == name]).map(STATES.get))
    for _ in range(data.draw(st.integers(1, 3))):
        state = _mutated(state, data)
    engine = ENGINES[name]()
    _walk(engine, 1)
    before = engine.state_dict()
    refused = _refused(engine, state)
    if refused is not None:
        assert engine.state_dict() == before
        assert refused.startswith("the state of the ")
        assert refused.endswith("; start the search again")
        assert refused.isprintable()
        assert len(refused) < 400
    json.dumps(engine.state_dict(), allow_nan=False)
    assert [len(generation) for generation in _walk(engine, 3)] == [len(engine.ask())] * 3
    json.dumps(engine.state_dict(), allow_nan=False)


GENETIC, CMA, TWO = (STATES[name, 3, False] for name in ("genetic", "cma", "two-phase"))
ZEROS = [3, [0] * 624 + [624], None]
DAMAGED = {
    ("genetic", "it has no 'rng'"): {k: v for k, v in GENETIC.items() if k != "rng"},
    ("genetic", "its random numbers are all zero"): GENETIC | {"rng": ZEROS},
    ("genetic", "its random numbers are of another version of Python"): GENETIC | {"rng": [2, *GENETIC["rng"][1:]]},
    ("genetic", "a whole number from 0 to 4294967295 is missing"): GENETIC | {"rng": [3, [2**32] * 625, None]},
    ("genetic", "a whole number from 0 to 624 is missing"): GENETIC | {"rng": [3, [1] * 624 + [625], None]},
    ("genetic", "a whole number from 0 to 1000000 is missing"): GENETIC | {"generation": True},
    ("genetic", "a list of 5 is missing"): GENETIC | {"told": GENETIC["told"][:4]},
    ("genetic", "a list of 0 is missing"): GENETIC | {"generation": 0},
    ("genetic", "a formula is not in canonical form"): GENETIC | {"told": [["mul(f, y)", 0.5]] * 5},
    ("genetic", "a formula lacks y; a loss needs both y and f"): GENETIC | {"told": [["abs(f)", 0.5]] * 5},
    ("genetic", "a formula has height 8, above max_height 6"): GENETIC | {"told": [[TEXTS[3], 0.5]] * 5},
    ("genetic", "a formula has 2 edges and needs as many coefficients, not 1"): GENETIC
    | {"told": [["mul(y, f)", 0.5, [1.0]]] * 5},
    ("genetic", "a formula has a coefficient that is not finite or above 1e+30"): GENETIC
    | {"told": [["mul(y, f)", 0.5, [1.0, 2e30]]] * 5},
    ("genetic", "a finite number is missing"): GENETIC | {"told": [["mul(y, f)", math.nan]] * 5},
    ("genetic", "unknown name 'log?'; did you mean 'log'? (position 8 of 'mul(y, log\\x1b(f))')"): GENETIC
    | {"told": [["mul(y, log\x1b(f))", 0.5]] * 5},
    ("genetic", "a member is of an unknown origin"): GENETIC
    | {"asked": [{"expression": "mul(y, f)", "origin": "initial", "parents": []}] * 5},
    ("genetic", "a list of 2 is missing"): GENETIC
    | {"asked": [{"expression": "mul(y, f)", "origin": "crossover", "parents": [1]}] * 5},
    ("genetic", "a whole number from 0 to 4 is missing"): GENETIC
    | {"asked": [{"expression": "mul(y, f)", "origin": "elite", "parents": [5]}] * 5},
    ("CMA-ES", "its generations cannot be counted"): CMA | {"asked": 1},
    ("CMA-ES", "a list of 5 is missing"): CMA | {"told": [[0.5] * 4]},
    ("CMA-ES", "a finite number is missing"): CMA | {"told": [["low"] * 5]},
    ("two-phase", "its phases contradict one another"): TWO | {"left": 1},
    ("two-phase", "it has no 'best'"): {k: v for k, v in TWO.items() if k != "best"},
    ("two-phase", "a whole number from 0 to 2 is missing"): TWO | {"left": -1},
    ("two-phase", "TypeError: list indices must be integers or slices, not str"): TWO | {"formulas": []},
}  # fmt: skip


@pytest.mark.parametrize(("engine", "reason"), DAMAGED)
def test_what_is_wrong_with_a_state(engine, reason):
    resumed = ENGINES[{"CMA-ES": "cma"}.get(engine, engine)]()
    with pytest.raises(EvomalError) as caught:
        resumed.load_state_dict(DAMAGED[engine, reason])
    assert str(caught.value) == f"the state of the {engine} engine is damaged ({reason}); start the search again"


@pytest.mark.parametrize(
    "damage",
    [
        {"told": [*CMA["told"][:-1], CMA["told"][-1][::-1]]},
        {"told": CMA["told"][:-1]},
        {"asked": True},
        {"draws": None},
        {"mean": [0.5] * 8},
        {"sigma": math.nextafter(CMA["sigma"], 9)},
    ],
)
def test_a_search_that_does_not_lead_where_it_should_is_refused(damage):
    engine = ENGINES["cma"]()
    with pytest.raises(EvomalError) as caught:
        engine.load_state_dict(CMA | damage)
    assert str(caught.value) == (
        "the state of the CMA-ES engine is damaged, or comes from another version of cma or numpy or another kind of "
        "CPU; start the search again"
    )
    assert engine.state_dict() == STATES["cma", 0, False]


@pytest.mark.parametrize("part", ["formulas", "coefficients"])
def test_either_phase_may_be_damaged(part):
    engine = ENGINES["two-phase"]()
    before = engine.state_dict()
    kind = {"formulas": "genetic", "coefficients": "CMA-ES"}[part]
    with pytest.raises(EvomalError, match=rf"^the state of the {kind} engine is damaged \(a list of 5 is missing\)"):
        engine.load_state_dict(TWO | {part: TWO[part] | {"told": [[0.5]]}})
    assert engine.state_dict() == before


def test_a_state_of_another_engine_is_refused():
    for (name, _, _), state in STATES.items():
        for other, make in ENGINES.items():
            if other != name:
                assert _refused(make(), state) is not None


def test_the_state_of_a_long_search_stays_small():
    engine = CmaEngine([0.0] * 8, 1.2, 25, (0, "test"), Polynomial)
    _walk(engine, 200)
    assert len(json.dumps(engine.state_dict())) < 200_000
    genetic = GeneticEngine(GeneticSettings(), random.Random(0))
    _walk(genetic, 20)
    assert len(json.dumps(genetic.state_dict())) < 40_000
