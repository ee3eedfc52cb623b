import json
import logging

import pytest
import torch
import yaml
from torch import nn

import evomal
from evomal.cli import main
from evomal.config import LearnSettings, changes, fitting, flat, flat_fields, given, learn_settings, meanings
from evomal.evaluation.watching import Watcher
from evomal.executors import InProcess
from evomal.foundation.errors import RunFolderError, SettingError
from evomal.search import GLO, make_method
from evomal.store import RunFolder
from evomal.store import folder as store_folder
from evomal.store.provenance import versions
from evomal.store.resuming import PreviousRun, describe, opened, require_settings, with_lanes
from evomal.store.task_identity import identity
from evomal.tasks import TaskSet
from evomal.tasks.factories import UserOptimizer
from evomal.training.optimizers import fitted_settings
from helpers import stops


def _files(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _config(folder):
    return yaml.safe_load((folder / "config.yaml").read_text())


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """A run with two generations and a half."""
    out = tmp_path_factory.mktemp("stopped") / "a"
    stops.learn(out, 15)
    return out


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    out = tmp_path_factory.mktemp("finished") / "a"
    stops.learn(out)
    return out


@pytest.fixture
def past(stopped, tmp_path):
    folder = RunFolder(stops.copied(stopped, tmp_path / "a"), resume=True)
    yield PreviousRun(folder)
    folder.discard()


def test_without_a_folder_there_is_none_and_nothing_to_go_on_with():
    assert opened(None, False, False, stops.tiny()) is None
    with pytest.raises(SettingError) as caught:
        opened(None, False, True, stops.tiny())
    assert str(caught.value) == "there is no run to go on with; give its folder as out"


def test_a_folder_that_is_open_already_is_taken_as_it_is(tmp_path):
    folder = RunFolder(tmp_path / "a")
    assert opened(folder, True, True, stops.tiny()) is folder
    assert folder.config == {}


@pytest.mark.parametrize("resume", [True, False])
def test_a_place_without_a_run_gets_a_new_one(tmp_path, resume):
    settings = stops.tiny()
    folder = opened(tmp_path / "a", False, resume, settings)
    assert not folder.resumed
    assert folder.config["settings"] == settings.model_dump(mode="json")
    folder.discard()
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_is_there_goes_on(stopped, tmp_path):
    place = stops.copied(stopped, tmp_path / "a")
    folder = opened(str(place), False, True, stops.tiny(seed=99))
    assert folder.resumed
    assert folder.config == _config(place)
    folder.discard()
    assert _files(place) == _files(stopped)


def test_a_run_that_is_there_is_refused_or_replaced_if_it_is_not_to_go_on(stopped, tmp_path):
    place = stops.copied(stopped, tmp_path / "a")
    with pytest.raises(RunFolderError) as caught:
        opened(place, False, False, stops.tiny())
    assert str(caught.value) == (
        f"'{place}' already holds a run; go on with it by `resume=True`, give another `out`, or "
        "`force=True` to replace it"
    )
    folder = opened(place, True, False, stops.tiny())
    assert not folder.resumed
    folder.discard()
    assert _files(place) == _files(stopped)


def test_files_that_are_no_run_are_not_gone_on_with(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "thesis.tex").write_text("mine")
    with pytest.raises(RunFolderError) as caught:
        opened(tmp_path / "a", False, True, stops.tiny())
    assert str(caught.value) == (
        f"'{tmp_path / 'a'}' already holds a run; go on with it by `resume=True`, give another `out`, or "
        "`force=True` to replace it"
    )


def test_settings_have_their_flat_names():
    settings = learn_settings(lr=0.5, seed=3, patience=2, start_from=("mse",))
    values = flat(settings)
    assert values.keys() == flat_fields(LearnSettings).keys()
    assert (values["lr"], values["seed"], values["patience"], values["start_from"]) == (0.5, 3, 2, ("mse",))


FIXED = {name for name, meaning in meanings(LearnSettings).items() if meaning.changes == "never"}


def test_what_may_change():
    assert [name for name in flat_fields(LearnSettings) if name not in FIXED] == [
        "workers", "generations", "cma_generations", "finals", "finalists", "varied", "steps", "folds", "retests",
        "finals_budget", "finals_effort", "executor", "address", "object_store", "max_time", "max_evaluations",
        "target_fitness", "patience",
    ]  # fmt: skip


def test_a_run_that_had_not_seen_its_task_meets_an_optimiser_of_its_own(tmp_path):
    own = UserOptimizer(torch.optim.NAdam)
    for name, said in {"preset": {}, "given": {"momentum": 0.9}}.items():
        folder = opened(tmp_path / name, False, False, learn_settings("practice", **said))
        folder.begin()
        folder.keep()
        folder.discard()
        folder = RunFolder(tmp_path / name, resume=True)
        begun = PreviousRun(folder)
        folder.discard()
        if said:
            with pytest.raises(SettingError, match=r"^setting 'momentum': the task brings an optimizer of its own"):
                fitted_settings(begun.settings, [own])
            continue
        now = fitted_settings(begun.settings, [own])
        assert (now.base.optimizer, now.base.momentum) == ("own", 0.0)
        assert require_settings(begun, now, False) is None


@pytest.mark.parametrize("override", [True, False])
def test_the_same_settings_are_always_good_and_so_are_any_without_a_past(past, override):
    assert require_settings(past, stops.tiny(), override) is None
    assert require_settings(PreviousRun(), stops.tiny(seed=99, generations=1), override) is None


@pytest.mark.parametrize(
    ("flat", "told"),
    [
        ({"generations": 9}, "generations was 4, now 9"),
        ({"workers": 2}, "workers was 1, now 2"),
        ({"max_time": "2h"}, "max_time was None, now 7200.0"),
        ({"max_evaluations": 5}, "max_evaluations was None, now 5"),
        ({"target_fitness": 0.5}, "target_fitness was None, now 0.5"),
        ({"patience": 1, "generations": 5}, "generations was 4, now 5; patience was None, now 1"),
    ],
)
def test_what_may_change_changes_if_that_is_asked_for(past, flat, told):
    assert require_settings(past, stops.tiny(**flat), True) is None
    with pytest.raises(SettingError) as caught:
        require_settings(past, stops.tiny(**flat), False)
    assert str(caught.value) == (
        f"'{past.folder.path}' was begun with other settings ({told}); give those of then, or add `override=True`"
    )


OTHER = {
    "seed": 3, "partial_steps": 7, "output_activation": "softplus", "scale_control": True, "fitness_lrs": (0.5,),
    "lr": 0.2, "momentum": 0.5, "weight_decay": 0.1, "batch_size": 16, "population_size": 7, "min_depth": 1,
    "max_depth": 3, "tournament_size": 3, "crossover_rate": 0.5, "mutation_rate": 0.2, "mutation_depth": 1,
    "elitism_rate": 0.1, "max_height": 9, "start_from": ("square(sub(y, f))",), "meta_steps": 2, "base_steps": 2,
    "meta_lr": 0.1, "task_loss_batch": "train", "rejection": False, "rejection_instances": 9, "rejection_steps": 16,
    "rejection_lr": 0.1, "rejection_threshold": 0.1, "gradient_equivalence": False,
    "racing": True, "lanes": 2, "precision": "bf16", "optimizer": "adam", "clip": 1.0, "schedule": "cosine",
    "warmup": 0.1, "break_ties": True, "fitness_share": 0.2, "known_start": 0.4,
    "log_prior": True, "operators": ("add", "mul", "log"), "terminals": ("y", "f"), "asynchronous": True,
}  # fmt: skip


def test_every_setting_that_a_search_has_is_tried_below():
    # Other methods' and optimisers', below with momentum, or without effect where there is no race.
    elsewhere = {"method", "nesterov", "sigma", "hidden", "neural_steps", "racing_effort", "racing_keep"}
    elsewhere |= {"betas", "smoothing", "eps", "fitness_trial"}  # the last is without effect where there is one rate
    elsewhere |= {"milestones", "gamma"}  # below with a schedule of steps
    assert set(OTHER) == set(FIXED) - elsewhere


@pytest.mark.parametrize("override", [True, False])
@pytest.mark.parametrize("name", OTHER)
def test_what_results_depend_on_may_never_change(past, name, override):
    before, now = flat(past.settings)[name], OTHER[name]
    before = past.settings.lanes if name == "lanes" else before  # left open, it is 1
    with pytest.raises(SettingError) as caught:
        require_settings(past, stops.tiny(**{name: now}), override)
    assert str(caught.value) == (
        f"'{past.folder.path}' was begun with other settings, which may not change ({name} was {before!r}, now {now!r})"
        "; give those of then, or start another run"
    )


def test_all_that_may_not_change_is_told_and_nothing_else(past):
    now = stops.tiny(momentum=0.5, nesterov=True, generations=9)
    with pytest.raises(SettingError) as caught:
        require_settings(past, now, True)
    assert "(momentum was 0.0, now 0.5; nesterov was False, now True); give" in str(caught.value)
    with pytest.raises(
        SettingError, match=r"\(optimizer was 'sgd', now 'adam'; betas was \(0.9, 0.999\), now \(0.5, 0"
    ):
        require_settings(past, stops.tiny(optimizer="adam", betas=(0.5, 0.9)), True)
    steps = r"schedule was 'constant', now 'step'; milestones was \(.*\), now \(0.5,\); gamma was 0.1, now 0.5"
    with pytest.raises(SettingError, match=steps):
        require_settings(past, stops.tiny(schedule="step", milestones=(0.5,), gamma=0.5), True)
    with pytest.raises(SettingError, match=r"\(method was 'evomal', now 'gplfl'"):
        require_settings(past, learn_settings(method="gplfl"), True)


@pytest.mark.parametrize("flat", [{"racing": True}, {"lanes": 2}])
def test_who_is_evaluated_with_whom_depends_on_how_many_still_may_be(flat):
    before, now = learn_settings(**flat), learn_settings(**flat, max_evaluations=9, workers=2)
    assert {change.name: change.allowed for change in changes(before, now)} == {
        "workers": True,
        "max_evaluations": False,
    }


class OnGpu:
    """All that is asked of tasks on a GPU."""

    device = torch.device("cuda")


def test_lanes_are_those_of_then_whatever_the_device(past, monkeypatch):
    monkeypatch.setattr("evomal.store.resuming.choose_lanes", lambda tasks, settings: 16)
    assert with_lanes(stops.tiny(), PreviousRun(), OnGpu).lanes == 16
    again = with_lanes(stops.tiny(), past, OnGpu)  # begun where they were left open
    assert again.lanes == 1
    assert require_settings(past, again, False) is None
    assert with_lanes(stops.tiny(lanes=3), past, OnGpu).lanes == 3
    assert with_lanes(stops.tiny(), past, TaskSet.of(stops.tasks.line())) == stops.tiny()
    assert with_lanes(stops.tiny(), PreviousRun(), TaskSet.of(stops.tasks.line())).execution.lanes == 16
    monkeypatch.setattr("evomal.store.resuming.choose_lanes", lambda tasks, settings: 1)
    assert with_lanes(stops.tiny(), PreviousRun(), TaskSet.of(stops.tasks.line())) == stops.tiny()


@pytest.mark.parametrize(("generations", "fine"), [(2, False), (3, True)])
def test_generations_that_are_there_do_not_go_away(past, generations, fine):
    if fine:
        assert require_settings(past, stops.tiny(generations=generations), True) is None
        return
    with pytest.raises(SettingError) as caught:
        require_settings(past, stops.tiny(generations=generations), True)
    assert str(caught.value) == (
        f"setting 'generations': '{past.folder.path}' has 3 already, not {generations}; give more"
    )


def test_fewer_generations_end_the_run_earlier_and_more_later(stopped, finished, tmp_path):
    place = stops.copied(stopped, tmp_path / "a")
    result = stops.learn(place, resume=True, override=True, generations=3)
    assert (result.ended, len(result.members)) == ("generations", 18)
    assert _config(place)["settings"]["genetic"]["generations"] == 3
    result = stops.learn(place, resume=True, override=True, generations=4)
    assert (result.ended, len(result.members)) == ("generations", 24)
    assert stops.in_order(stops.lines(place)) == stops.in_order(stops.lines(finished))
    assert (place / "loss.json").read_bytes() == (finished / "loss.json").read_bytes()


def test_the_first_phase_of_glo_keeps_its_length(tmp_path):
    flat = {"population_size": 4, "cma_generations": 1, "partial_steps": 4, "rejection": False, "lr": 0.1}
    GLO(**flat, generations=1).learn(stops.tasks.line(), tmp_path / "a")
    with pytest.raises(SettingError) as caught:
        GLO(**flat, generations=2).learn(stops.tasks.line(), tmp_path / "a", resume=True, override=True)
    assert str(caught.value) == (
        f"'{tmp_path / 'a'}' was begun with other settings, which may not change (generations was 1, now 2); give "
        "those of then, or start another run"
    )
    longer = GLO(**(flat | {"cma_generations": 2}), generations=1)
    again = longer.learn(stops.tasks.line(), tmp_path / "a", resume=True, override=True)
    longer.learn(stops.tasks.line(), tmp_path / "b")
    assert len(again.members) == 12
    assert stops.in_order(stops.lines(tmp_path / "a")) == stops.in_order(stops.lines(tmp_path / "b"))


def test_workers_may_change_in_the_midst_of_a_run_if_that_is_asked_for(stopped, finished, tmp_path, monkeypatch):
    place = stops.copied(stopped, tmp_path / "a")
    with pytest.raises(SettingError, match=r"\(workers was 1, now 2\); give those of then, or add `override=True`$"):
        stops.learn(place, resume=True, workers=2)
    monkeypatch.setattr("evomal.search.method.make_executor", lambda *where: InProcess())
    stops.learn(place, resume=True, override=True, workers=2)
    assert stops.in_order(stops.lines(place)) == stops.in_order(stops.lines(finished))
    assert _config(place)["settings"]["workers"] == 2


def test_a_run_that_goes_on_reads_its_journal_once(stopped, finished, tmp_path, monkeypatch):
    read, seen = store_folder.read_journal, []
    monkeypatch.setattr(store_folder, "read_journal", lambda path, **how: seen.append(path) or read(path, **how))
    place = stops.copied(stopped, tmp_path / "a")
    stops.learn(place, resume=True)
    assert len(seen) == 1
    assert stops.in_order(stops.lines(place)) == stops.in_order(stops.lines(finished))


def test_a_search_that_is_asked_and_told_is_no_run(tmp_path, capsys):
    place = tmp_path / "asked"
    evomal.Search("gplfl", "classification", out=place, population_size=4, generations=2).ask()
    before = _files(place)
    message = (
        f"'{place}' holds a search that is asked and told, not a run; go on with it by "
        f"evomal.Search(out={str(place)!r})"
    )
    for resume in (["--resume", place], ["--resume", place, "--dataset", "iris", "--model", "linear"]):
        assert main(["learn", *map(str, resume)]) == 2
        assert capsys.readouterr() == ("", f"evomal: error: {message}\n")
    with pytest.raises(RunFolderError) as caught:
        stops.learn(place, resume=True)
    assert str(caught.value) == message
    assert _files(place) == before
    assert evomal.Search("gplfl", "classification", out=place, population_size=4, generations=2).ask()


def _described(folder, tasks=None, settings=None):
    tasks = TaskSet.of(tasks or stops.tasks.line())
    describe(folder, tasks, settings or stops.tiny(), PreviousRun(folder))


def test_a_run_says_its_tasks_and_versions(tmp_path):
    folder = opened(tmp_path / "a", False, False, stops.tiny())
    both = [stops.tasks.blobs(), stops.tasks.blobs(name="others", seed=5)]
    _described(folder, both)
    folder.begin()
    folder.keep()
    assert _config(tmp_path / "a") == {
        "format": "evomal-run",
        "version": 1,
        "settings": json.loads(json.dumps(stops.tiny().model_dump(mode="json"))),
        "given": sorted(given(stops.tiny())),
        "tasks": [identity(task) for task in both],
        "command": None,
        "versions": versions(),
        "earlier_versions": [],
    }
    folder.discard()


def test_the_same_tasks_change_nothing_and_say_nothing(past, stopped, caplog):
    _described(past.folder)
    assert _files(past.folder.path) == _files(stopped)
    assert caplog.records == []


def _broad():
    return nn.Sequential(nn.Linear(4, 7), nn.ReLU(), nn.Linear(7, 1))


@pytest.mark.parametrize(
    ("task", "names"),
    [
        (lambda: stops.tasks.line(seed=1), ["data_fingerprint"]),
        (lambda: stops.tasks.line(count=100), ["data_fingerprint"]),
        (lambda: _line(_broad), ["network"]),
        (lambda: _line(name="curve"), ["data_fingerprint", "dataset", "task"]),
        (lambda: _line(task_loss="mae", metric="mae"), ["metric", "task_loss"]),
    ],
)
def test_another_task_is_refused(past, stopped, task, names):
    old, new = (identity(each) for each in (stops.tasks.line(), task()))
    old, new = ({**each, **each["computed"]} for each in (old, new))
    told = "; ".join(f"{name} was {old[name]!r}, now {new[name]!r}" for name in names)
    with pytest.raises(RunFolderError) as caught:
        _described(past.folder, task())
    assert str(caught.value) == (
        f"'{past.folder.path}' was begun on another task ({told}); bring back the data and the model of then, or start "
        "another run"
    )
    assert _files(past.folder.path) == _files(stopped)


def _line(factory=None, **options):
    plain = stops.tasks.line()
    values = {"task_loss": "mse", "name": "line", "model_name": plain.model_name} | options
    return evomal.Task(factory or plain.factory, *_pairs(), **values)


def _pairs():
    x, noise = stops.tasks.normal(0, (120, 4), (120,))  # as in `tasks.line`
    return ((x, x[:, 0] - 2 * x[:, 1] + 0.5 * x[:, 2] + 0.1 * noise),)


def test_another_number_of_tasks_is_refused(past):
    with pytest.raises(RunFolderError) as caught:
        _described(past.folder, [stops.tasks.line(), _line(name="curve")])
    assert str(caught.value) == (
        f"'{past.folder.path}' was begun on another task (there were 1 tasks, now 2); bring back the data and the "
        "model of then, or start another run"
    )


@pytest.mark.parametrize("tasks", [None, 3, "line", [3], {"task": "line"}])
def test_a_config_without_its_tasks_is_damaged(past, tasks):
    past.folder.config["tasks"] = tasks
    with pytest.raises(RunFolderError) as caught:
        _described(past.folder)
    path = past.folder.path / "config.yaml"
    assert str(caught.value) == f"'{path}' is damaged: its tasks are missing; start anew with `force=True`"


def test_other_versions_are_told_and_kept(past, caplog):
    old = versions() | {"torch": "2.0", "evomal": "0.0.1"}
    past.folder.describe({"versions": old})
    with caplog.at_level(logging.WARNING, "evomal"):
        _described(past.folder)
    now = versions()
    assert [record.getMessage() for record in caplog.records] == [
        f"'{past.folder.path}': finished parts were made with evomal 0.0.1, torch 2.0, now evomal {now['evomal']}, "
        f"torch {now['torch']}; results may differ in their last bits"
    ]
    config = _config(past.folder.path)
    assert (config["versions"], config["earlier_versions"]) == (now, [old])


def test_the_command_of_then_is_kept(past):
    past.folder.describe({"command": "evomal learn --out a"})
    _described(past.folder)
    assert _config(past.folder.path)["command"] == "evomal learn --out a"


def test_other_settings_are_written_down(past):
    _described(past.folder, settings=stops.tiny(generations=9))
    assert PreviousRun(past.folder).settings == stops.tiny(generations=9)


def test_a_finished_run_that_goes_on_is_not_finished(finished, tmp_path):
    folder = RunFolder(stops.copied(finished, tmp_path / "a"), resume=True)
    before = PreviousRun(folder)
    assert before.ended is not None
    _described(folder, settings=stops.tiny(generations=5))
    after = PreviousRun(folder)
    assert after.ended is None
    assert after.states[0] == before.states[0].model_copy(update={"ended": None})
    folder.discard()


@pytest.mark.parametrize("method", ["gplfl", "taylorglo", "ml3"])
def test_every_method_goes_on(method, tmp_path):
    flat = {
        "population_size": 4,
        "generations": 2,
        "rejection": False,
        "neural_steps": 2,
        "partial_steps": 4,
        "lr": 0.1,
    }
    settings = learn_settings(**fitting(method, flat))
    make_method(settings).learn(stops.tasks.line(), tmp_path / "whole")
    with pytest.raises(SettingError, match=r"seed was 0, now 1"):
        make_method(settings.model_copy(update={"seed": 1})).learn(stops.tasks.line(), tmp_path / "whole", resume=True)
    first = make_method(settings).learn(stops.tasks.line(), tmp_path / "a", watcher=stops.Stop(1))
    assert len(first.members) == 1
    make_method(settings).learn(stops.tasks.line(), tmp_path / "a", resume=True)
    assert stops.in_order(stops.lines(tmp_path / "a")) == stops.in_order(stops.lines(tmp_path / "whole"))
    assert (tmp_path / "a" / "loss.json").read_bytes() == (tmp_path / "whole" / "loss.json").read_bytes()


def test_what_is_tuned_stays_tuned_where_an_engine_has_no_state(tmp_path):
    class Stages(Watcher):
        def __init__(self, last=None):
            self.last, self.seen = last, []

        def stage(self, name, count):
            self.seen.append((name, count))
            if name == self.last:
                raise KeyboardInterrupt

    flat = {"neural_steps": 2, "partial_steps": 4, "lr": 0.1, "rejection": False, "finals": False}
    method = make_method(learn_settings(**fitting("ml3", flat)))
    whole = method.learn(stops.tasks.line(), tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        method.learn(stops.tasks.line(), tmp_path / "a", watcher=Stages("train"))
    again = Stages()
    result = method.learn(stops.tasks.line(), tmp_path / "a", watcher=again, resume=True)
    assert dict(again.seen)["tune"] == 0
    assert result.loss.all_entries() == whole.loss.all_entries()


def test_several_rates_and_scales_go_on(tmp_path):
    for rates in ((0.5,), (0.5, 2.0)):
        flat = {"fitness_lrs": rates, "scale_control": True, "generations": 2}
        whole, place = tmp_path / f"whole{len(rates)}", tmp_path / f"a{len(rates)}"
        stops.learn(whole, **flat)
        stops.learn(place, 11, **flat)
        stops.learn(place, resume=True, **flat)
        assert stops.in_order(stops.lines(place)) == stops.in_order(stops.lines(whole))
        assert (place / "loss.json").read_bytes() == (whole / "loss.json").read_bytes()
