import json
from statistics import fmean, stdev

import pytest
import torch
from torch import nn

import evomal
from evomal.comparison.tables import as_csv, as_markdown
from evomal.config import learn_settings
from evomal.executors import Processes
from evomal.foundation.errors import SettingError
from evomal.losses import TaylorLoss, get_handcrafted, load_loss
from evomal.search import ML3, TaylorGLO
from evomal.tasks import named_task
from evomal.training import meta_testing

NAMES = ("cross_entropy", "ml3", "taylorglo")
RATES, SEEDS = (0.1, 0.5), (0, 1)
BASE = {"batch_size": 32, "lr": 0.1}
CLASSES = {"task_type": "classification"}


def _loss(finished, name, seed):
    if name == "cross_entropy":
        return nn.functional.cross_entropy
    return load_loss(finished.folder / f"searches/{name}-seed{seed}")


def test_every_number_can_be_computed_again_from_the_folder(iris, finished):
    document = finished.comparison.as_dict()
    assert [contender["name"] for contender in document["contenders"]] == list(NAMES)
    for contender in document["contenders"]:
        again = {
            (lr, seed): evomal.training.meta_test(
                iris, _loss(finished, contender["name"], seed), steps=15, seeds=(seed,), lrs=(lr,), **BASE
            ).runs[0]
            for lr in RATES
            for seed in SEEDS
        }
        told = {(run["lr"], run["seed"]): (run["valid"], run["test"]) for run in contender["runs"]}
        assert told == {key: (run.valid, run.test) for key, run in again.items()}
        best = min(RATES, key=lambda lr: fmean(again[lr, seed].valid for seed in SEEDS))
        for cell, lr in (("fixed", 0.1), ("best", best)):
            tests = [again[lr, seed].test for seed in SEEDS]
            assert contender[cell]["lr"] == lr
            assert contender[cell]["mean"] == pytest.approx(fmean(tests))
            assert contender[cell]["sd"] == pytest.approx(stdev(tests))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("method", [ML3, TaylorGLO])
def test_a_search_is_what_learn_would_have_done_with_that_seed(iris, finished, plan_of, method, seed):
    settings = next(contender for contender in plan_of().contenders if contender.name == method.name).seeded(seed)
    result = method(settings).learn(iris)
    (contender,) = (each for each in finished.comparison.contenders if each.name == method.name)
    summary = contender.searches[seed]
    assert (summary.seed, summary.fitness, summary.evaluations) == (seed, result.fitness, result.trainings)
    assert summary.loss_file == f"searches/{method.name}-seed{seed}/loss.json"
    assert load_loss(finished.folder / summary.loss_file).coefficients == result.loss.coefficients


def test_all_contenders_meet_the_same_networks_and_batches(compare, monkeypatch):
    met, true_fit = [], meta_testing.fit

    def fit(model, criterion, split, batches, *rest):
        weights = torch.cat([p.detach().flatten() for p in model.parameters()])
        met.append((weights.clone(), torch.stack([batches.index(step) for step in range(3)]), rest[2]))
        return true_fit(model, criterion, split, batches, *rest)

    monkeypatch.setattr(meta_testing, "fit", fit)
    _, watcher, _ = compare(methods=("taylorglo", "focal"), generations=1)
    trained = [what for what in watcher.told if len(what) == 3]
    assert len(trained) == len(met) == 12
    first = {}
    for (_, _, seed), (weights, batches, noise) in zip(trained, met, strict=True):
        known = first.setdefault(seed, (weights, batches, noise))
        assert torch.equal(known[0], weights)
        assert torch.equal(known[1], batches)
        assert known[2] == noise
    assert not torch.equal(first[0][0], first[1][0])


def test_results_do_not_depend_on_the_workers(compare, finished):
    executor = Processes(2)
    try:
        spread = compare(executor=executor)
    finally:
        executor.close()
    assert spread.timeless == finished.timeless
    searches = len(spread.watcher.told) - 12
    assert spread.watcher.told[:searches] == finished.watcher.told[:searches]
    assert sorted(spread.watcher.told[searches:]) == sorted(finished.watcher.told[searches:])  # as they finish
    assert {search.workers for each in spread.comparison.contenders for search in each.searches} == {2}
    assert {search.workers for each in finished.comparison.contenders for search in each.searches} == {1}
    assert [note for note in spread.comparison.notes() if note not in finished.comparison.notes()] == [
        "search times of ml3, taylorglo are wall times with up to 2 searches on the machine at a time; alone, a search "
        "may take less"
    ]


def test_workers_that_started_elsewhere_write_into_the_right_folder(compare, tmp_path, monkeypatch):
    executor = Processes(2)
    try:
        for name in ("one", "other"):
            (tmp_path / name).mkdir()
            monkeypatch.chdir(tmp_path / name)
            compare("c", executor=executor, methods=("ml3",), lrs=())
            assert len(list((tmp_path / name / "c/searches").iterdir())) == 2
    finally:
        executor.close()


def test_losses_that_need_class_counts_get_those_of_the_task(compare, plan_of):
    rare = named_task("iris", "linear", imbalance=5)
    done = compare(task=rare, methods=("class_weighted_cross_entropy", "logit_adjusted_cross_entropy"))
    counts = torch.bincount(rare.train.y)
    assert counts.max() > 2 * counts.min()
    for contender in done.comparison.contenders[1:]:
        loss = get_handcrafted(contender.name, class_counts=counts)
        test = evomal.training.meta_test(rare, loss, steps=15, seeds=SEEDS, lrs=RATES, **BASE)
        assert [run.test for run in test.runs] == [run.test for run in contender.runs]


