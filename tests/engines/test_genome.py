import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from evomal.engines.genome import Formula, Network, Polynomial
from evomal.evaluation.stages import tune_stage
from evomal.expressions import Expression, canonical, evaluate, parse, to_sympy
from evomal.losses.loading import loss_from_entries
from evomal.tasks import TaskSet
from helpers import tasks

SQUARES = canonical(parse("square(sub(y, f))"))
GENOMES = {
    "formula": Formula(SQUARES),
    "formula with coefficients": Formula(SQUARES, (1.5, 0.5, -2.0)),
    "polynomial": Polynomial((0.0, 0.5, 0.0, -1.0, 0.0, 2.0, 0.0, 0.25)),
    "network": Network(6),
}
DRAWN = ("formula", "network")  # the others bring their coefficients along


@pytest.fixture(scope="module")
def together():
    return TaskSet((tasks.blobs(),))


@pytest.mark.parametrize("name", GENOMES)
def test_a_loss_before_tuning_depends_on_seed_and_genome_alone(name, together):
    genome = GENOMES[name]

    def start(genome=genome, **flat):
        return genome.loss(together, tasks.quick(**flat)).coefficients

    torch.manual_seed(3)
    first = start()
    torch.manual_seed(4)
    assert start() == start(genome=pickle.loads(pickle.dumps(genome))) == start(lr=0.7, workers=2) == first
    assert (start(seed=1) != first) == (name in DRAWN)
    other = TaskSet((tasks.blobs(name="other"),))
    assert (genome.loss(other, tasks.quick()).coefficients != first) == (name in DRAWN)


def test_coefficients_come_from_the_formula_if_it_has_them(together):
    plain, given = (GENOMES[name].loss(together, tasks.quick()).coefficients for name in list(GENOMES)[:2])
    assert plain == pytest.approx([1, 1, 1], abs=0.01)
    assert len({*plain, 1.0}) == 4
    assert given == [1.5, 0.5, -2.0]
    assert GENOMES["formula"].loss(together, tasks.quick(meta_steps=0)).coefficients == [1, 1, 1]


@pytest.mark.parametrize("meta_steps", [0, 3])
def test_given_coefficients_are_where_tuning_begins(meta_steps, together):
    chosen = tasks.quick(meta_steps=meta_steps)
    (loss, outcome) = tune_stage(together, chosen, [GENOMES["formula with coefficients"]])[0]
    assert outcome.steps == meta_steps
    moved = [abs(now - before) for now, before in zip(loss.coefficients, (1.5, 0.5, -2.0), strict=True)]
    # Adam moves each by at most its rate in a step, give or take its correction of the first ones.
    assert max(moved) == 0 if meta_steps == 0 else 0 < max(moved) < 1.5 * meta_steps * chosen.tuning.meta_lr


@pytest.mark.parametrize(
    "text", ["add(mul(f, 1), min(f, y))", "max(mul(f, y), mul(f, y))", "div(add(f, y), mul(y, f))"]
)
def test_in_canonical_form_the_coefficients_stay_with_their_edges(text):
    """As the oracle reads it: SymPy's formula, with a number on every edge, is the same."""
    tree = parse(text)
    formula = Formula(tree, tuple(2.0 + number for number in range(tree.edges)))
    sorted_ = formula.canonical()
    assert sorted_.expression == canonical(tree)
    assert sorted_.weights != formula.weights
    assert sorted(sorted_.weights) == sorted(formula.weights)
    assert to_sympy(sorted_.expression, sorted_.weights) == to_sympy(tree, formula.weights)
    assert sorted_.canonical() == sorted_


TREES = st.recursive(
    st.sampled_from(["y", "f", "1", "-1"]),
    lambda inner: (
        st.tuples(st.sampled_from(["add", "mul", "min", "max", "sub", "div"]), inner, inner).map(
            lambda parts: f"{parts[0]}({parts[1]}, {parts[2]})"
        )
        | st.tuples(st.sampled_from(["square", "tanh", "log"]), inner).map(lambda parts: f"{parts[0]}({parts[1]})")
    ),
    max_leaves=12,
).map(parse)


@given(tree=TREES, seed=st.integers(0, 99), data=st.data())
@settings(max_examples=150, deadline=None, derandomize=True)
def test_canonical_form_leaves_every_value_as_it_is(tree, seed, data):
    draw = torch.Generator().manual_seed(seed)
    y, f = torch.randn(2, 20, generator=draw, dtype=torch.float64)
    weights = tuple(torch.randn(tree.edges, generator=draw).tolist())
    formula = Formula(tree, weights)
    sorted_ = formula.canonical()
    assert sorted_.expression == canonical(tree)
    before, after = evaluate(tree, y, f, weights), evaluate(sorted_.expression, y, f, sorted_.weights)
    assert torch.equal(before, after)  # a + b is b + a to the bit
    # Exchanged arguments meet again, coefficients and all.
    exchanged, others = _exchanged(tree, iter(weights), data)
    assert Formula(exchanged, others).canonical() == sorted_


def _exchanged(node, weights, data):
    """The tree with the arguments of some commutative operators exchanged, and its weights."""
    arguments = []
    for child in node.children:
        weight = next(weights)
        tree, below = _exchanged(child, weights, data)
        arguments.append((tree, (weight, *below)))
    if node.symbol in ("add", "mul", "min", "max") and data.draw(st.booleans()):
        arguments.reverse()
    return Expression(node.symbol, tuple(t for t, _ in arguments)), tuple(w for _, own in arguments for w in own)


def test_keys_tell_apart_what_is_another_loss():
    others = [
        Formula(canonical(parse("abs(sub(y, f))"))),
        Formula(SQUARES, (1.5, 0.5, -2.0000000000000004)),
        Polynomial((0.0, 0.5, 0.0, -1.0, 0.0, 2.0, 0.0, 0.25000000000000006)),
        Network(7),
    ]
    genomes = [*GENOMES.values(), *others]
    assert len({genome.key for genome in genomes}) == len(genomes)
    assert Formula(SQUARES).key == "square(sub(y, f))"
    assert [genome.size for genome in GENOMES.values()] == [4, 4, 8, 6]


@pytest.mark.parametrize("name", GENOMES)
def test_entries_stand_for_the_structure(name, together):
    chosen = tasks.quick(output_activation="softplus") if "formula" in name else tasks.quick()
    loss = GENOMES[name].loss(together, chosen)
    entries = GENOMES[name].entries(chosen) | {"weights": loss.coefficients, "task_type": "classification"}
    assert {name: loss.all_entries()[name] for name in entries} == entries
    assert loss_from_entries(entries).all_entries() == loss.all_entries()
