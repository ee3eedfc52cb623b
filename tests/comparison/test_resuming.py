import json
import shutil

import pytest

import evomal
from evomal.foundation.errors import EvomalError
from evomal.losses import HandcraftedLoss, TaylorLoss
from helpers.chance import Chance

NAMES = ("cross_entropy", "ml3", "taylorglo")
RATES = (0.1, 0.5)
BASE = {"batch_size": 32, "lr": 0.1}
CLASSES = {"task_type": "classification"}


@pytest.mark.parametrize("stop_after", [1, 3, 4, 5, 10])
def test_it_goes_on_where_it_was_stopped(compare, recorder, finished, stop_after):
    stopped = recorder(stop_after)
    with pytest.raises(KeyboardInterrupt):
        compare(watcher=stopped)
    again = compare()
    assert stopped.left == (4, 12)
    assert again.watcher.left == (4 - min(stop_after, 4), 12 - max(0, stop_after - 4))
    assert stopped.told + again.watcher.told == finished.watcher.told
    assert again.timeless == finished.timeless


def test_what_is_finished_behind_a_slow_training_is_kept(compare, recorder, finished):
    slow_first = Chance(3, lambda running: len(running) - 1)
    stopped = recorder(4 + 5)
    with pytest.raises(KeyboardInterrupt):
        compare(watcher=stopped, executor=slow_first)
    trained = [job for job in slow_first.finished if job.function.__name__ == "_train_once"]
    assert len(trained) == 5
    assert ("cross_entropy", 0.1, 0) not in stopped.told
    again = compare()
    assert again.watcher.left == (0, 12 - 5)
    assert sorted(stopped.told + again.watcher.told) == sorted(finished.watcher.told)
    assert again.timeless == finished.timeless
    table = (again.folder / "table.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in table[1::2]] == [*NAMES]


WRITTEN = ("comparison.yaml", ".lock", "table.md", "table.csv", "table.json")  # each time


def test_nothing_that_is_finished_is_written_again(compare, copied, finished):
    def stamps():
        files = [path for path in copied.rglob("*") if path.is_file() and path.name not in WRITTEN]
        return {path: path.stat().st_mtime_ns for path in files}

    before = stamps()
    again = compare(copied)
    assert again.watcher.left == (0, 0)
    assert again.watcher.told == []
    assert stamps() == before
    assert len(before) == 4 * 6 + 1
    assert again.comparison.as_dict() == finished.comparison.as_dict()  # the times, too


@pytest.mark.parametrize(
    ("plan", "left", "new"),
    [
        ({"methods": ("ml3", "taylorglo", "focal")}, (0, 4), {"focal"}),
        ({"methods": ("ml3", "taylorglo", "gplfl")}, (2, 4), {"gplfl"}),
        ({"methods": ("focal",)}, (0, 4), {"focal"}),
        ({"seeds": (0, 1, 2)}, (2, 6), set(NAMES)),
        ({"lrs": (0.5, 0.25)}, (0, 6), set(NAMES)),
        ({"seeds": (1, 0), "lrs": ()}, (0, 0), set()),
        ({"baseline": "taylorglo"}, (0, 0), set()),
    ],
    ids=["loss", "method", "fewer", "seed", "rate", "other_order", "baseline"],
)
def test_what_is_added_later_is_all_that_is_done(compare, copied, finished, plan, left, new):
    again = compare(copied, **plan)
    assert again.watcher.left == left
    assert {what[0] for what in again.watcher.told} == new
    before = {(c.name, run.lr, run.seed): run for c in finished.comparison.contenders for run in c.runs}
    after = {(c.name, run.lr, run.seed): run for c in again.comparison.contenders for run in c.runs}
    assert all(after[key] == before[key] for key in after.keys() & before.keys())
    assert len(after.keys() - before.keys()) == left[1]


def test_what_was_added_step_by_step_equals_what_was_done_at_once(compare, copied, tmp_path):
    compare(copied, seeds=(0, 1, 2))
    grown = compare(copied, seeds=(0, 1, 2), methods=("ml3", "taylorglo", "focal"), lrs=(0.5, 0.25))
    at_once = compare(tmp_path / "d", seeds=(0, 1, 2), methods=("ml3", "taylorglo", "focal"), lrs=(0.5, 0.25))
    assert grown.timeless == at_once.timeless


@pytest.mark.parametrize("lost", [1, 40])
def test_a_torn_last_line_is_done_again(compare, copied, finished, lost):
    file = copied / "trainings.jsonl"
    file.write_bytes(file.read_bytes()[:-lost])
    again = compare(copied)
    assert again.watcher.left == (0, 1)
    assert again.watcher.told == [("taylorglo", 0.5, 1)]
    assert again.timeless == finished.timeless
    assert len(file.read_text().splitlines()) == 12


@pytest.mark.parametrize("content", [None, '{"seed": 1, "sec', "{}"])
def test_a_search_that_is_not_known_to_be_finished_is_done_again(compare, copied, finished, content):
    file = copied / "searches/taylorglo-seed1/search.json"
    file.unlink()
    if content is not None:
        file.write_text(content)
    (copied / "searches/.taylorglo-seed1.starting-abc").mkdir()  # of one that was killed
    again = compare(copied)
    assert again.watcher.told == [("taylorglo", 1)]  # the same loss: its trainings hold
    assert again.timeless == finished.timeless
    assert sorted(path.name for path in (copied / "searches").iterdir()) == [
        "ml3-seed0", "ml3-seed1", "taylorglo-seed0", "taylorglo-seed1",
    ]  # fmt: skip


def test_trainings_with_another_loss_are_done_again(iris, compare, copied):
    other = TaylorLoss([0, 0, 0, 0, 0, 3.0, 0, 0], **CLASSES)
    other.save(copied / "searches/taylorglo-seed0/loss.json")
    again = compare(copied)
    assert again.watcher.told == [("taylorglo", 0.1, 0), ("taylorglo", 0.5, 0)]
    test = evomal.training.meta_test(iris, other, steps=15, seeds=(0,), lrs=RATES, **BASE)
    assert again.comparison.contenders[2].runs[::2] == tuple(
        run for run in again.comparison.contenders[2].runs if run.seed == 0
    )
    assert [run.test for run in again.comparison.contenders[2].runs[::2]] == [run.test for run in test.runs]
    assert compare(copied).watcher.left == (0, 0)


def test_handcrafted_losses_that_searches_chose_are_told_from_one_another(compare, copied):
    for name, left in (("focal", 2), ("focal", 0), ("focal(gamma=3)", 2), ("label_smoothed_cross_entropy", 2)):
        HandcraftedLoss(name).save(copied / "searches/taylorglo-seed0/loss.json")
        assert compare(copied).watcher.left == (0, left)


def test_of_handcrafted_losses_an_older_journal_says_the_names_alone(compare, copied):
    file = copied / "trainings.jsonl"
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    plain = [line | {"loss": None} if line["contender"] == "cross_entropy" else line for line in lines]
    assert plain != lines
    file.write_text("".join(json.dumps(line) + "\n" for line in plain))
    assert compare(copied).watcher.left == (0, 0)


def test_a_loss_file_that_was_written_anew_is_trained_with_again(compare, tmp_path):
    file = tmp_path / "mine.json"
    for slope, left in ((1.0, 8), (1.0, 0), (2.0, 4)):
        TaylorLoss([0, 0, 0, 0, 0, slope, 0, 0], **CLASSES).save(file)
        assert compare(methods=(str(file),)).watcher.left == (0, left)
    for name, left in (("focal", 4), ("focal", 0), ("focal(gamma=3)", 4)):
        HandcraftedLoss(name).save(file)
        assert compare(methods=(str(file),)).watcher.left == (0, left)


def test_a_search_that_was_interrupted_is_not_finished(compare, finished, monkeypatch):
    from evomal.evaluation.evaluator import Evaluator

    true_evaluate, calls = Evaluator.evaluate, []

    def evaluate(self, members, done):
        calls.append(members)
        if len(calls) == 2:  # the second generation of the first search
            raise KeyboardInterrupt
        return true_evaluate(self, members, done)

    monkeypatch.setattr(Evaluator, "evaluate", evaluate)
    with pytest.raises(KeyboardInterrupt):
        compare()
    monkeypatch.undo()
    again = compare()
    assert again.watcher.left == (4, 12)
    assert again.timeless == finished.timeless


def test_force_starts_anew(compare, copied, finished):
    again = compare(copied, force=True)
    assert again.watcher.left == (4, 12)
    assert again.timeless == finished.timeless


def test_settings_that_differ_are_refused_before_anything_is_done(compare, copied, recorder):
    before = shutil.copytree(copied, copied.with_name("before"))
    watcher = recorder()
    with pytest.raises(EvomalError, match=r"\(training: steps was 15, now 16\)"):
        compare(copied, watcher=watcher, steps=16)
    assert watcher.left is None
    for path in before.rglob("*.json*"):
        assert (copied / path.relative_to(before)).read_bytes() == path.read_bytes()
