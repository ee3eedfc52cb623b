"""Ask and tell: the same search as `learn`, trained elsewhere, in any order, by any process, from any moment."""

import math
import multiprocessing

import pytest
import torch

import evomal
from evomal.evaluation.stages import train_stage
from evomal.foundation.errors import EvomalError, RunFolderError, SettingError
from evomal.store import comparable, read_journal
from evomal.tasks import TaskSet
from helpers.tasks import blobs, line

SMALL = {"population_size": 6, "generations": 3}


def test_a_terminal_that_needs_a_task_is_refused_without_one():
    terminals = ("y", "f", "1", "-1", "prior")
    with pytest.raises(SettingError) as caught:
        evomal.Search("gplfl", "classification", outputs=3, terminals=terminals, **SMALL)
    assert str(caught.value) == (
        "terminal 'prior' is the classes' share of the training labels, which a search without a task does not know; "
        "give `task`, or leave it out"
    )
    assert evomal.Search("gplfl", task=blobs(), terminals=terminals, **SMALL).ask()


def _sized(candidates):
    """A metric that takes no training: how large the formula is."""
    return {candidate.id: float(candidate.loss.expression.size) for candidate in candidates}


def _plain(out):
    return comparable(read_journal(out))


def _whole(out, **flat):
    search = evomal.Search("gplfl", "classification", out=out, **(SMALL | flat))
    while candidates := search.ask():
        search.tell(_sized(candidates))
    return search


@pytest.mark.parametrize("name", ["EvoMAL", "GPLFL"])
def test_whoever_trains_as_learn_does_finds_what_learn_finds(name, tmp_path):
    task = blobs()
    flat = {
        "population_size": 6, "generations": 2, "rejection_steps": 10, "rejection_lr": 0.1,
        "rejection_threshold": 0.5, "lr": 0.1,
        "batch_size": 32, "start_from": ("cross_entropy",),
    }  # fmt: skip
    flat |= {"meta_steps": 3} if name == "EvoMAL" else {}
    method = getattr(evomal, name)(partial_steps=20, seed=3, finals=False, **flat)
    learned = method.learn(task, out=tmp_path / "learned")
    search = evomal.Search(name.lower(), seed=3, task=task, out=tmp_path / "asked", **flat)
    while candidates := search.ask():
        losses = {candidate.id: candidate.loss for candidate in candidates}
        search.tell({i: train_stage(TaskSet.of(task), method.settings, loss).fitness for i, loss in losses.items()})
    assert _plain(tmp_path / "asked") == _plain(tmp_path / "learned")
    assert {record["outcome"] for record in _plain(tmp_path / "asked")} >= {"trained", "rejected"}
    assert search.best.metric == learned.fitness
    assert search.best.formula == learned.loss.formula(digits=4)
    assert search.finished


def test_neither_order_nor_calls_nor_a_torn_file_matter(tmp_path):
    _whole(tmp_path / "whole")

    def again():
        return evomal.Search("gplfl", "classification", out=tmp_path / "parts", **SMALL)

    while candidates := again().ask():
        assert [c.id for c in again().ask()] == [c.id for c in candidates]
        (tmp_path / "parts" / "asked.json").write_text('{"format": "evomal-as')
        for candidate in reversed(again().ask()):
            assert candidate.metric is None
            again().tell(_sized([candidate]))
    assert _plain(tmp_path / "parts") == _plain(tmp_path / "whole")
    assert evomal.load_loss(tmp_path / "parts").formula() == again().best.loss.formula()


def _tell_some(out, ids, start):
    search = evomal.Search("gplfl", "classification", out=out, **SMALL)
    start.wait()
    for candidate in search.ask():
        if candidate.id in ids:
            search.tell(_sized([candidate]))


