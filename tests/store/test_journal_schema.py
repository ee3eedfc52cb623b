import copy
import json
import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evomal.config import LearnSettings, learn_settings
from evomal.engines.genome import Formula, Network, Polynomial
from evomal.expressions import canonical, ramped_half_and_half, repair
from evomal.search import Candidate
from evomal.search.result import best_of
from evomal.store.journal_schema import CandidateRow

quiet = settings(deadline=None, derandomize=True, database=None)
numbers = st.floats(allow_nan=False, allow_infinity=False)
counts, texts = st.integers(0, 10**9), st.text(max_size=20)
places = st.tuples(counts, counts)


@st.composite
def formulas(draw):
    rng = random.Random(draw(st.integers(0, 10**6)))
    tree = canonical(repair(ramped_half_and_half(rng, 1, 2, draw(st.integers(2, 6)))[0], rng))
    weights = st.lists(numbers, min_size=tree.edges, max_size=tree.edges).map(tuple)
    return Formula(tree, draw(st.none() | weights))


genomes = st.one_of(
    formulas(),
    st.lists(numbers, min_size=8, max_size=8).map(tuple).map(Polynomial),
    st.integers(1, 256).map(Network),
)


@st.composite
def runs(draw):
    """Settings, and what one of their searches can have found out about a candidate."""
    given = learn_settings(
        seed=draw(counts),
        rejection=draw(st.booleans()),
        fitness_lrs=draw(st.sampled_from([(1.0,), (0.5,), (0.5, 1.0, 2.0)])),
        output_activation=draw(st.sampled_from(["identity", "softplus"])),
    )
    one = Candidate(draw(counts), draw(counts), draw(genomes), draw(texts), tuple(draw(st.lists(counts, max_size=2))))
    _evaluated(draw, one, given)
    return given, one


def _evaluated(draw, one, given):
    """Fill in what an evaluation does, as far as it came."""
    untuned = st.none() | st.lists(numbers, max_size=9)
    one.weights, one.scale, one.tuned_steps = draw(untuned), draw(numbers), draw(counts)
    ends = ["tune", "judge", "rejected", "equivalent", "train", "trained", "dropped", "elite", "archived"]
    end = draw(st.sampled_from(ends))
    one.outcome, one.reason = "failed" if end in ("tune", "judge", "train") else end, draw(st.none() | texts)
    stages = {"tune": ["tune"], "elite": [], "archived": []}.get(end, ["tune", "filter"])
    if end in ("train", "trained"):
        stages = [*stages, "train"]
        one.fitness_lr, one.trainings = draw(st.sampled_from(given.fitness_lrs)), draw(counts)
    if end == "dropped" or (draw(st.booleans()) and end in ("tune", "judge", "train", "trained")):
        one.heat, one.trainings = draw(numbers), draw(st.integers(1, 3))
        stages = ["heat"] if end == "dropped" else ["heat", *stages]
        if end in ("tune", "dropped") and given.filters.rejection:
            one.score = draw(numbers | st.just(math.inf))
    one.seconds = {stage: round(draw(st.floats(0, 1e6)), 4) for stage in stages}
    if end in ("trained", "equivalent", "elite", "archived"):
        one.fitness = draw(numbers | st.just(math.inf) if end != "trained" else numbers)
        one.same_as = None if end == "trained" else draw(places)
    if "filter" in stages and end != "judge" and given.filters.rejection:
        one.score = draw(numbers | st.just(math.nan if end == "rejected" else math.inf))
    if end in ("elite", "archived"):
        one.score = draw(st.none() | numbers)
    if "filter" in stages:
        one.signature = draw(st.none() | st.text("0123456789abcdef", min_size=16, max_size=16))


def _there_and_back(one, given):
    record = json.loads(json.dumps(CandidateRow.of(one, "classification", given).record(), allow_nan=False))
    return record, CandidateRow.read(record).candidate(given)


@quiet
@given(runs())
def test_whatever_a_candidate_is_its_line_says_it(run):
    given, one = run
    one.formula = ""  # the one thing that no line says
    record, again = _there_and_back(one, given)
    assert CandidateRow.of(again, "classification", given).record() == record
    # NaN equals itself only where it is the same object: so it is looked at apart.
    if one.score is not None and math.isnan(one.score):
        assert math.isnan(again.score)
        one.score = again.score = None
    assert again == one
    assert (again.key, again.rank, again.own) == (one.key, one.rank, one.own)


@pytest.mark.parametrize("rejection", [True, False])
@pytest.mark.parametrize(
    ("outcome", "stages", "score"),
    [
        ("trained", ("tune", "filter", "train"), math.inf),
        ("equivalent", ("tune", "filter"), math.inf),
        ("failed", ("tune", "filter", "train"), math.inf),
        ("rejected", ("tune", "filter"), math.nan),
        ("failed", ("tune", "filter"), None),
        ("failed", ("tune",), None),
        ("elite", (), None),
    ],
)
def test_a_score_that_json_cannot_hold_follows_from_the_rest(outcome, stages, score, rejection):
    given = learn_settings(rejection=rejection)
    one = Candidate(1, 2, Network(3), "initial", outcome=outcome, seconds=dict.fromkeys(stages, 0.5))
    one.score = score if rejection else None
    record, again = _there_and_back(one, given)
    assert record["score"] is None
    assert repr(again.score) == repr(one.score)


