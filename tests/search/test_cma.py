import math
import random
import warnings
from functools import partial

import numpy as np
import pytest
import torch

from evomal.config import GeneticSettings, learn_settings
from evomal.engines.cma import CmaEngine
from evomal.engines.genetic import GeneticEngine
from evomal.engines.genome import Formula, Polynomial
from evomal.engines.two_phase import TwoPhaseEngine
from evomal.evaluation.probing import probed
from evomal.expressions import parse
from evomal.foundation.errors import EvomalError, SettingError
from evomal.foundation.seeds import derive
from evomal.losses import TaylorLoss
from evomal.search.methods import GLO, TaylorGLO
from evomal.tasks import TaskSet
from helpers import tasks


def _engine(size=5, population=10, sigma=1.2, seed=0, **options):
    return CmaEngine([0.0] * size, sigma, population, (seed, "test"), tuple, **options)


def _asked(engine):
    return [sample.genome for sample in engine.ask()]


def _sphere(x):
    return sum((value - 1) ** 2 for value in x)


def _ill_conditioned(x):
    return sum(1e6 ** (i / (len(x) - 1)) * (value + 2) ** 2 for i, value in enumerate(x))


@pytest.mark.parametrize(("function", "generations", "optimum"), [(_sphere, 120, 1), (_ill_conditioned, 260, -2)])
@pytest.mark.parametrize("population", [4, 10])
def test_finds_the_minimum(function, generations, optimum, population):
    engine = _engine(population=population)
    for _ in range(generations * 10 // population):
        engine.tell([function(x) for x in _asked(engine)])
    assert all(value == pytest.approx(optimum, abs=1e-3) for x in _asked(engine) for value in x)


@pytest.mark.parametrize("population", [3, 5, 6, 13])
def test_walks_as_pycma_does_with_the_same_random_numbers(population):
    from cma import CMAEvolutionStrategy

    draws = np.random.default_rng(derive(4, "test", "cma"))
    options = {"popsize": population, "CMA_mirrors": 0, "verbose": -9, "seed": math.nan}
    reference = CMAEvolutionStrategy([0.0] * 5, 1.2, options | {"randn": lambda *shape: draws.standard_normal(shape)})
    engine = _engine(population=population, seed=4)
    for _ in range(25):
        asked, expected = _asked(engine), reference.ask()
        np.testing.assert_allclose(asked, expected, rtol=1e-8, atol=1e-10)
        engine.tell([_ill_conditioned(x) for x in asked])
        reference.tell(expected, [_ill_conditioned(x) for x in expected])


def test_a_run_is_a_function_of_what_its_seed_is_for():
    def walk(engine):
        seen = []
        for _ in range(5):
            seen.append(_asked(engine))
            engine.tell([_sphere(x) for x in seen[-1]])
        return seen

    np.random.seed(3)
    first = walk(_engine(seed=1))
    np.random.seed(4)
    assert walk(_engine(seed=1)) == first
    assert walk(_engine(seed=2)) != first


def test_global_generators_and_warnings_are_left_alone():
    np.random.seed(5), np.random.random()
    before, torchs, python = np.random.get_state(), torch.get_rng_state(), random.getstate()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        engine = _engine()
        for _ in range(30):
            engine.tell([_sphere(x) for x in _asked(engine)])
    after = np.random.get_state()
    assert np.array_equal(before[1], after[1])
    assert before[2:] == after[2:]
    assert torch.equal(torch.get_rng_state(), torchs)
    assert random.getstate() == python


def test_asking_again_gives_the_same_generation_until_it_is_told():
    engine = _engine()
    first = engine.ask()
    assert engine.ask() == first
    assert {(sample.origin, sample.parents) for sample in first} == {("cma", ())}
    engine.tell([_sphere(sample.genome) for sample in first])
    assert engine.ask() != first
    assert engine.ask() == engine.ask()


@pytest.mark.parametrize("worst", [math.inf, math.nan, -math.inf])
@pytest.mark.parametrize("greatest", [4.0, 1e17])
def test_a_fitness_that_is_not_finite_ranks_last(worst, greatest):
    """As if each had been told a number above all others."""
    ours, reference = _engine(), _engine()
    for step in range(6):
        values = [greatest * (i + 1) / 10 for i in range(10)]
        ours.ask(), reference.ask()
        ours.tell([worst if i == step else value for i, value in enumerate(values)])
        reference.tell([2 * greatest if i == step else value for i, value in enumerate(values)])
    np.testing.assert_array_equal(_asked(ours), _asked(reference))


def test_generations_without_any_fitness_are_lived_through():
    engine = _engine()
    for _ in range(30):
        engine.ask()
        engine.tell([math.inf] * 10)
    assert np.isfinite(_asked(engine)).all()


def test_every_member_asked_is_acceptable():
    refused = []

    def accept(x):
        if x[0] + x[1] > 0.5:
            return True
        refused.append(x)
        return False

    engine = _engine(accept=accept)
    for _ in range(20):
        asked = _asked(engine)
        assert len(asked) == 10
        assert all(x[0] + x[1] > 0.5 for x in asked)
        engine.tell([_sphere(x) for x in asked])
    assert len(refused) > 10


def test_what_is_never_acceptable_ends_as_well():
    assert len(_asked(_engine(population=3, accept=lambda x: False))) == 3


def test_telling_what_was_not_asked():
    engine = _engine(population=4)
    with pytest.raises(EvomalError) as caught:
        engine.tell([1.0] * 4)
    assert str(caught.value) == "tell() got 4 fitnesses while 0 members wait; give one for each"
    asked = engine.ask()
    with pytest.raises(EvomalError) as caught:
        engine.tell([1.0] * 3)
    assert str(caught.value) == "tell() got 3 fitnesses while 4 members wait; give one for each"
    assert engine.ask() == asked


def test_populations_that_cma_es_cannot_learn_from():
    settings = {"population_size": 2, "generations": 1}
    makers = {f"method {name}": partial(learn_settings, method=name, **settings) for name in ("glo", "taylorglo")}
    for who, make in {"CMA-ES": partial(_engine, population=2), **makers}.items():
        with pytest.raises(SettingError) as caught:
            make()
        assert str(caught.value) == f"setting 'population_size': {who} needs 3 members or more, not 2; give more"


def _genetic(population=6):
    return GeneticEngine(GeneticSettings(population_size=population), random.Random(3))


def _fitness(formula):
    """Anything that depends on the formula alone."""
    return derive(str(formula)) % 1000 / 1000


def _first_phase(generations=3):
    engine, seen = TwoPhaseEngine(_genetic(), generations, 0.3, (0, "two")), []
    for _ in range(generations):
        proposals = engine.ask()
        seen.append(proposals)
        engine.tell([_fitness(p.expression) for p in proposals])
    return engine, seen


def test_the_first_phase_is_the_genetic_engine_alone():
    _, seen = _first_phase()
    bare = _genetic()
    for proposals in seen:
        assert proposals == bare.ask()
        bare.tell([_fitness(p.expression) for p in proposals])


def test_the_second_phase_has_the_best_formula_and_starts_around_one():
    engine, seen = _first_phase()
    best = min((p.expression for proposals in seen for p in proposals), key=lambda e: (_fitness(e), e.size))
    samples = engine.ask()
    assert engine.ask() == samples
    assert {str(sample.genome.expression) for sample in samples} == {str(best)}
    assert {(sample.origin, sample.parents) for sample in samples} == {("cma", ())}
    assert len({sample.genome.key for sample in samples}) == 6
    weights = np.array([sample.genome.weights for sample in samples])
    assert weights.shape == (6, best.edges)
    assert abs(weights - 1).max() < 5 * 0.3
    assert 0.1 < abs(weights - 1).mean() < 0.4  # 0.24 on average
    settings = tasks.quick(method="glo")
    loss = samples[0].genome.loss(TaskSet((tasks.blobs(),)), settings)
    assert loss.weights.tolist() == pytest.approx(weights[0])


def test_the_second_phase_starts_from_the_coefficients_that_the_best_formula_has():
    given = Formula(parse("square(sub(y, f))"), (20.0, -30.0, 40.0))
    genetic = GeneticEngine(GeneticSettings(population_size=6), random.Random(3), [given])
    engine = TwoPhaseEngine(genetic, 1, 0.3, (0, "two"))
    engine.tell([0.0, *[1.0] * 5])
    weights = np.array([sample.genome.weights for sample in engine.ask()])
    assert abs(weights - given.weights).max() < 5 * 0.3


def test_the_second_phase_finds_coefficients():
    engine, _ = _first_phase()
    for _ in range(150):
        engine.tell([_sphere([w + 2 for w in sample.genome.weights]) for sample in engine.ask()])
    assert all(w == pytest.approx(-1, abs=1e-2) for w in engine.ask()[0].genome.weights)


def test_of_formulas_that_all_failed_the_smallest_goes_on():
    engine = TwoPhaseEngine(_genetic(), 1, 0.3, (0,))
    smallest = min(p.expression.size for p in engine.ask())
    engine.tell([math.nan, *[math.inf] * 5])
    assert {sample.genome.expression.size for sample in engine.ask()} == {smallest}


def test_telling_either_phase_what_was_not_asked():
    engine = TwoPhaseEngine(_genetic(), 1, 0.3, (0,))
    first = engine.ask()
    with pytest.raises(EvomalError, match=r"^tell\(\) got 2 fitnesses for 6 proposals: give one for each$"):
        engine.tell([1.0, 2.0])
    assert engine.ask() == first
    engine.tell([1.0] * 6)
    with pytest.raises(EvomalError, match=r"^tell\(\) got 2 fitnesses while 0 members wait; give one for each$"):
        engine.tell([1.0, 2.0])


def test_the_budget_of_glo_is_that_of_both_phases():
    settings = tasks.quick(method="glo", generations=2, cma_generations=3, population_size=4, meta_steps=0)
    result = GLO(settings).learn(tasks.blobs())
    assert len(result.members) == settings.evaluations == 20
    assert [m.origin == "cma" for m in result.members] == [False] * 8 + [True] * 12
    first = [m for m in result.members[:8] if m.outcome != "rejected"]
    best = min(first, key=lambda m: (m.fitness, m.genome.size, *m.place)).genome.expression
    assert {m.genome.expression for m in result.members[8:]} == {best}
    assert all(set(m.weights) == {1.0} for m in result.members[:8])


@pytest.mark.parametrize(("classes", "outputs"), [(3, 3), (2, 2), (2, 1), (7, 7)])
def test_taylorglo_proposes_what_raises_the_true_class_at_uniform(classes, outputs):
    task = tasks.blobs(classes=classes, outputs=outputs, seed=5, count=280)
    settings = tasks.quick(method="taylorglo", population_size=12, rejection=False)
    together = TaskSet((task,))
    engine = TaylorGLO(settings).engine(together, probed(together, settings))
    for _ in range(5):
        samples = engine.ask()
        for sample in samples:
            loss = TaylorLoss(sample.genome.parameters, task_type="classification")
            logits = torch.zeros(classes, outputs, requires_grad=True)
            loss(logits, torch.arange(classes)).backward()
            step = -logits.grad
            if outputs == 1:
                assert step[1] > 0 > step[0]
            else:
                assert (step.diagonal() > 0).all()
        engine.tell([_sphere(sample.genome.parameters) for sample in samples])


def test_taylorglo_takes_any_polynomial_for_regression():
    together, settings = TaskSet((tasks.line(),)), tasks.quick(method="taylorglo", population_size=40)
    samples = TaylorGLO(settings).engine(together, probed(together, settings)).ask()
    assert {sample.genome.parameters[5] > 0 for sample in samples} == {True, False}
    assert all(isinstance(sample.genome, Polynomial) for sample in samples)


def test_a_search_that_runs_away_stays_within_float32():
    engine = _engine(size=8, population=6, sigma=1e6)
    for _ in range(400):
        engine.tell([-sum(parameters) for parameters in _asked(engine)])
    assert max(abs(p) for parameters in _asked(engine) for p in parameters) == 1e30
    losses = [TaylorLoss(parameters, task_type="regression") for parameters in _asked(engine)]
    assert all(math.isfinite(number) for loss in losses for number in loss.coefficients)
