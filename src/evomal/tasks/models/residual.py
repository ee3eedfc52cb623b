"""Residual networks for small images: ResNet-18, PreResNet-101, WideResNet 28-10, PyramidNet-110."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from evomal.tasks.models.images import (
    RESNET_LEAST,
    channels_of,
    convolution3,
    global_average,
    initialise,
    scaled,
)


class BasicBlock(nn.Module):
    """Two 3×3 convolutions, each normalised, the second added to its inputs before it is rectified.

    Args:
        before: Channels of its inputs.
        channels: Channels of its outputs.
        stride: By which maps are reduced.
    """

    def __init__(self, before: int, channels: int, stride: int) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            *(convolution3(before, channels, stride), nn.BatchNorm2d(channels), nn.ReLU()),
            *(convolution3(channels, channels), nn.BatchNorm2d(channels)),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or before != channels:
            projection = nn.Conv2d(before, channels, kernel_size=1, stride=stride, bias=False)
            self.shortcut = nn.Sequential(projection, nn.BatchNorm2d(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Maps [B, channels, …] of x [B, before, …]."""
        return torch.relu(self.residual(x) + self.shortcut(x))


class PreActivation(nn.Module):
    """A residual block that normalises and rectifies before each convolution.

    Args:
        before: Channels of its inputs.
        convolutions: At least one; the first takes `before` channels.
        shortcut: A convolution for the inputs where shapes change; it sees the rectified inputs. None adds them as
            they are.
        dropout: Share of units dropped before the last convolution.
    """

    def __init__(
        self, before: int, convolutions: list[nn.Conv2d], shortcut: nn.Conv2d | None, dropout: float = 0.0
    ) -> None:
        super().__init__()
        first, *others = convolutions
        self.activation = nn.Sequential(nn.BatchNorm2d(before), nn.ReLU())
        layers: list[nn.Module] = [first]
        for convolution in others:
            layers += [nn.BatchNorm2d(convolution.in_channels), nn.ReLU()]
            if dropout and convolution is others[-1]:
                layers.append(nn.Dropout(dropout))
            layers.append(convolution)
        self.residual = nn.Sequential(*layers)
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        """Maps [B, channels, …] of x [B, before, …]."""
        active = self.activation(x)
        result: Tensor = torch.add(self.residual(active), x if self.shortcut is None else self.shortcut(active))
        return result


class PyramidBlock(nn.Module):
    """PyramidNet's block: its channels grow a little; inputs are averaged over 2×2 and filled up with zero maps.

    Args:
        before: Channels of its inputs.
        channels: Channels of its outputs, at least as many.
        stride: By which maps are reduced, 1 or 2.
    """

    def __init__(self, before: int, channels: int, stride: int) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            *(nn.BatchNorm2d(before), convolution3(before, channels, stride)),
            *(nn.BatchNorm2d(channels), nn.ReLU(), convolution3(channels, channels), nn.BatchNorm2d(channels)),
        )
        self.shortcut = nn.AvgPool2d(2, ceil_mode=True) if stride == 2 else nn.Identity()
        self.added = channels - before

    def forward(self, x: Tensor) -> Tensor:
        """Maps [B, channels, …] of x [B, before, …]."""
        result: Tensor = self.residual(x) + functional.pad(self.shortcut(x), (0, 0, 0, 0, 0, self.added))
        return result


class _Residual(nn.Module):
    """A stem, blocks, and the average over all places."""

    stem: nn.Module
    blocks: nn.Module
    output: nn.Module

    def forward(self, x: Tensor) -> Tensor:
        """Outputs [B, outputs] of images x [B, channels, height, width]."""
        result: Tensor = self.output(global_average(self.blocks(self.stem(x))))
        return result


class ResNet18(_Residual):
    """ResNet-18 for small images: eight basic blocks of 64 to 512 channels; 11.2 million parameters for ten classes.

    Its first convolution is 3×3 without stride and nothing is pooled after it, as for all networks on 32×32 of the
    paper that introduced residual networks.

    Args:
        input_shape: [channels, height, width], 8 pixels or more.
        outputs: Number of classes, or of targets.
        width: Factor on all channels.

    Raises:
        ModelError: Inputs are no images of that size.

    Example:
        >>> sum(parameter.numel() for parameter in ResNet18((3, 32, 32), 10).parameters())
        11173962

    Source: He, Zhang, Ren, Sun, "Deep residual learning for image recognition", 2015, Table 1 and Section 4.2.
    """

    def __init__(self, input_shape: tuple[int, ...], outputs: int, width: float = 1.0) -> None:
        super().__init__()
        before = scaled(64, width)
        channels = channels_of("resnet18", input_shape, least=RESNET_LEAST)
        self.stem = nn.Sequential(convolution3(channels, before), nn.BatchNorm2d(before), nn.ReLU())
        blocks: list[nn.Module] = []
        for stage, count in enumerate((64, 128, 256, 512)):
            for place in range(2):
                blocks.append(BasicBlock(before, scaled(count, width), stride=2 if stage and not place else 1))
                before = scaled(count, width)
        self.blocks = nn.Sequential(*blocks)
        self.output = nn.Linear(before, outputs)
        initialise(self, last=self.output)


