"""Networks whose convolutions follow one another: AlexNet, VGG-16, All-CNN-C, SqueezeNet; fitted to 32×32 images."""

import torch
from torch import Tensor, nn

from evomal.tasks.models.images import channels_of, convolution3, global_average, initialise, scaled


class AlexNet(nn.Module):
    """AlexNet for small images: five convolutions, two hidden layers of 4,096; 23.3 million parameters for ten classes.

    Channels 64–192–384–256–256, the form for one GPU. Made for 224×224, it is fitted to 32×32 by 3×3 kernels, a first
    stride of 2 and pooling over 2×2, as the paper's experiments have it; without local response normalisation.

    Args:
        input_shape: [channels, height, width], 16 pixels or more.
        outputs: Number of classes, or of targets.
        width: Factor on all channels and hidden units.
        dropout: Share of units dropped before each hidden layer.

    Raises:
        ModelError: Inputs are no images of that size.

    Example:
        >>> AlexNet((3, 32, 32), 10, width=0.25)(torch.zeros(2, 3, 32, 32)).shape
        torch.Size([2, 10])

    Source:
        Krizhevsky, Sutskever, Hinton, "ImageNet classification with deep convolutional neural networks", 2012;
        Krizhevsky, "One weird trick for parallelizing convolutional neural networks", 2014 (its channels).
    """

    def __init__(self, input_shape: tuple[int, ...], outputs: int, width: float = 1.0, *, dropout: float = 0.5) -> None:
        super().__init__()
        channels = channels_of("alexnet", input_shape, least=16)
        first, second, third, fourth, hidden = (scaled(count, width) for count in (64, 192, 384, 256, 4096))
        self.features = nn.Sequential(
            *(convolution3(channels, first, stride=2, bias=True), nn.ReLU(), nn.MaxPool2d(2)),
            *(convolution3(first, second, bias=True), nn.ReLU(), nn.MaxPool2d(2)),
            *(convolution3(second, third, bias=True), nn.ReLU()),
            *(convolution3(third, fourth, bias=True), nn.ReLU()),
            *(convolution3(fourth, fourth, bias=True), nn.ReLU(), nn.MaxPool2d(2)),
            nn.Flatten(),
        )
        rows, columns = ((side + 1) // 2 // 2 // 2 // 2 for side in input_shape[1:])
        output = nn.Linear(hidden, outputs)
        self.classifier = nn.Sequential(
            *(nn.Dropout(dropout), nn.Linear(fourth * rows * columns, hidden), nn.ReLU()),
            *(nn.Dropout(dropout), nn.Linear(hidden, hidden), nn.ReLU()),
            output,
        )
        initialise(self, last=output)

    def forward(self, x: Tensor) -> Tensor:
        """Outputs [B, outputs] of images x [B, channels, height, width]."""
        result: Tensor = self.classifier(self.features(x))
        return result


class VGG16(nn.Module):
    """VGG-16 for small images: thirteen 3×3 convolutions in five stages; 14.7 million parameters for ten classes.

    Its convolutions are those of configuration D. On 32×32 the last maps are 1×1, so one linear layer follows instead
    of three; batch normalisation, which is younger, takes the place of training in stages.

    Args:
        input_shape: [channels, height, width], 32 pixels or more.
        outputs: Number of classes, or of targets.
        width: Factor on all channels.

    Raises:
        ModelError: Inputs are no images of that size.

    Example:
        >>> VGG16((3, 32, 32), 10, width=0.125)(torch.zeros(2, 3, 32, 32)).shape
        torch.Size([2, 10])

    Source:
        Simonyan, Zisserman, "Very deep convolutional networks for large-scale image recognition", 2015;
        Ioffe, Szegedy, "Batch normalization", 2015.
    """

    STAGES = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))

    def __init__(self, input_shape: tuple[int, ...], outputs: int, width: float = 1.0) -> None:
        super().__init__()
        before = channels_of("vgg16", input_shape, least=32)
        layers: list[nn.Module] = []
        for stage in self.STAGES:
            for count in stage:
                channels = scaled(count, width)
                # The bias does nothing before a normalisation; it stays, as in the paper.
                layers += [convolution3(before, channels, bias=True), nn.BatchNorm2d(channels), nn.ReLU()]
                before = channels
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.output = nn.Linear(before, outputs)
        initialise(self, last=self.output)

    def forward(self, x: Tensor) -> Tensor:
        """Outputs [B, outputs] of images x [B, channels, height, width]."""
        result: Tensor = self.output(global_average(self.features(x)))
        return result


