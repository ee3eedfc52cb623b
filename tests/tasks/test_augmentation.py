"""Augmentation of whole batches: crops and flips as done image by image, and what a batch depends on."""

import pickle
from dataclasses import replace

import pytest
import torch
from torch import nn

import evomal
from evomal.foundation.errors import DataError, SettingError, UnknownNameError
from evomal.tasks import named_task
from evomal.tasks.augmentation import AUGMENTATIONS, Augmentation, Normalisation, get_augmentation
from evomal.tasks.datasets.data import Raw, prepare
from evomal.tasks.splits import Split


def images(count=200, channels=2, height=6, width=7):
    g = torch.Generator().manual_seed(0)
    return torch.randint(1, 256, (count, channels, height, width), generator=g, dtype=torch.uint8)


def possible(image, pad, flip):
    """Every crop, mirrored or not, of one image, by slicing."""
    height, width = image.shape[1:]
    framed = torch.zeros(len(image), height + 2 * pad, width + 2 * pad, dtype=image.dtype)
    framed[:, pad : pad + height, pad : pad + width] = image
    crops = {}
    for top in range(2 * pad + 1):
        for left in range(2 * pad + 1):
            crop = framed[:, top : top + height, left : left + width]
            crops[crop.numpy().tobytes()] = (top, left, 0)
            if flip:
                crops[crop.flip(2).numpy().tobytes()] = (top, left, 1)
    return crops


@pytest.mark.parametrize(("pad", "flip"), [(4, True), (2, False), (0, True)])
def test_every_image_becomes_one_of_its_crops_and_all_of_them_come_about(pad, flip):
    x, augmentation = images(), Augmentation(pad, flip)
    out = augmentation(x, torch.arange(len(x)))
    assert out.shape == x.shape
    assert out.dtype == x.dtype
    seen = [possible(image, pad, flip)[result.numpy().tobytes()] for image, result in zip(x, out, strict=True)]
    tops, lefts, mirrored = zip(*seen, strict=True)
    assert set(tops) == set(lefts) == set(range(2 * pad + 1))
    assert set(mirrored) == ({0, 1} if flip else {0})


def test_places_are_equally_likely():
    x = torch.zeros(40_000, 1, 3, 3, dtype=torch.uint8)
    x[:, :, 1, 1] = 255
    out = Augmentation(pad=1, flip=False)(x, torch.arange(40_000))
    counts = (out[:, 0] == 255).float().mean(0)
    assert (counts - 1 / 9).abs().max() < 0.01


def test_a_batch_looks_alike_whoever_takes_it_and_different_in_other_company():
    x, augmentation = images(64), Augmentation()
    index = torch.arange(64)
    torch.manual_seed(0)
    first = augmentation(x, index)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    assert torch.equal(augmentation(x, index), first)
    assert torch.equal(torch.get_rng_state(), before)
    order = torch.randperm(64, generator=torch.Generator().manual_seed(2))
    other = augmentation(x[order], index[order])
    assert (other != first[order]).flatten(1).any(1).float().mean() > 0.8


def test_batches_of_a_training_follow_from_seed_and_step_alone():
    x, y = images(40), torch.arange(40) % 2
    task = evomal.Task(lambda: nn.Flatten(), (x, y), (x, y), augmentation="crop-flip")
    a, b = (evomal.tasks.Batches(40, 8, 3, "x") for _ in range(2))
    pairs = [(a.index(step), b.index(step)) for step in (7, 0, 7)]
    assert all(torch.equal(task.train.take(i)[0], task.train.take(j)[0]) for i, j in pairs)
    assert torch.equal(task.valid.take(a.index(0))[0], x[a.index(0)])


def test_the_part_that_is_split_off_is_not_augmented():
    x, y = images(40), torch.arange(40) % 2
    split = Split(x, y, Normalisation((1.0,), (2.0,)), Augmentation())
    task = evomal.Task(lambda: nn.Flatten(), split)
    assert task.train.augmentation == Augmentation()
    assert task.valid.augmentation is None
    assert task.valid.normalisation == task.train.normalisation
    assert task.valid.take(torch.arange(4))[0].dtype == torch.float32


