"""Whatever a kill leaves of journal and checkpoints, going on comes to what an uninterrupted search comes to."""

import json

import pytest

from evomal.store import read_journal
from helpers import fast

LINES = 15  # of a finished journal
LATEST, PREVIOUS = "checkpoint/state.json", "checkpoint/previous.json"
JOURNALS = [*range(LINES + 1), 2.02, 5.5, 9.98, 14.7, "missing", "without 0", "without 6", "without 12"]
"""How many lines are left, the last one torn if that is no whole number; or which is lost."""

CHECKPOINTS = ("as it is", "no latest", "no latest, torn", "none", "earlier", "middle", "later")
CASES = [
    (journal, CHECKPOINTS[place])
    for number, journal in enumerate(JOURNALS)
    for place in sorted({(3 * number) % 7, (3 * number + 4) % 7})  # two in turn
]


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """A search that nothing happened to."""
    return fast.whole(tmp_path_factory.mktemp("runs") / "a")


@pytest.fixture
def work(monkeypatch):
    """The formulas that are tuned and trained, as they are, and how often the task loss is."""
    import evomal.evaluation.dispatch
    import evomal.evaluation.stages
    import evomal.search.method

    done = {"tuned": [], "trained": [], "baselines": 0}
    tune, train = evomal.evaluation.dispatch.tune_stage, evomal.evaluation.stages.train_stage

    def tuned(tasks, settings, genomes):
        done["tuned"] += [genome.key for genome in genomes]
        return tune(tasks, settings, genomes)

    def trained(tasks, settings, loss):
        done["trained"].append(loss.formula(digits=4))
        return train(tasks, settings, loss)

    def baseline(tasks, settings, loss):
        done["baselines"] += 1
        return train(tasks, settings, loss)

    monkeypatch.setattr("evomal.evaluation.dispatch.tune_stage", tuned)
    monkeypatch.setattr("evomal.evaluation.stages.train_stage", trained)
    monkeypatch.setattr("evomal.search.method.train_stage", baseline)
    return done


def _journal(lines, left):
    if left == "missing":
        return None
    if isinstance(left, str):
        lost = int(left.split()[1])
        return b"".join(lines[:lost] + lines[lost + 1 :])
    whole = int(left)
    torn = lines[whole][: max(1, round(len(lines[whole]) * (left - whole)))] if left > whole else b""
    return b"".join(lines[:whole]) + torn


