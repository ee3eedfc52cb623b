import gc
import weakref

import torch

from evomal.config import learn_settings
from evomal.local_search.meta_batches import MetaBatches
from evomal.local_search.resident import resident_course
from helpers import tasks


def _course(task):
    settings = learn_settings(batch_size=8, meta_steps=3)
    return MetaBatches(task, settings.local_search, settings.base, 0)


def test_a_resident_course_has_the_networks_and_batches_of_the_course():
    task = tasks.blobs()
    course = _course(task)
    resident = resident_course(course, 3)
    for number in range(3):
        (x, y), _ = resident.at(torch.tensor([number]))
        rows = course.train_rows.index(number)
        assert torch.equal(x, task.train.take(rows)[0])
        assert torch.equal(y, task.train.take(rows)[1])
        fresh = course.model(number)
        assert all(torch.equal(*pair) for pair in zip(resident.model.parameters(), fresh.parameters(), strict=True))
    assert resident_course(course, 2) is resident


def test_what_is_kept_for_a_task_goes_with_it():
    def seen():
        task = tasks.blobs()
        assert resident_course(_course(task), 3) is not None
        return weakref.ref(task)

    kept = seen()
    gc.collect()
    assert kept() is None