def test_what_can_never_pass_is_one_kind_of_worst():
    """A metric that became infinite gives a score of -inf; it comes back as NaN, which ranks the same."""
    given = learn_settings()
    members = [
        Candidate(0, index, Network(9 - index), "initial", outcome="rejected", score=score, seconds={"filter": 0.1})
        for index, score in enumerate((-math.inf, math.nan, -1e300, None))
    ]
    again = [_there_and_back(member, given)[1] for member in members]
    for some in ([0, 1], [1, 0], [0, 1, 3], [0, 1, 2, 3]):
        assert best_of([again[i] for i in some]).place == best_of([members[i] for i in some]).place
    assert best_of(again).place == (0, 2)


LINES = [
    Candidate(0, 3, genome, "initial", (), weights=[0.5, 2.0], outcome="trained", fitness=0.25, seconds={"tune": 0.5})
    for genome in (Network(5), Polynomial((0.5,) * 8))
]


def _symbolic():
    from evomal.expressions import parse

    return Candidate(
        2, 1, Formula(parse("mul(f, y)"), (1.0, 2.0)), "crossover", (0, 4), weights=[1.0, 2.0],
        outcome="equivalent", fitness=0.5, score=0.75, signature="0" * 16, same_as=(0, 3), seconds={"filter": 0.5},
    )  # fmt: skip


SETTINGS: LearnSettings = learn_settings(fitness_lrs=(0.5, 1.0))
RECORDS = [CandidateRow.of(one, "classification", SETTINGS).record() for one in (*LINES, _symbolic())]
REQUIRED = (
    "generation", "index", "family", "origin", "parents", "outcome", "fitness", "score", "signature", "same_as",
    "weights", "tuned_steps", "trainings", "reason", "seconds",
)  # fmt: skip


def _refused(record):
    with pytest.raises(ValueError) as caught:
        CandidateRow.read(record).candidate(SETTINGS)
    assert type(caught.value) is ValueError
    assert str(caught.value) == "no record of a candidate"


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record["family"])
@pytest.mark.parametrize("name", REQUIRED)
def test_a_line_that_lacks_something_is_refused(record, name):
    _refused({each: value for each, value in record.items() if each != name})


@pytest.mark.parametrize(
    "change",
    [
        {"generation": -1},
        {"index": 0.5},
        {"family": "fourier"},
        {"outcome": "lucky"},
        {"outcome": None},
        {"origin": None},
        {"expression": ""},
        {"expression": "mul(y"},
        {"expression": "__import__('os').system('touch ran')"},
        {"expression": "sin(y)"},
        {"expression": "square(" * 5_000 + "y" + ")" * 5_000},
        {"expression": 3},
        {"start": [1.0, "x"]},
        {"start": 3},
        {"parents": [-1]},
        {"parents": None},
        {"fitness": "NaN"},
        {"fitness": math.inf},
        {"fitness": math.nan},
        {"fitness": 10**400},
        {"fitness": [0.5]},
        {"score": math.nan},
        {"signature": 16},
        {"same_as": [0]},
        {"same_as": [0, 1, 2]},
        {"weights": [None]},
        {"weights": [math.inf]},
        {"weights": "1.0"},
        {"scale": None},
        {"tuned_steps": -1},
        {"trainings": None},
        {"reason": 3},
        {"seconds": {"tune": -0.5}},
        {"seconds": [0.5]},
        {"seconds": None},
    ],
    ids=lambda change: repr(change)[:40],
)
def test_a_line_that_says_something_odd_is_refused(change):
    _refused(CandidateRow.of(_symbolic(), "classification", SETTINGS).record() | change)


@pytest.mark.parametrize("hidden", [0, 257, -1, None, "wide", 0.5])
def test_a_width_that_no_network_has_is_refused(hidden):
    _refused(RECORDS[0] | {"hidden": hidden})


odd = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(exclude_categories=()))
    | st.just(10**400),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)


@quiet
@given(
    st.sampled_from(RECORDS),
    st.dictionaries(st.sampled_from([*REQUIRED, "expression", "start", "scale", "hidden"]), odd),
)
def test_whatever_a_line_says_it_is_a_candidate_or_a_value_error(record, changes):
    changed = copy.deepcopy(record) | changes
    one = refusal = None
    try:
        one = CandidateRow.read(changed).candidate(SETTINGS)
    except ValueError as error:
        refusal = error
    if one is None:
        assert (type(refusal), str(refusal)) == (ValueError, "no record of a candidate")
        return
    assert one.generation >= 0
    assert one.index >= 0
    assert not math.isnan(one.fitness)
    json.dumps(CandidateRow.of(one, "classification", SETTINGS).record(), allow_nan=False)