def _checkpoints(reference, kind):
    now = {name: data for name, data in reference.end.items() if name.startswith("checkpoint/")}
    kept = reference.checkpoints
    if kind.startswith("no latest"):
        torn = now[LATEST][: len(now[LATEST]) // 2]
        return {PREVIOUS: now[PREVIOUS]} | ({LATEST: torn} if "torn" in kind else {})
    return {
        "as it is": now,
        "none": {},
        "earlier": kept[1],
        "middle": kept[len(kept) // 2],
        "later": kept[-2],
    }[kind]


def _goes_on(folder, reference, **options):
    assert fast.told(fast.learn(folder, resume=True, **options), folder) == reference.told


def test_the_search_has_something_of_everything(reference):
    assert {record["outcome"] for record in reference.told.journal} >= {"trained", "rejected", "elite", "archived"}
    assert len(reference.lines) == LINES
    assert len(reference.checkpoints) > 6


@pytest.mark.parametrize(("journal", "checkpoints"), CASES)
def test_journals_and_checkpoints_of_all_kinds(tmp_path, reference, journal, checkpoints):
    left = reference.but(_journal(reference.lines, journal), _checkpoints(reference, checkpoints))
    _goes_on(fast.lay(tmp_path / "a", left), reference)


DAMAGED = {
    "empty": b"",
    "no JSON": b"\x00" * 4096,
    "no UTF-8": b"\xff\xfe{}",
    "too deep": b"[" * 100_000,
    "a list": b"[]",
    "another format": b'{"format": "evomal-run", "version": 1}',
    "of the future": b'{"format": "evomal-checkpoint", "version": 2, "generation": "later", "engine": {}}',
    "nothing but its format": b'{"format": "evomal-checkpoint", "version": 1}',
    "not finite": b'{"format": "evomal-checkpoint", "version": 1, "generation": 1, "seconds": NaN, "engine": {"a": 1}}',
    "of another engine": b'{"format": "evomal-checkpoint", "version": 1, "generation": 1, "engine": {"mean": [0]}}',
    "below zero": b'{"format": "evomal-checkpoint", "version": 1, "generation": -1, "engine": {}}',
    "beyond the end": b'{"format": "evomal-checkpoint", "version": 1, "generation": 10000000, "engine": {"a": 1}}',
}


@pytest.mark.parametrize("data", DAMAGED.values(), ids=DAMAGED.keys())
@pytest.mark.parametrize("both", [False, True], ids=["the latest", "both"])
def test_checkpoints_that_are_damaged_are_passed_over(tmp_path, reference, data, both):
    now = _checkpoints(reference, "later")
    left = reference.but(_journal(reference.lines, 11), {LATEST: data, PREVIOUS: data if both else now[PREVIOUS]})
    _goes_on(fast.lay(tmp_path / "a", left), reference)


ENTRIES = {
    "words of the random numbers": ("engine", "rng"),
    "the told": ("engine", "told"),
    "the engine": ("engine",),
    "what is tuned": ("tuned",),
    "the generation": ("generation",),
}


@pytest.mark.parametrize("path", ENTRIES.values(), ids=ENTRIES.keys())
def test_checkpoints_with_an_odd_entry_are_passed_over(tmp_path, reference, path):
    state = json.loads(_checkpoints(reference, "later")[LATEST])
    *within, last = path
    entry = state
    for name in within:
        entry = entry[name]
    entry[last] = ["odd", {"x": None}]
    left = reference.but(_journal(reference.lines, 11), {LATEST: json.dumps(state).encode()})
    _goes_on(fast.lay(tmp_path / "a", left), reference)


def test_what_a_kill_leaves_at_any_moment_goes_on_and_nothing_finished_is_done_again(tmp_path, reference, work):
    fast.learn(None)
    tuned, trained = sorted(work["tuned"]), sorted(work["trained"])
    for number, shot in enumerate(reference.shots):
        work.update(tuned=[], trained=[], baselines=0)
        folder = fast.lay(tmp_path / "a", shot)
        known = read_journal(folder) if "journal.jsonl" in shot else []
        state = json.loads(shot[LATEST]) if LATEST in shot else {"generation": 0, "tuned": [], "engine": {}}
        _goes_on(folder, reference)
        finished = [record["expression"] for record in known if "tune" in record["seconds"]]
        # Those in the checkpoint that are not finished: places of the generation in progress.
        places = {(state["generation"], entry["index"]) for entry in state["tuned"]}
        waiting = places - {(record["generation"], record["index"]) for record in known}
        assert len(work["tuned"]) == len(tuned) - len(finished) - len(waiting), number
        assert len(work["trained"]) == len(trained) - sum(record["trainings"] for record in known), number
        assert work["baselines"] == (0 if state["engine"] or known == reference.told.journal else 1), number
        assert not set(work["tuned"]) & set(finished), number


def test_a_finished_run_tells_its_result_and_does_nothing(tmp_path, reference, work):
    folder = fast.lay(tmp_path / "a", reference.end)
    _goes_on(folder, reference)
    assert work == {"tuned": [], "trained": [], "baselines": 0}
    assert fast.files(folder) == reference.end


def test_a_finished_run_without_its_checkpoints_is_whole_again_after_one_call(tmp_path, reference):
    folder = fast.lay(tmp_path / "a", reference.but(_journal(reference.lines, LINES), {}))
    _goes_on(folder, reference)
    _goes_on(folder, reference)


@pytest.mark.parametrize("damage", [None, b"", b"{}", b'{"format": "evomal-loss"}'])
def test_a_loss_file_that_is_lost_or_damaged_is_written_again(tmp_path, reference, damage):
    left = {name: data for name, data in reference.end.items() if name != "loss.json"}
    folder = fast.lay(tmp_path / "a", left if damage is None else left | {"loss.json": damage})
    _goes_on(folder, reference)


def test_a_journal_whose_last_line_is_torn_is_as_if_it_had_not_been_begun(tmp_path, reference):
    torn = b"".join(reference.lines) + b'{"generation": 3, "ind'
    folder = fast.lay(tmp_path / "a", reference.but(torn, _checkpoints(reference, "later")))
    _goes_on(folder, reference)
    assert (folder / "journal.jsonl").read_bytes() == b"".join(reference.lines)


VARIANTS = {
    "gplfl": lambda: (fast.settings("gplfl"), None),
    "taylorglo": lambda: (fast.settings("taylorglo"), None),
    "glo": lambda: (fast.settings("glo"), None),
    "ml3": lambda: (fast.settings("ml3"), None),
    "ml3 on two tasks": lambda: (fast.settings("ml3", scale_control=True), _two()),
    "scale control": lambda: (fast.settings(scale_control=True), None),
    "rates": lambda: (fast.settings(fitness_lrs=(0.5, 1.0, 2.0)), None),
    "two tasks": lambda: (fast.settings(), _two()),
    "a start": lambda: (fast.settings(start_from=("focal", "mul(y, log(f))")), None),
    "no filters": lambda: (fast.settings(rejection=False, gradient_equivalence=False), None),
    "softplus": lambda: (fast.settings(output_activation="softplus"), None),
    "asynchronous": lambda: (fast.settings(asynchronous=True), None),
}


def _two():
    return [fast.clouds(), fast.clouds(seed=7, name="others")]


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_method_and_every_kind_of_search_goes_on(tmp_path, variant):
    settings, task = VARIANTS[variant]()
    whole = fast.whole(tmp_path / "whole", settings, task)
    count = len(whole.lines)
    for lines, kind in ((count // 3, "as it is"), (count * 2 // 3, "none"), (count - 1, "middle")):
        left = whole.but(_journal(whole.lines, lines), _checkpoints(whole, kind))
        _goes_on(fast.lay(tmp_path / "a", left), whole, wanted=settings, task=task)
    for shot in whole.shots[len(whole.shots) // 2 :: 12]:
        _goes_on(fast.lay(tmp_path / "a", shot), whole, wanted=settings, task=task)


# Of the generation that the evaluations end in, a member repeats another one of it.
LIMITS = {
    "6 evaluations": {"max_evaluations": 6},
    "7 evaluations": {"max_evaluations": 7},
    "8 evaluations": {"max_evaluations": 8, "seed": 58},
    "patience": {"patience": 1, "seed": 58},
    "target": {"target_fitness": 0.6},
    "early target": {"target_fitness": 0.6, "seed": 23},
    "asynchronous, 6 evaluations": {"max_evaluations": 6, "asynchronous": True},
    "asynchronous, patience": {"patience": 1, "asynchronous": True, "seed": 58},
    "asynchronous, target": {"target_fitness": 0.6, "asynchronous": True},
}


@pytest.mark.parametrize("limit", LIMITS)
def test_runs_that_a_limit_ended_go_on_to_the_same_end(tmp_path, limit):
    settings = fast.settings(**LIMITS[limit])
    whole = fast.whole(tmp_path / "whole", settings)
    assert whole.told.result["ended"] == limit.split()[-1]
    for shot in whole.shots[len(whole.shots) // 2 :: 2]:
        _goes_on(fast.lay(tmp_path / "a", shot), whole, wanted=settings)
    for lines in range(len(whole.lines), len(whole.lines) // 2, -2):
        left = whole.but(_journal(whole.lines, lines), {})
        _goes_on(fast.lay(tmp_path / "a", left), whole, wanted=settings)


@pytest.mark.parametrize("limit", LIMITS)
def test_a_run_that_a_limit_ended_and_that_lost_a_line_is_not_called_finished(tmp_path, limit):
    settings = fast.settings(**LIMITS[limit])
    whole = fast.whole(tmp_path / "whole", settings)
    left = whole.but(_journal(whole.lines, len(whole.lines) - 1), _checkpoints(whole, "as it is"))
    _goes_on(fast.lay(tmp_path / "a", left), whole, wanted=settings)


def test_two_workers_go_on_where_one_was(tmp_path, reference):
    settings = fast.settings(workers=2)
    for shot in (reference.shots[3], reference.shots[len(reference.shots) // 2]):
        _goes_on(fast.lay(tmp_path / "a", shot), reference, wanted=settings, override=True)


def test_one_worker_goes_on_where_two_were_and_more_generations_follow(tmp_path, reference):
    folder = fast.lay(tmp_path / "a", reference.shots[len(reference.shots) // 2])
    longer = fast.settings(generations=4, workers=2)
    result = fast.learn(folder, longer, resume=True, override=True)
    directly = fast.whole(tmp_path / "b", fast.settings(generations=4))
    assert fast.told(result, folder) == directly.told
    finished = fast.lay(tmp_path / "c", reference.end)  # a finished one has more to do as well
    assert fast.told(fast.learn(finished, fast.settings(generations=4), resume=True, override=True), finished) == (
        directly.told
    )
