"""Landscapes: the network itself in the middle, directions as long as its filters."""

import pytest
import torch
from torch import nn

from evomal.analysis.landscape import Landscape, _direction, landscape
from evomal.config import train_settings
from evomal.losses import HandcraftedLoss
from evomal.report.figures import plot_landscape, plot_surface
from evomal.tasks import Task, named_task
from evomal.tasks.augmentation import Augmentation, Normalisation
from evomal.tasks.splits import Split


@pytest.fixture(scope="module")
def found():
    task = named_task("iris", "linear")
    settings = train_settings("quick", steps=60)
    loss = HandcraftedLoss("cross_entropy")
    return [landscape(task, loss, settings, 0.1), landscape(task, loss, settings, 0.1)]


def test_the_same_seed_gives_the_same_landscape_with_the_network_near_its_lowest_point(found):
    assert found[0] == found[1]
    values = torch.tensor(found[0].values)
    assert values.shape == (21, 21)
    assert found[0].steps[10] == 0
    middle = values[10, 10]
    assert middle < values.quantile(0.2)  # it was trained
    assert values.max() > 1.2 * middle


def test_data_that_are_sorted_by_class_are_looked_at_all_over():
    """Where the first 512 instances are all of class 0, a network that always says 0 would lie in a deep valley."""
    y = torch.arange(1400) // 700
    x = torch.randn(1400, 3, generator=torch.Generator().manual_seed(0)) + y[:, None]
    seen = []

    def watched(outputs, targets):
        seen.append(targets)
        return nn.functional.cross_entropy(outputs, targets)

    task = Task(lambda: nn.Linear(3, 2), (x, y), task_loss=watched)
    landscape(task, HandcraftedLoss("cross_entropy"), train_settings(steps=1), 0.1)
    assert all(labels.bincount().tolist() == [256, 256] for labels in seen[-21 * 21 :])


def test_images_are_looked_at_as_they_are_though_training_augments_them():
    images = torch.randint(0, 256, (40, 1, 6, 6), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    seen = []

    class Watching(nn.Linear):
        def forward(self, x):
            seen.append(x.detach())
            return super().forward(x.flatten(1))

    normal = Normalisation((100.0,), (50.0,))
    train = Split(images, torch.arange(40) % 2, normal, Augmentation())
    task = Task(lambda: Watching(36, 2), train, train.subset(torch.arange(10)), task_type="classification")
    landscape(task, HandcraftedLoss("cross_entropy"), train_settings(steps=2, batch_size=40), 0.1)
    plain = (images.float() - 100) / 50
    assert all(torch.equal(x, plain) for x in seen[-21 * 21 :])
    batch = next(x for x in seen if len(x) == 40)
    assert not any(torch.equal(row, other) for row in batch[:1] for other in plain)  # while training augments


def test_directions_are_as_long_as_filters_and_leave_biases_alone():
    model = nn.Sequential(nn.Conv2d(2, 5, 3), nn.Flatten(), nn.Linear(7, 4))
    weights = {name: value.detach() for name, value in model.named_parameters()}
    one, two = (_direction(weights, 0, number) for number in (0, 1))
    for name, value in weights.items():
        if value.dim() > 1:
            torch.testing.assert_close(one[name].flatten(1).norm(dim=1), value.flatten(1).norm(dim=1))
            assert not torch.equal(one[name], two[name])
        else:
            assert not one[name].any()


def test_landscapes_are_drawn_on_one_scale(found):
    ax = plot_landscape({"cross_entropy": found[0], "mse": found[1]})
    titles = [each.get_title("left") for each in ax.get_figure().axes]
    assert titles[:2] == ["cross_entropy", "mse"]


def test_sharpness_of_a_bowl_is_what_its_formula_says():
    steps = tuple(number / 10 for number in range(-10, 11))
    bowl = Landscape(steps, tuple(tuple(1 + a * a + 3 * b * b for a in steps) for b in steps), None)
    found = bowl.sharpness
    assert found.centre == 1
    assert found.curvature == pytest.approx((2 + 6) / 2)
    assert found.most == pytest.approx(100 * 4 / 2)
    assert found.rise == pytest.approx(
        0.5**2 * (1 + 3) / 2, rel=0.1
    )  # the mean over a circle, of the few points near it


def test_surfaces_share_their_axes(found):
    axes = plot_surface({"cross_entropy": found[0], "mse": found[1]}).get_figure().axes
    assert axes[0].get_zlim() == axes[1].get_zlim()
    assert [each.get_title("left") or each.get_title() for each in axes] == ["cross_entropy", "mse"]
