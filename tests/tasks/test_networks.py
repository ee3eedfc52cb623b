"""The networks of the paper: published sizes, outputs as from other code with the same weights, and that they learn."""

import pytest
import torch
from pytorchcv.models.preresnet import PreResNet
from pytorchcv.models.pyramidnet_cifar import CIFARPyramidNet, pyramidnet110_a48_cifar100
from pytorchcv.models.resnet import ResNet
from pytorchcv.models.squeezenet import squeezenet_v1_0
from pytorchcv.models.vgg import vgg16
from pytorchcv.models.wrn_cifar import CIFARWRN, wrn28_10_cifar100
from torch import nn
from torch.nn import functional

from evomal.foundation.errors import ModelError, SettingError
from evomal.tasks import MODELS, make_factory
from evomal.tasks.models import ModelFactory
from evomal.tasks.models.convolutional import SqueezeNet
from evomal.tasks.models.images import initialise
from evomal.tasks.models.residual import PreActivation, convolution3

COLOURED = (3, 32, 32)
# Width and image side of a small variant, and the rate at which it learns.
SMALL = {
    "alexnet": (0.25, 16, 0.02),
    "vgg16": (0.0625, 32, 0.05),
    "allcnnc": (0.25, 8, 0.02),
    "squeezenet": (0.25, 8, 0.1),
    "resnet18": (0.0625, 8, 0.1),
    "preresnet101": (0.0625, 8, 0.1),
    "wideresnet28-10": (0.05, 8, 0.1),
    "pyramidnet110": (0.25, 8, 0.1),
}


def parameters(model, without=()):
    return sum(p.numel() for m in model.modules() if not isinstance(m, without) for p in m.parameters(recurse=False))


def full(name, outputs=10, shape=COLOURED):
    with torch.device("meta"):
        return MODELS[name](shape, outputs)


def small(name, seed=0, outputs=10):
    width, side, _ = SMALL[name]
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return MODELS[name]((3, side, side), outputs, width)


def images(name, count, seed=0):
    side = SMALL[name][1]
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(seed))


def test_every_network_of_the_paper_has_a_small_variant_here():
    assert set(MODELS) == {"linear", "mlp", "lenet5", *SMALL}


@pytest.mark.parametrize(
    ("name", "millions", "exactly"),
    [("allcnnc", 1.4, 1_369_738), ("wideresnet28-10", 36.5, 36_479_194), ("pyramidnet110", 1.7, 1_772_706)],
)
def test_sizes_are_the_published_ones_where_the_paper_has_the_network_for_32_by_32(name, millions, exactly):
    """In millions from the networks' papers, and exactly from pytorchcv (All-CNN-C: added up by hand)."""
    assert parameters(full(name)) == exactly
    assert exactly / 1e6 == pytest.approx(millions, abs=0.08)


def test_exact_sizes_are_those_of_pytorchcv():
    with torch.device("meta"):
        assert parameters(full("wideresnet28-10", 100)) == parameters(wrn28_10_cifar100())
        assert parameters(full("pyramidnet110", 100)) == parameters(pyramidnet110_a48_cifar100())


def _stem(channels, side, bias=False):
    return channels * (3 * side * side + bias)


@pytest.mark.parametrize(
    ("name", "theirs", "stems"),
    [
        # Torchvision and pytorchcv agree on these numbers for 224×224 and 1,000 classes; ours differ by the stem.
        ("resnet18", 11_689_512, _stem(64, 3) - _stem(64, 7)),
        ("preresnet101", 44_541_608, _stem(64, 3) - _stem(64, 7) - 2 * 64),  # theirs normalises after the stem
        ("squeezenet", 1_248_424, _stem(96, 3, True) - _stem(96, 7, True)),
    ],
)
def test_sizes_are_those_of_imagenet_networks_but_for_the_stem(name, theirs, stems):
    without = nn.BatchNorm2d if name == "squeezenet" else ()  # of which the paper has none
    assert parameters(full(name, outputs=1000), without) == theirs + stems


