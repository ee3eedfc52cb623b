"""The presets of the paper: every pair, every source, and the page of the manual."""

from pathlib import Path

import pytest

from evomal.config import PAIRS, PRESETS, learn_settings, paper_preset, preset_manual, settings_manual, train_settings
from evomal.config.building import preset_values
from evomal.config.presets import CODE, IN_FULL, OURS, PAPER, SOURCES
from evomal.foundation.errors import SettingError
from evomal.tasks import AUGMENTATIONS, DATASETS, MODELS
from evomal.tasks.models import ModelFactory, make_factory

PAGE = Path(__file__).parents[1] / "docs" / "presets.md"
COLOURED = ["paper-cifar10", "paper-cifar100", "paper-svhn"]


@pytest.mark.parametrize(("name", "manual"), [("presets", preset_manual), ("settings", settings_manual)])
def test_the_pages_of_the_manual_are_current(name, manual):
    assert PAGE.with_name(f"{name}.md").read_text(encoding="utf-8") == manual() + "\n"


def test_every_pair_of_both_tables_is_there():
    """Eleven rows of Table 2, seven of Table 3, as the paper prints them; WideResNet on CIFAR-100 is in both."""
    rows = {table: [(p.dataset, p.model) for p in PAIRS if table in p.tables] for table in (2, 3)}
    assert [len(rows[2]), len(rows[3]), len(PAIRS)] == [11, 7, 17]
    assert {dataset for dataset, _ in rows[3]} == {"cifar100"}
    assert {model for _, model in rows[3]} == {model for dataset, model in rows[2] if dataset == "cifar10"}
    assert len(set(PAIRS)) == len({(p.dataset, p.model) for p in PAIRS}) == 17


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: f"{pair.dataset}-{pair.model}")
def test_every_pair_can_be_had_by_name(pair):
    assert pair.model in MODELS
    assert paper_preset(pair.dataset, pair.model) == pair.preset
    assert pair.preset in PRESETS
    shape = (1, 28, 28) if pair.dataset == "mnist" else (3, 32, 32)
    make_factory(pair.model, ModelFactory("", shape, DATASETS[pair.dataset].classes))


def test_no_setting_of_a_preset_is_without_a_source():
    presets = [name for name in PRESETS if name.startswith("paper-")]
    assert presets == ["paper-mnist", *COLOURED]
    for preset in presets:
        assert set(PRESETS[preset]) | set(IN_FULL.get(preset, {})) <= set(SOURCES)
        values = preset_values(preset)
        assert {name: values[name] for name in PRESETS[preset] if name != "finals"} == {
            name: value for name, value in PRESETS[preset].items() if name != "finals"
        }
    assert {source.kind for source in SOURCES.values()} == {PAPER, CODE, OURS}
    assert all(source.where for source in SOURCES.values())


@pytest.mark.parametrize("preset", COLOURED)
def test_full_trainings_drop_the_rate_twice_and_partial_ones_do_not(preset):
    full, learning = train_settings(preset), learn_settings(preset)
    assert (full.base.schedule, full.base.gamma, full.lrs) == ("step", 0.1, (0.01,))
    assert [round(share * full.steps) for share in full.base.milestones] == [100_000, 135_000]
    assert learning.base.is_constant
    for base in (full.base, learning.base):
        assert (base.momentum, base.nesterov, base.weight_decay, base.batch_size) == (0.9, True, 5e-4, 128)
    assert train_settings(preset, schedule="constant").base.is_constant  # what is given wins


def test_mnist_is_as_it_was():
    learning, full = learn_settings("paper-mnist"), train_settings("paper-mnist")
    assert (learning.base.lr, learning.base.momentum, learning.local_search.meta_steps) == (0.01, 0.0, 250)
    assert (learning.genetic.population_size, learning.genetic.generations, learning.partial_steps) == (25, 50, 500)
    assert (full.steps, full.base.is_constant) == (10_000, True)


def test_a_pair_that_the_paper_does_not_have():
    with pytest.raises(
        SettingError, match=r"^the paper has no results of svhn/lenet5; its pairs are mnist/lenet5, cif"
    ):
        paper_preset("svhn", "lenet5")


def test_what_the_page_says_of_augmentation_is_what_is_done():
    from evomal.tasks.datasets import coloured

    page = preset_manual()
    assert "| augmentation, CIFAR | crops of images padded by 4, flips |" in page
    assert "| augmentation, SVHN | crops |" in page
    assert (AUGMENTATIONS["crop-flip"].pad, AUGMENTATIONS["crop"].flip) == (4, False)
    assert coloured.CIFAR10.name in page
    assert coloured.SVHN.name in page
