import pickle

import pytest
import torch
from torch import nn

from evomal.foundation.errors import SettingError
from evomal.tasks import Task, TaskSet


def _task(name="one", **options):
    draw = torch.Generator().manual_seed(0)
    x, y = torch.randn(40, 3, generator=draw), torch.arange(40) % 2
    return Task(lambda: nn.Linear(3, 2), (x, options.pop("y", y)), name=name, **options)


def _regression(name="line"):
    return Task(lambda: nn.Linear(3, 1), (torch.randn(40, 3), torch.randn(40)), task_loss="mse", name=name)


def _elsewhere():
    """A task on a device that every machine has; its data cannot be read there, so it is known by name first."""
    task = _task("two")
    return task.to("meta") if task.fingerprint else task


def test_a_set_is_a_sequence_of_its_tasks():
    first, second = _task("one"), _task("two", metric="macro_f1", task_loss="focal")
    both = TaskSet((first, second))
    assert (len(both), list(both), both[1], first in both) == (2, [first, second], second, True)
    assert both.name == "one + two"
    assert both.key == f"{first.key}+{second.key}"
    assert (both.task_type, both.device) == ("classification", torch.device("cpu"))
    assert both.metric_name == "error_rate + macro_f1"
    assert both.task_loss_name == "cross_entropy + focal"
    assert TaskSet((first, _task("three"))).metric_name == "error_rate"


def test_a_set_of_one_stands_for_its_task():
    task = _task()
    alone = TaskSet.of(task)
    assert (alone.tasks, alone.key, alone.name) == ((task,), task.key, task.name)
    assert TaskSet.of(alone) is alone
    assert TaskSet.of([task]) == TaskSet.of((task,)) == TaskSet.of(iter([task])) == alone


def test_a_label_is_ignored_if_any_task_ignores_one():
    ignoring = _task("two", y=torch.tensor([0, 1, -100, 1] * 10))
    assert TaskSet((_task(), ignoring)).ignore_index == -100
    assert TaskSet((_task(),)).ignore_index is None


def test_a_set_can_be_sent_to_another_process():
    both = TaskSet((_task("one"), _task("two")))
    there = pickle.loads(pickle.dumps(both))
    assert (there.key, there.name, len(there)) == (both.key, both.name, 2)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (lambda: [], "there is no task to learn on; give at least one"),
        (lambda: "digits", "a task is a str; give an evomal.Task, or a list of them"),
        (lambda: 5, "a task is a int; give an evomal.Task, or a list of them"),
        (lambda: None, "a task is a NoneType; give an evomal.Task, or a list of them"),
        (lambda: [_task(), nn.Linear(1, 1)], "a task is a Linear; give an evomal.Task, or a list of them"),
        (lambda: [_task(), _task()], "a task is there twice in one + one; give each once, or names that differ"),
        (
            lambda: [_task(), _regression()],
            "the tasks one + line are for classification and regression at once; one loss cannot be learned on them",
        ),
        (
            lambda: [_task(), _elsewhere()],
            "the tasks one + two are on different devices; one loss cannot be learned on them",
        ),
    ],
)
def test_what_no_loss_can_be_learned_on(given, message):
    with pytest.raises(SettingError) as caught:
        TaskSet.of(given())
    assert str(caught.value) == message