def test_grey_images_which_are_normalised_before_are_padded_with_black():
    raw = torch.randint(1, 256, (40, 1, 6, 6), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    for x in (raw, raw.double() / 255):
        data = prepare("grey", Raw(x, torch.arange(40) % 2), 2)
        grey, black = replace(data, augmentation=Augmentation(flip=False)).splits[0], data.black
        assert black == pytest.approx(-float(x.double().mean() / x.double().std()), rel=0.1)
        assert black < float(grey.x.min())  # no pixel is 0
        taken = grey.take(torch.arange(len(grey)))[0]
        left = [image for image, own in zip(taken, grey.x, strict=True) if not torch.equal(image, own)]
        assert all(bool((image == image.new_tensor(black)).any()) for image in left)
        assert not bool((taken == 0).any())
    # Fingerprints hold these texts.
    assert repr(Augmentation()) == "Augmentation(pad=4, flip=True)"
    assert repr(Augmentation(black=-0.5)) == "Augmentation(pad=4, flip=True, black=-0.5)"


def test_views_count_in_the_fingerprint_and_travel_to_workers():
    x, y = images(40), torch.arange(40) % 2
    tasks = [evomal.Task(lambda: nn.Flatten(), (x, y), (x, y), augmentation=name) for name in AUGMENTATIONS]
    assert len({task.fingerprint for task in tasks}) == len(AUGMENTATIONS)
    sent = pickle.loads(pickle.dumps(tasks[-1].train))
    index = torch.arange(9)
    assert torch.equal(sent.take(index)[0], tasks[-1].train.take(index)[0])
    assert sent.to("cpu").subset(index).map_targets(torch.neg).augmentation == Augmentation()


@pytest.mark.parametrize("channels", [1, 3])
def test_normalisation(channels):
    x = images(5, channels=3)
    mean, deviation = (1.5, 2.5, 3.5)[:channels], (2.0, 4.0, 8.0)[:channels]
    ours = Normalisation(mean, deviation)(x)
    for channel in range(3):
        m, d = (mean[channel], deviation[channel]) if channels == 3 else (mean[0], deviation[0])
        torch.testing.assert_close(ours[:, channel], (x[:, channel].float() - m) / d)


def test_bad_augmentations():
    x, y = torch.randn(20, 3), torch.arange(20) % 2
    with pytest.raises(UnknownNameError, match="unknown augmentation 'crops'; did you mean 'crop'"):
        get_augmentation("crops")
    with pytest.raises(SettingError, match="an augmentation with pad 0 and flip False does nothing; give None"):
        Augmentation(0, False)
    with pytest.raises(SettingError, match="an augmentation with pad -1 and flip True does nothing"):
        Augmentation(-1)
    with pytest.raises(DataError) as caught:
        evomal.Task(lambda: nn.Linear(3, 2), (x, y), name="mine", augmentation="flip")
    assert str(caught.value) == (
        "the training split of data set 'mine' has instances of shape [3], and only images [channels, height, width] "
        "can be cropped and flipped; leave the augmentation out"
    )
    with pytest.raises(DataError) as named:
        named_task("iris", "linear", augmentation="crop")
    assert str(named.value) == (
        "data set 'iris' has instances of shape [4], and only images [channels, height, width] can be cropped and "
        "flipped; leave the augmentation out"
    )
    with pytest.raises(SettingError, match="augmentation is a int; give an Augmentation, or a name"):
        evomal.Task(lambda: nn.Linear(3, 2), (x, y), augmentation=4)
    items = [(torch.randn(1, 4, 4), i % 2) for i in range(20)]
    with pytest.raises(SettingError, match="is a lazy data set; augment in its own code, and leave augmentation out"):
        evomal.Task(lambda: nn.Flatten(), items, items, resident=False, augmentation="crop")