def test_the_convolutions_of_vgg16_and_squeezenet_are_theirs():
    with torch.device("meta"):
        theirs, fires = vgg16(), squeezenet_v1_0()
    assert shapes(full("vgg16"), nn.Conv2d) == shapes(theirs, nn.Conv2d)
    assert shapes(full("squeezenet", outputs=1000), nn.Conv2d)[1:] == shapes(fires, nn.Conv2d)[1:]


def shapes(model, kind):
    return [module.weight.shape for module in model.modules() if isinstance(module, kind)]


def test_alexnet_has_the_size_that_its_layers_add_up_to():
    convolutions = [(3, 64), (64, 192), (192, 384), (384, 256), (256, 256)]
    hidden = [(256 * 2 * 2, 4096), (4096, 4096), (4096, 10)]
    expected = sum(9 * a * b + b for a, b in convolutions) + sum(a * b + b for a, b in hidden)
    assert parameters(full("alexnet")) == expected == 23_272_266


def _wrn():
    return CIFARWRN([[8] * 4, [16] * 4, [32] * 4], init_block_channels=1, in_size=(8, 8))


def _pyramid():
    growing = [round(4 + 12 * (k + 1) / 54) for k in range(54)]
    return CIFARPyramidNet([growing[:18], growing[18:36], growing[36:]], 4, bottleneck=False, in_size=(8, 8))


def _resnet():
    theirs = ResNet([[4] * 2, [8] * 2, [16] * 2, [32] * 2], 4, bottleneck=False, conv1_stride=False, num_classes=10)
    theirs.features.init_block = nn.Sequential(convolution3(3, 4), nn.BatchNorm2d(4), nn.ReLU())
    return theirs


def _preresnet():
    stages = [[16] * 3, [32] * 4, [64] * 23, [128] * 3]
    theirs = PreResNet(stages, 4, bottleneck=True, conv1_stride=False, num_classes=10)
    theirs.features.init_block = convolution3(3, 4)
    return theirs


@pytest.mark.parametrize(
    ("name", "theirs"),
    [("wideresnet28-10", _wrn), ("pyramidnet110", _pyramid), ("resnet18", _resnet), ("preresnet101", _preresnet)],
)
@pytest.mark.parametrize("training", [True, False])
def test_with_the_same_weights_residual_networks_give_what_pytorchcv_gives(name, theirs, training):
    ours, other = small(name).double(), theirs().double()
    for kind in (nn.Conv2d, nn.BatchNorm2d, nn.Linear):
        pairs = zip(layers(ours, kind), layers(other, kind), strict=True)
        for own, their in pairs:
            their.load_state_dict(own.state_dict())
    for module in other.modules():  # their last pooling is for the full image size
        if isinstance(module, nn.AvgPool2d) and module.kernel_size != 2:
            module.kernel_size = images(name, 1).shape[2] // (8 if "resnet1" in name else 4)
    x = images(name, 4).double()
    torch.testing.assert_close(ours.train(training)(x), other.train(training)(x))


def layers(model, kind):
    return [module for module in model.modules() if isinstance(module, kind)]


@pytest.mark.parametrize("name", SMALL)
def test_a_small_variant_overfits_64_images(name):
    """A wrong wire would show: labels are random, so that only what sees the images can learn them."""
    model, x = small(name), images(name, 64)
    y = torch.randint(0, 10, (64,), generator=torch.Generator().manual_seed(1))
    for dropout in layers(model, nn.Dropout):
        dropout.p = 0.0
    optimizer = torch.optim.SGD(model.parameters(), lr=SMALL[name][2], momentum=0.9)
    for _ in range(300):
        loss = functional.cross_entropy(model(x), y)
        if loss.item() < 0.3:
            break
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.3
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters() if p.requires_grad)


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize(("shape", "outputs"), [((1, 32, 32), 1), ((4, 36, 33), 7)])
def test_channels_sizes_and_outputs_are_parameters(name, shape, outputs):
    model = MODELS[name](shape, outputs, 0.03)
    assert model(torch.zeros(2, *shape)).shape == (2, outputs)


@pytest.mark.parametrize("name", [*SMALL, "mlp", "lenet5"])
def test_the_width_scales_what_is_hidden(name):
    shape = (1, 28, 28) if name == "lenet5" else COLOURED
    with torch.device("meta"):
        thin, usual = MODELS[name](shape, 10, 0.5), MODELS[name](shape, 10)
    assert 0.15 < parameters(thin) / parameters(usual) < 0.55


