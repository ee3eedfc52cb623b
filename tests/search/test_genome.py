import importlib.util
import pickle
from pathlib import Path

import pytest
import torch

from evomal.expressions import canonical, parse
from evomal.losses.loading import loss_from_entries
from evomal.search.genome import Formula, Network, Polynomial
from evomal.tasks import TaskSet

_spec = importlib.util.spec_from_file_location("genome_tasks", Path(__file__).with_name("tasks.py"))
tasks = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(tasks)

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
    settings = tasks.quick(output_activation="softplus") if "formula" in name else tasks.quick()
    loss = GENOMES[name].loss(together, settings)
    entries = GENOMES[name].entries(settings) | {"weights": loss.coefficients, "task_type": "classification"}
    assert {name: loss.all_entries()[name] for name in entries} == entries
    assert loss_from_entries(entries).all_entries() == loss.all_entries()