class AllCNNC(nn.Module):
    """All-CNN-C: nine convolutions, two with stride 2, no pooling but at the end; 1.37 million parameters.

    Every 3×3 convolution is padded, so that 8×8 places are averaged at the end; the paper has 6×6 there.

    Args:
        input_shape: [channels, height, width], 8 pixels or more.
        outputs: Number of classes, or of targets.
        width: Factor on all channels.
        dropout: Shares dropped from the images, and after each convolution with stride 2.

    Raises:
        ModelError: Inputs are no images of that size.

    Example:
        >>> sum(parameter.numel() for parameter in AllCNNC((3, 32, 32), 10).parameters())
        1369738

    Source: Springenberg, Dosovitskiy, Brox, Riedmiller, "Striving for simplicity: the all convolutional net", 2015.
    """

    def __init__(
        self,
        input_shape: tuple[int, ...],
        outputs: int,
        width: float = 1.0,
        *,
        dropout: tuple[float, float] = (0.2, 0.5),
    ) -> None:
        super().__init__()
        channels = channels_of("allcnnc", input_shape, least=8)
        narrow, wide = scaled(96, width), scaled(192, width)
        output = nn.Conv2d(wide, outputs, kernel_size=1)
        self.layers = nn.Sequential(
            nn.Dropout(dropout[0]),
            *(convolution3(channels, narrow, bias=True), nn.ReLU()),
            *(convolution3(narrow, narrow, bias=True), nn.ReLU()),
            *(convolution3(narrow, narrow, stride=2, bias=True), nn.ReLU(), nn.Dropout(dropout[1])),
            *(convolution3(narrow, wide, bias=True), nn.ReLU()),
            *(convolution3(wide, wide, bias=True), nn.ReLU()),
            *(convolution3(wide, wide, stride=2, bias=True), nn.ReLU(), nn.Dropout(dropout[1])),
            *(convolution3(wide, wide, bias=True), nn.ReLU()),
            *(nn.Conv2d(wide, wide, kernel_size=1), nn.ReLU()),
            # The paper rectifies these too, which leaves logits without negative values and dead classes.
            output,
        )
        initialise(self, last=output)

    def forward(self, x: Tensor) -> Tensor:
        """Outputs [B, outputs] of images x [B, channels, height, width]."""
        return global_average(self.layers(x))


class Fire(nn.Module):
    """SqueezeNet's module: 1×1 convolutions to few channels, then 1×1 and 3×3 ones side by side.

    Args:
        before: Channels of its inputs.
        squeeze: Channels after squeezing.
        expand: Channels of each of the two parts that follow.
    """

    def __init__(self, before: int, squeeze: int, expand: int) -> None:
        super().__init__()
        self.squeeze = nn.Sequential(nn.Conv2d(before, squeeze, kernel_size=1), nn.BatchNorm2d(squeeze), nn.ReLU())
        self.one = nn.Conv2d(squeeze, expand, kernel_size=1)
        self.three = convolution3(squeeze, expand, bias=True)
        self.norm = nn.BatchNorm2d(2 * expand)

    def forward(self, x: Tensor) -> Tensor:
        """Maps [B, 2 · expand, H, W] of x [B, before, H, W]."""
        few = self.squeeze(x)
        return torch.relu(self.norm(torch.cat([self.one(few), self.three(few)], 1)))


class SqueezeNet(nn.Module):
    """SqueezeNet 1.0 with simple bypass, for small images: 0.74 million parameters for ten classes.

    Fitted to 32×32 by a first convolution of 3×3 without stride; batch normalisation after each convolution but the
    last. Modules whose inputs have as many channels as their outputs are bypassed.

    Args:
        input_shape: [channels, height, width], 8 pixels or more.
        outputs: Number of classes, or of targets.
        width: Factor on all channels.
        dropout: Share of units dropped before the last convolution.

    Raises:
        ModelError: Inputs are no images of that size.

    Example:
        >>> SqueezeNet((3, 32, 32), 10, width=0.25)(torch.zeros(2, 3, 32, 32)).shape
        torch.Size([2, 10])

    Source: Iandola, Han, Moskewicz, Ashraf, Dally, Keutzer, "SqueezeNet: AlexNet-level accuracy with 50x fewer
    parameters and <0.5MB model size", 2016, Table 1 and Figure 2.
    """

    # Squeezed and expanded channels of fire2 to fire9.
    FIRES = ((16, 64), (16, 64), (32, 128), (32, 128), (48, 192), (48, 192), (64, 256), (64, 256))
    POOLED = (2, 6)  # places in FIRES after which maps are halved

    def __init__(self, input_shape: tuple[int, ...], outputs: int, width: float = 1.0, *, dropout: float = 0.5) -> None:
        super().__init__()
        before = scaled(96, width)
        channels = channels_of("squeezenet", input_shape, least=8)
        self.stem = nn.Sequential(
            convolution3(channels, before, bias=True), nn.BatchNorm2d(before), nn.ReLU(), nn.MaxPool2d(2)
        )
        self.pool = nn.MaxPool2d(2)
        self.fires = nn.ModuleList()
        for squeeze, expand in self.FIRES:
            self.fires.append(Fire(before, scaled(squeeze, width), scaled(expand, width)))
            before = 2 * scaled(expand, width)
        self.output = nn.Conv2d(before, outputs, kernel_size=1)
        self.dropout = nn.Dropout(dropout)
        initialise(self, last=self.output)

    def forward(self, x: Tensor) -> Tensor:
        """Outputs [B, outputs] of images x [B, channels, height, width]."""
        x = self.stem(x)
        for place, fire in enumerate(self.fires):
            y = fire(x)
            x = x + y if x.shape[1] == y.shape[1] else y
            if place in self.POOLED:
                x = self.pool(x)
        return global_average(self.output(self.dropout(x)))
