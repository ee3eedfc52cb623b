import math

import evomal
from evomal.engines.genome import Formula
from evomal.evaluation.candidate import Candidate
from evomal.evaluation.evaluator import Evaluator
from evomal.evaluation.filters import make_probe
from evomal.evaluation.watching import Watcher
from evomal.executors import InProcess
from evomal.expressions import canonical, parse
from evomal.tasks import TaskSet
from helpers import tasks

TOWER = "add(mul(y, f), " + "square(" * 12 + "add(1, add(1, f))" + ")" * 13


def _evaluator(**flat):
    task, settings = tasks.blobs(), tasks.quick(**flat)
    return Evaluator(TaskSet((task,)), settings, [make_probe(task, 100, 0)], InProcess(), Watcher())


def _generation(number, *formulas):
    return [Candidate(number, i, Formula(canonical(parse(f))), "initial") for i, f in enumerate(formulas)]


def test_every_way_that_an_evaluation_can_end():
    evaluator, order = _evaluator(meta_steps=0), []
    members = _generation(
        0,
        "square(sub(y, f))",
        "add(square(sub(y, f)), square(y))",  # the same gradient everywhere
        "mul(f, y)",  # drives predictions the wrong way
        TOWER,  # not finite
        "add(y, sign(f))",  # no gradient for any φ
        "square(sub(y, f))",  # seen in this generation
        "abs(log(mul(f, y)))",
    )
    evaluator.evaluate(members, order.append)
    outcomes = [m.outcome for m in members]
    assert outcomes == ["trained", "equivalent", "rejected", "failed", "rejected", "archived", "trained"]
    first, same, wrong, broken, flat, repeated, log = members
    assert same.fitness == first.fitness < 0.5
    assert (same.same_as, repeated.same_as) == ((0, 0), (0, 0))
    assert len(same.weights) == same.genome.expression.edges  # φ stays its own
    assert (repeated.fitness, repeated.weights) == (first.fitness, first.weights)
    assert wrong.fitness == broken.fitness == flat.fitness == math.inf
    assert broken.reason == "the loss or its gradient is not finite"
    assert flat.reason == "improves predictions by 0.00 of what is possible"
    assert log.fitness != first.fitness or log.weights != first.weights
    assert sorted(m.index for m in order) == list(range(7))  # each is told once


def test_the_archive_holds_rejected_formulas_too_and_knows_canonical_forms():
    evaluator = _evaluator(meta_steps=0)
    evaluator.evaluate(_generation(0, "mul(y, f)", "square(sub(y, f))"), lambda _: None)
    later = _generation(1, "mul(f, y)", "square(sub(y, f))")
    evaluator.evaluate(later, lambda _: None)
    assert [m.outcome for m in later] == ["archived", "archived"]
    assert [m.same_as for m in later] == [(0, 0), (0, 1)]
    assert later[0].fitness == math.inf


def test_an_equivalent_of_an_earlier_generation_is_found_in_the_dictionary():
    evaluator = _evaluator(meta_steps=0)
    evaluator.evaluate(_generation(0, "square(sub(y, f))"), lambda _: None)
    (later,) = _generation(1, "add(1, square(sub(y, f)))")
    evaluator.evaluate([later], lambda _: None)
    assert (later.outcome, later.same_as) == ("equivalent", (0, 0))


def test_filters_can_be_switched_off():
    evaluator = _evaluator(meta_steps=0, rejection=False, gradient_equivalence=False)
    members = _generation(0, "square(sub(y, f))", "add(1, square(sub(y, f)))", "mul(y, f)")
    evaluator.evaluate(members, lambda _: None)
    assert [m.outcome for m in members] == ["trained"] * 3
    assert [m.score for m in members] == [None] * 3
    assert members[0].fitness == members[1].fitness < members[2].fitness


def test_fitness_is_the_error_of_a_plain_training_with_the_same_batches():
    import torch

    from evomal.foundation.seeds import derive
    from evomal.tasks import Batches

    evaluator = _evaluator(meta_steps=0, seed=7, momentum=0.5)
    (member,) = _generation(0, "square(sub(y, f))")
    evaluator.evaluate([member], lambda _: None)
    task, criterion = evaluator.tasks[0], evomal.SymbolicLoss("square(sub(y, f))", task_type="classification")
    model = task.make_model(derive(7, task.key, "partial", "init"))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.5)
    batches = Batches(len(task.train), 32, 7, task.key, "partial", "batches")
    for step in range(30):
        x, y = task.train.take(batches.index(step))
        optimizer.zero_grad()
        criterion(model(x), y).backward()
        optimizer.step()
    wrong = (model(task.valid.x).argmax(1) != task.valid.y).float().mean()
    assert member.fitness == float(wrong)
