"""Random images in the shapes of the paper's data sets: what can be measured on them needs no data set."""

import torch

from evomal.foundation.seeds import generator
from evomal.reproduction.numbers import STAND_INS
from evomal.tasks import Task
from evomal.tasks.models import ModelFactory

SHAPES = {"mnist": (1, 28, 28)}
SHAPES |= {name: SHAPES[own] for name, own in STAND_INS.items() if own in SHAPES}
COLOURED = (3, 32, 32)
CLASSES = {"cifar100": 100}


def made_up_task(dataset: str, model: str, device: str = "cpu", count: int = 256) -> Task:
    """A task of random images in the shape of a data set's, so that nothing needs to be there.

    Example:
        >>> made_up_task("cifar100", "linear", count=8).train.take(torch.arange(4))[0].shape
        torch.Size([4, 3, 32, 32])
    """
    shape, classes = SHAPES.get(dataset, COLOURED), CLASSES.get(dataset, 10)
    draw = generator(0, "reproduction", dataset, count)
    x = torch.randn(count, *shape, generator=draw)
    split = (x, torch.arange(count) % classes)
    factory = ModelFactory(model, shape, classes)
    return Task(factory, split, split, name="made up", model_name=model, task_type="classification", device=device)


def operations(dataset: str, model: str) -> int:
    """Multiplications and additions of a prediction for one instance of a data set's shape.

    Example:
        >>> operations("mnist", "linear") == 2 * 28 * 28 * 10
        True
    """
    from torch.utils.flop_counter import FlopCounterMode

    shape = SHAPES.get(dataset, COLOURED)
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        ModelFactory(model, shape, CLASSES.get(dataset, 10))().eval()(torch.empty(1, *shape))
    return int(counter.get_total_flops())