def test_files_and_folders_are_contenders(iris, compare, finished, tmp_path):
    steep = TaylorLoss([0, 0, 0, 0, 0, 2.0, 0, 0], **CLASSES)
    steep.save(tmp_path / "steep.json")
    names = str(tmp_path / "steep.json"), str(finished.folder / "searches/taylorglo-seed1")
    contenders = compare(methods=names).comparison.contenders[1:]
    assert [(each.name, each.kind, each.searches) for each in contenders] == [(name, "file", ()) for name in names]
    for contender, loss in zip(contenders, (steep, _loss(finished, "taylorglo", 1)), strict=True):
        test = evomal.training.meta_test(iris, loss, steps=15, seeds=SEEDS, lrs=RATES, **BASE)
        assert [run.test for run in test.runs] == [run.test for run in contender.runs]


def test_another_baseline(compare):
    comparison = compare(methods=("focal", "cross_entropy"), baseline="focal").comparison
    focal, plain = comparison.rows()
    assert focal.fixed.test is None
    gains = [a - b for a, b in zip(focal.fixed.values, plain.fixed.values, strict=True)]
    assert plain.fixed.test.gain == pytest.approx(fmean(gains))


def test_settings_of_a_search_are_in_its_folder(finished, plan_of):
    import yaml

    known = yaml.safe_load((finished.folder / "searches/ml3-seed1/config.yaml").read_text())
    flat = {"neural_steps": 3, "partial_steps": 8, "batch_size": 32, "lr": 0.1, "finals": False}
    assert known["settings"] == learn_settings(method="ml3", seed=1, **flat).model_dump(mode="json")


def test_losses_tuned_for_another_rate_are_known(compare, finished, tmp_path):
    steep = TaylorLoss([0, 0, 0, 0, 0, 2.0, 0, 0], **CLASSES)
    steep.info["tuned_for"] = {"lr": 0.3}
    steep.save(tmp_path / "steep.json")
    odd = TaylorLoss([0, 0, 0, 0, 0, 1.0, 0, 0], **CLASSES)
    odd.info["tuned_for"] = {"lr": "quick"}
    odd.save(tmp_path / "odd.json")
    names = str(tmp_path / "steep.json"), str(tmp_path / "odd.json")
    comparison = compare(methods=names).comparison
    assert [each.tuned_lrs for each in comparison.contenders] == [(None, None), (0.3, 0.3), (None, None)]
    note = f"the loss of {names[0]} was tuned or chosen for lr 0.3, not for the fixed lr 0.1"
    assert [text for text in comparison.notes() if "was tuned" in text] == [note]
    assert [each.tuned_lrs for each in finished.comparison.contenders[1:]] == [(0.1, 0.1)] * 2


def test_handcrafted_losses_that_finals_chose_are_known_too(iris, compare, tmp_path):
    focal = get_handcrafted("focal")
    focal.info = {"tuned_for": {"optimizer": "adam", "lr": 0.3}}
    focal.save(tmp_path / "chosen.json")
    name = str(tmp_path / "chosen.json")
    comparison = compare(methods=(name, load_loss(name), "focal")).comparison  # as a file, as an object, by name
    assert [each.tuned_lrs for each in comparison.contenders] == [(None,) * 2, (0.3,) * 2, (0.3,) * 2, (None,) * 2]
    for told in (name, "focal-2"):
        past = f"the loss of {told} was tuned or chosen for"
        assert f"{past} lr 0.3, not for the fixed lr 0.1" in comparison.notes()
        assert f"{past} optimizer adam, and is used here with sgd" in comparison.notes()
    assert len(comparison.remarks) == 2
    assert evomal.comparison.read_comparison(tmp_path / "c") == comparison


def test_compare_leaves_the_table_in_its_folder(iris, tmp_path):
    comparison = evomal.compare(iris, ["focal"], SEEDS, out=tmp_path / "c", preset="quick", steps=5)
    assert json.loads((tmp_path / "c/table.json").read_text()) == comparison.as_dict()
    assert evomal.comparison.read_comparison(tmp_path / "c") == comparison
    assert (tmp_path / "c/table.md").read_text() == as_markdown(comparison)
    assert (tmp_path / "c/table.csv").read_text() == as_csv(comparison)


@pytest.mark.parametrize("flat", [{"lrs": (0.1, 0.2)}, {"seed": 5}, {"method": "glo"}])
def test_settings_that_compare_has_other_arguments_for(iris, tmp_path, flat):
    with pytest.raises(SettingError, match=f"^setting '{next(iter(flat))}': a comparison takes "):
        evomal.compare(iris, ["focal"], SEEDS, out=tmp_path / "c", **flat)
    assert list(tmp_path.iterdir()) == []


def test_a_population_too_small_for_cma_es_is_refused_before_any_work(iris, tmp_path):
    with pytest.raises(SettingError, match=r"^setting 'population_size': method glo needs 3 members or more, not 2; "):
        evomal.compare(iris, ["evomal", "glo"], SEEDS, out=tmp_path / "c", population_size=2)
    assert list(tmp_path.iterdir()) == []