def test_a_network_on_another_kind_of_input_says_what_it_takes():
    with pytest.raises(ModelError) as caught:
        make_factory("resnet18", ModelFactory("", (30,), 2))
    assert str(caught.value) == (
        "model 'resnet18' takes images of shape [channels, height, width], but instances have shape [30]; choose "
        "'mlp' or 'linear'"
    )
    with pytest.raises(ModelError) as caught:
        make_factory("vgg16", ModelFactory("", (1, 28, 28), 10))
    assert str(caught.value) == (
        "model 'vgg16' takes images of 32×32 pixels or more, but instances have shape [1, 28, 28]; choose a network "
        "for smaller ones, such as 'resnet18', or 'mlp'"
    )
    with pytest.raises(ModelError, match=r"8×8 pixels or more, but instances have shape \[3, 7, 7\]; choose 'mlp'$"):
        make_factory("resnet18", ModelFactory("", (3, 7, 7), 10))


@pytest.mark.parametrize(
    ("shape", "advice"),
    [
        ((28, 28), "give them a channel (x[:, None])"),
        ((32, 32, 3), "bring the channels first (numpy.moveaxis(x, -1, 1))"),
    ],
)
def test_images_whose_channels_are_elsewhere_are_told_what_to_do(shape, advice):
    with pytest.raises(ModelError) as caught:
        make_factory("wideresnet28-10", ModelFactory("", shape, 10))
    assert str(caught.value) == (
        f"model 'wideresnet28-10' takes images of shape [channels, height, width], but instances have shape "
        f"{list(shape)}; {advice}, or choose 'mlp' or 'linear'"
    )


@pytest.mark.parametrize("width", [0, -1, float("nan"), 17])
def test_a_width_out_of_range(width):
    with pytest.raises(SettingError, match=r"width is .*; choose a factor above 0 and up to 16, such as 0\.25"):
        make_factory("vgg16", ModelFactory("", COLOURED, 10), width)


def test_a_linear_model_has_no_width():
    with pytest.raises(ModelError) as caught:
        make_factory("linear", ModelFactory("", (3,), 2), 0.5)
    assert str(caught.value) == "model 'linear' has no hidden units, so no width of 0.5; leave the width out"


def test_initial_weights_are_those_of_the_paper():
    model = nn.Sequential(nn.Conv2d(8, 64, 3), nn.Linear(300, 400), last := nn.Linear(400, 300))
    initialise(model, last)
    for layer, gain, fan in ((model[0], 2, 72), (model[1], 2, 300), (last, 1, 400)):
        assert layer.weight.std().item() == pytest.approx((gain / fan) ** 0.5, rel=0.05)
        assert not layer.bias.any()


@pytest.mark.parametrize("name", SMALL)
def test_untrained_outputs_are_of_a_size_that_can_be_learned_from(name):
    x = images(name, 16)
    deviation = small(name).train()(x).std().item()
    assert 0.02 < deviation < 5


def test_squeezenet_is_bypassed_where_channels_agree():
    model = small("squeezenet")
    assert isinstance(model, SqueezeNet)
    x = model.stem(images("squeezenet", 2))
    for fire in model.fires:
        for part in (fire.squeeze[0], fire.one, fire.three):
            nn.init.zeros_(part.weight)
    first = model.fires[0](x)
    assert first.shape[1] != x.shape[1]
    assert not first.any()
    assert not model.train()(images("squeezenet", 2)).any()  # every bypass goes on from nothing


def test_dropout_of_a_wide_block_is_between_its_convolutions():
    block = PreActivation(4, [convolution3(4, 4), convolution3(4, 4)], None, dropout=0.3)
    kinds = [type(layer).__name__ for layer in block.residual]
    assert kinds == ["Conv2d", "BatchNorm2d", "ReLU", "Dropout", "Conv2d"]
    with torch.device("meta"):
        assert len(layers(MODELS["wideresnet28-10"](COLOURED, 10, dropout=0.3), nn.Dropout)) == 12