def test_several_processes_tell_at_once(tmp_path):
    _whole(tmp_path / "whole")
    search = evomal.Search("gplfl", "classification", out=tmp_path / "many", **SMALL)
    context = multiprocessing.get_context("fork")
    while candidates := search.ask():
        ids, start = [candidate.id for candidate in candidates], context.Barrier(2)
        workers = [context.Process(target=_tell_some, args=(search._path, ids[k::2], start)) for k in range(2)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
            assert worker.exitcode == 0
    assert _plain(tmp_path / "many") == _plain(tmp_path / "whole")


def test_what_is_known_or_equal_in_its_gradients_is_not_asked_for(tmp_path):
    _whole(tmp_path, generations=6, start_from=("mul(y, f)", "sub(mul(y, f), 1)"))
    records = _plain(tmp_path)
    by_key = {(record["generation"], record["index"]): record for record in records}
    assert {"archived", "elite"} & {record["outcome"] for record in records}
    equal = [record for record in records if record["outcome"] == "equivalent"]
    assert equal
    assert all(by_key[tuple(record["same_as"])]["fitness"] == record["fitness"] for record in equal)


def test_a_loss_is_asked_for_though_its_negative_was(tmp_path):
    pair = ("mul(y, log(f))", "mul(-1, mul(y, log(f)))")  # the first drives the true class down
    search = evomal.Search("gplfl", "classification", out=tmp_path / "a", start_from=pair, **SMALL)
    assert {candidate.id for candidate in search.ask()} >= {"0.0", "0.1"}


def test_a_failed_training_is_told_as_infinite(tmp_path):
    search = evomal.Search("gplfl", "classification", out=tmp_path, population_size=4, generations=1)
    first, *others = search.ask()
    search.tell({first.id: math.inf} | _sized(others))
    assert search.ask() == []
    outcomes = {f"{r['generation']}.{r['index']}": r["outcome"] for r in _plain(tmp_path)}
    assert outcomes[first.id] == "failed"
    assert search.best.id != first.id


def test_tensors_and_targets_end_a_search(tmp_path):
    search = evomal.Search("taylorglo", "regression", out=tmp_path, target_fitness=0.5, population_size=4)
    search.tell({candidate.id: torch.tensor(0.25 + k) for k, candidate in enumerate(search.ask())})
    assert search.ask() == []
    assert (search.best.metric, search.finished) == (0.25, True)


def test_more_generations_go_on_where_it_ended(tmp_path):
    _whole(tmp_path / "whole")
    _whole(tmp_path / "parts", generations=2)
    with pytest.raises(SettingError, match=r"generations was 2, now 3\); give those of then, or add `override=True`$"):
        evomal.Search("gplfl", "classification", out=tmp_path / "parts", **SMALL)
    search = _whole(tmp_path / "parts", override=True)
    assert search.finished
    assert _plain(tmp_path / "parts") == _plain(tmp_path / "whole")


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        ({"9.9": 0.1}, r"^candidate '9\.9' was never asked for; those that wait are 0\.\d"),
        ({"{first}": math.nan}, r"^the metric of candidate '0\.\d' is nan, which is not a number; give one that is "),
        ({"{first}": "0.5"}, r"^the metric of candidate '0\.\d' is '0\.5', which is not a number"),
        ({"{first}": torch.ones(3)}, r"^the metric of candidate '0\.\d' is tensor\(\[1"),
        ({"{last}": 0.5, "{told}": 0.5}, r"^candidate '0\.\d' is told already \(0\.75\); tell each once$"),
        (0.5, r"^what is told is a float; give metrics by id, such as tell\(\{'0\.3': 0\.12\}\)$"),
    ],
)
def test_bad_tells_are_refused_and_nothing_of_them_is_taken(metrics, message, tmp_path):
    search = evomal.Search("gplfl", "classification", out=tmp_path, population_size=6, generations=1)
    first, told, *_, last = search.ask()
    search.tell({told.id: 0.75})
    before, waiting = _plain(tmp_path), [candidate.id for candidate in search.ask()]
    if isinstance(metrics, dict):
        names = {"{first}": first.id, "{told}": told.id, "{last}": last.id}
        metrics = {names.get(key, key): value for key, value in metrics.items()}
    with pytest.raises(SettingError, match=message):
        search.tell(metrics)
    assert _plain(tmp_path) == before
    assert [candidate.id for candidate in search.ask()] == waiting


@pytest.mark.parametrize(
    ("arguments", "flat", "message"),
    [
        (
            ("evomal", "classification"),
            {},
            r"^method evomal tunes its losses on a task; give `task`, or method",
        ),
        (("gplfl",), {}, r"^a search without a task needs its kind; give `task_type='classification'`"),
        (("gplfl", "ranking"), {}, r"^task_type is 'ranking'; give 'classification' or 'regression', or a `task`$"),
        (
            ("gplfl", "regression"),
            {"lr": 0.1},
            r"^setting 'lr': it has no effect where no task is given",
        ),
        (("gplfl", "regression"), {"outputs": 0}, r"^outputs is 0; give the number of classes"),
        (("gplfl", "regression"), {"partial_steps": 5}, r"^setting 'partial_steps': it has no effect where"),
        (("gplfl", "regression"), {"generation": 5}, r"^unknown setting 'generation'; did you mean 'generations'"),
        (
            ("gplfl", "classification"),
            {"task": "line"},
            r"^task_type is 'classification', but task 'line' is",
        ),
        (("gplfl",), {"task": "line", "workers": 2}, r"^setting 'workers': it has no effect where another one trains"),
    ],
)
def test_bad_searches_are_refused_in_one_line(arguments, flat, message):
    flat = flat | ({"task": line()} if "task" in flat else {})
    with pytest.raises(EvomalError, match=message):
        evomal.Search(*arguments, **flat)


def test_a_folder_of_another_search_is_refused(tmp_path):
    _whole(tmp_path / "a", generations=1)
    with pytest.raises(SettingError, match=r"was begun with other settings, which may not change \(seed was 0, now 1"):
        evomal.Search("gplfl", "classification", 1, out=tmp_path / "a", population_size=6, generations=1)
    with pytest.raises(SettingError, match=r"was begun with \{'task_type': 'classification', 'outputs': 10\}, now"):
        evomal.Search("gplfl", "regression", out=tmp_path / "a", population_size=6, generations=1)
    assert evomal.Search("gplfl", "classification", out=tmp_path / "b", **SMALL).best is None


@pytest.mark.parametrize("whole", [True, False])
def test_a_search_on_another_task_is_refused_wherever_it_stands(tmp_path, whole):
    flat = {"population_size": 3, "generations": 1, "rejection_steps": 20, "rejection_threshold": 0.0, "batch_size": 32}
    search = evomal.Search("gplfl", task=blobs(), out=tmp_path / "a", **flat)
    while candidates := search.ask():
        search.tell(_sized(candidates[:1]))
        if not whole:
            break
    assert evomal.Search("gplfl", task=blobs(), out=tmp_path / "a", **flat).best is not None
    for other in (blobs(seed=1), blobs(task_loss="focal"), blobs(metric="macro_f1"), [blobs(), blobs(name="more")]):
        with pytest.raises(RunFolderError, match="was begun on another task"):
            evomal.Search("gplfl", task=other, out=tmp_path / "a", **flat)
