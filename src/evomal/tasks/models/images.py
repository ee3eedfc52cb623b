"""What the image networks share: the check of their inputs, widths, the initial weights."""

from torch import Tensor, nn

from evomal.foundation.errors import ModelError

CHANNELS = (1, 3, 4)
"""How many channels images usually have."""
RESNET_LEAST = 8


def channels_of(model: str, input_shape: tuple[int, ...], least: int) -> int:
    """The channels of images that a network is built for.

    Args:
        model: The network's registered name, for messages.
        input_shape: Shape of one instance, [channels, height, width].
        least: The least height and width, below which nothing is left after the last reduction.

    Returns:
        The number of channels.

    Raises:
        ModelError: Instances are no images, or too small.

    Example:
        >>> channels_of("vgg16", (3, 32, 32), least=32)
        3
    """
    shape = list(input_shape)
    small = len(shape) == 3 and min(shape[1:]) < least
    if len(shape) != 3 or (small and _channels_last(input_shape)):
        raise ModelError(
            f"model '{model}' takes images of shape [channels, height, width], but instances have shape {shape}; "
            f"{turned(input_shape)}"
        )
    if small:
        other = "a network for smaller ones, such as 'resnet18', or " if min(shape[1:]) >= RESNET_LEAST else ""
        raise ModelError(
            f"model '{model}' takes images of {least}×{least} pixels or more, but instances have shape {shape}; "
            f"choose {other}'mlp'"
        )
    return shape[0]


def turned(shape: tuple[int, ...]) -> str:
    """What to do with instances that are no images [channels, height, width], for messages.

    Example:
        >>> turned((28, 28))
        "give them a channel (x[:, None]), or choose 'mlp' or 'linear'"
    """
    choose = "choose 'mlp' or 'linear'"
    if len(shape) == 2:
        return f"give them a channel (x[:, None]), or {choose}"
    if len(shape) == 3 and _channels_last(shape):
        return f"bring the channels first (numpy.moveaxis(x, -1, 1)), or {choose}"
    return choose


def _channels_last(shape: tuple[int, ...]) -> bool:
    return shape[-1] in CHANNELS and shape[0] not in CHANNELS and len(shape) == 3


def scaled(channels: float, width: float) -> int:
    """A number of channels times the width, at least one.

    Example:
        >>> scaled(64, 0.25), scaled(16, 0.01)
        (16, 1)
    """
    return max(1, round(channels * width))


def global_average(x: Tensor) -> Tensor:
    """The mean of each feature map, [B, C, H, W] → [B, C]; unlike pooling layers it has derivatives of every kind."""
    return x.mean((2, 3))


def convolution3(inputs: int, outputs: int, stride: int = 1, bias: bool = False) -> nn.Conv2d:
    """A 3×3 convolution that keeps the size of its maps, or divides it by the stride."""
    return nn.Conv2d(inputs, outputs, kernel_size=3, stride=stride, padding=1, bias=bias)


def initialise(model: nn.Module, last: nn.Module) -> None:
    """Weights from N(0, 2 / fan-in), those of the last layer from N(0, 1 / fan-in); biases 0.

    With these the signal neither grows nor fades through layers of rectified linear units. Draws from the global
    generator, as every module's constructor does.

    Args:
        model: The network.
        last: Its last layer with weights, after which nothing is rectified.

    Source: He, Zhang, Ren, Sun, "Delving deep into rectifiers", 2015, Equation 10.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight, nonlinearity="linear" if module is last else "relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