class PreResNet101(_Residual):
    """PreResNet-101 for small images: 33 bottleneck blocks with pre-activation; 42.5 million parameters.

    Args:
        input_shape: [channels, height, width], 8 pixels or more.
        outputs: Number of classes, or of targets.
        width: Factor on all channels.

    Raises:
        ModelError: Inputs are no images of that size.

    Example:
        >>> PreResNet101((3, 32, 32), 10, width=0.125)(torch.zeros(2, 3, 32, 32)).shape
        torch.Size([2, 10])

    Source: He, Zhang, Ren, Sun, "Identity mappings in deep residual networks", 2016; its blocks in the numbers of
    ResNet-101 (2015, Table 1).
    """

    STAGES = ((64, 3), (128, 4), (256, 23), (512, 3))  # inner channels, blocks
    EXPANSION = 4

    def __init__(self, input_shape: tuple[int, ...], outputs: int, width: float = 1.0) -> None:
        super().__init__()
        before = scaled(64, width)
        self.stem = convolution3(channels_of("preresnet101", input_shape, least=8), before)
        blocks: list[nn.Module] = []
        for stage, (count, number) in enumerate(self.STAGES):
            for place in range(number):
                inner = scaled(count, width)
                blocks.append(self._bottleneck(before, inner, stride=2 if stage and not place else 1))
                before = self.EXPANSION * inner
        self.blocks = nn.Sequential(*blocks, nn.BatchNorm2d(before), nn.ReLU())
        self.output = nn.Linear(before, outputs)
        initialise(self, last=self.output)

    def _bottleneck(self, before: int, inner: int, stride: int) -> PreActivation:
        after = self.EXPANSION * inner
        convolutions = [
            nn.Conv2d(before, inner, kernel_size=1, bias=False),
            convolution3(inner, inner, stride),
            nn.Conv2d(inner, after, kernel_size=1, bias=False),
        ]
        same = stride == 1 and before == after
        return PreActivation(before, convolutions, None if same else _projection(before, after, stride))


class WideResNet28(_Residual):
    """WideResNet 28-10: twelve pre-activated blocks of 160 to 640 channels; 36.5 million parameters for ten classes.

    Args:
        input_shape: [channels, height, width], 4 pixels or more.
        outputs: Number of classes, or of targets.
        width: Factor on all channels; 0.1 gives the network of usual width, WRN-28-1, but for its first convolution.
        dropout: Share of units dropped between the two convolutions of a block; the paper has 0.3, or none.

    Raises:
        ModelError: Inputs are no images of that size.

    Example:
        >>> sum(parameter.numel() for parameter in WideResNet28((3, 32, 32), 10).parameters())
        36479194

    Source: Zagoruyko, Komodakis, "Wide residual networks", 2016, Table 1.
    """

    BLOCKS = 4  # in each of three stages: (28 - 4) / 6

    def __init__(self, input_shape: tuple[int, ...], outputs: int, width: float = 1.0, *, dropout: float = 0.0) -> None:
        super().__init__()
        before = scaled(16, width)
        self.stem = convolution3(channels_of("wideresnet28-10", input_shape, least=4), before)
        blocks: list[nn.Module] = []
        for stage, count in enumerate((160, 320, 640)):
            for place in range(self.BLOCKS):
                after, stride = scaled(count, width), 2 if stage and not place else 1
                convolutions = [convolution3(before, after, stride), convolution3(after, after)]
                shortcut = None if stride == 1 and before == after else _projection(before, after, stride)
                blocks.append(PreActivation(before, convolutions, shortcut, dropout))
                before = after
        self.blocks = nn.Sequential(*blocks, nn.BatchNorm2d(before), nn.ReLU())
        self.output = nn.Linear(before, outputs)
        initialise(self, last=self.output)


class PyramidNet110(_Residual):
    """PyramidNet-110 with α = 48: 54 blocks whose channels grow from 16 to 64; 1.77 million parameters.

    Block k of N has the whole number nearest to 16 + αk/N channels. (The paper's Equation 2, taken by its letter,
    rounds down at every step and would never grow.)

    Args:
        input_shape: [channels, height, width], 4 pixels or more.
        outputs: Number of classes, or of targets.
        width: Factor on all channels, α too.

    Raises:
        ModelError: Inputs are no images of that size.

    Example:
        >>> sum(parameter.numel() for parameter in PyramidNet110((3, 32, 32), 10).parameters())
        1772706

    Source: Han, Kim, Kim, "Deep pyramidal residual networks", 2017, Table 1 and Figure 6d.
    """

    BLOCKS = 18  # in each of three stages: (110 - 2) / 6
    START, ALPHA = 16, 48

    def __init__(self, input_shape: tuple[int, ...], outputs: int, width: float = 1.0) -> None:
        super().__init__()
        before, number = scaled(self.START, width), 3 * self.BLOCKS
        channels = channels_of("pyramidnet110", input_shape, least=4)
        self.stem = nn.Sequential(convolution3(channels, before), nn.BatchNorm2d(before))
        blocks: list[nn.Module] = []
        for place in range(number):
            after = scaled(self.START + self.ALPHA * (place + 1) / number, width)
            blocks.append(PyramidBlock(before, after, stride=2 if place in (self.BLOCKS, 2 * self.BLOCKS) else 1))
            before = after
        self.blocks = nn.Sequential(*blocks, nn.BatchNorm2d(before), nn.ReLU())
        self.output = nn.Linear(before, outputs)
        initialise(self, last=self.output)


def _projection(before: int, after: int, stride: int) -> nn.Conv2d:
    return nn.Conv2d(before, after, kernel_size=1, stride=stride, bias=False)
