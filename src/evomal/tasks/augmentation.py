"""What is done to whole batches of images on their device: normalisation, and augmentation for training data alone."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType

import torch
from torch import Tensor
from torch.nn import functional

from evomal.foundation.errors import DataError, SettingError, unknown_name

PAD = 4  # what everybody pads images of 32×32 by


@dataclass(frozen=True)
class Normalisation:
    """Bytes, or other numbers, to inputs with mean 0 and deviation 1 on training data: (x − mean) / deviation.

    Args:
        mean: One number for each channel, or one for all.
        deviation: As many.

    Example:
        >>> Normalisation((100.0,), (50.0,))(torch.tensor([[[[0, 150]]]], dtype=torch.uint8))
        tensor([[[[-2.,  1.]]]])
    """

    mean: tuple[float, ...]
    deviation: tuple[float, ...]

    def __call__(self, x: Tensor) -> Tensor:
        """Inputs [B, C, ...] as float32 of the same shape."""
        shape = (1, len(self.mean), *[1] * (x.dim() - 2))
        mean, deviation = (_constants(values, x.device).reshape(shape) for values in (self.mean, self.deviation))
        return (x.float() - mean) / deviation


@lru_cache(maxsize=64)
def _constants(values: tuple[float, ...], device: torch.device) -> Tensor:
    """Numbers on a device, sent there once: a step that is a CUDA graph can wait for nothing."""
    return torch.tensor(values, device=device)


@dataclass(frozen=True)
class Augmentation:
    """Random crops and horizontal flips of a whole batch at once, before it is normalised.

    What a batch looks like depends on nothing but which instances it holds, and in which order: whoever takes it sees
    the same (D3), on every device to the bit, while an instance looks different in the next epoch's batch. The random
    numbers are a hash of the indices, computed on the device; nothing is drawn and nothing waited for.

    Args:
        pad: Black pixels added on each side, of which a crop of the old size is taken; 0 leaves images where they are.
        flip: Mirror half of the images.
        black: What black is, in the numbers of the images; a data set of grey images, which are normalised before,
            knows its own.

    Raises:
        SettingError: `pad` is negative, or nothing would be done.

    Example:
        >>> crop = Augmentation(pad=4, flip=True)
        >>> images, index = torch.rand(3, 1, 8, 8), torch.tensor([5, 0, 2])
        >>> bool((crop(images, index) == crop(images, index)).all()), crop(images, index).shape
        (True, torch.Size([3, 1, 8, 8]))

    Source: Lee, Xie, Gallagher, Zhang, Tu, "Deeply-supervised nets", 2015, and all on CIFAR since.
    """

    pad: int = PAD
    flip: bool = True
    black: float = 0.0

    def __repr__(self) -> str:
        """All of it; `black` where it is not 0, as fingerprints hold this text and are older."""
        black = f", black={self.black!r}" if self.black else ""
        return f"Augmentation(pad={self.pad}, flip={self.flip}{black})"

    def __post_init__(self) -> None:
        """Refuse an augmentation that does nothing."""
        if self.pad < 0 or (self.pad == 0 and not self.flip):
            raise SettingError(f"an augmentation with pad {self.pad} and flip {self.flip} does nothing; give None")

    def __call__(self, x: Tensor, index: Tensor) -> Tensor:
        """Augmented images.

        Args:
            x: Images [B, C, H, W] of any type.
            index: Which instances they are, int64 [B], on the same device.

        Returns:
            [B, C, H, W] of the same type.
        """
        height, width = x.shape[2:]
        draws = _numbers(index)
        if self.pad:
            places = 2 * self.pad + 1
            top, left = draws % places, draws // places % places
            windows = functional.pad(x, [self.pad] * 4, value=self.black).unfold(2, height, 1).unfold(3, width, 1)
            x = windows[torch.arange(len(x), device=x.device), :, top, left]
        if self.flip:
            mirrored = (draws // (2 * self.pad + 1) ** 2 % 2).bool()
            x = torch.where(mirrored.reshape(-1, 1, 1, 1), x.flip(3), x)
        return x

    def require_images(self, shape: tuple[int, ...], where: str) -> None:
        """Refuse instances that are no images.

        Raises:
            DataError: Their shape is not [channels, height, width].
        """
        if len(shape) != 3:
            raise DataError(
                f"{where} has instances of shape {list(shape)}, and only images [channels, height, width] can be "
                "cropped and flipped; leave the augmentation out"
            )


AUGMENTATIONS: Mapping[str, Augmentation | None] = MappingProxyType(
    {
        "none": None,
        "crop": Augmentation(flip=False),
        "flip": Augmentation(pad=0),
        "crop-flip": Augmentation(),
    }
)


def get_augmentation(given: str | Augmentation) -> Augmentation | None:
    """An augmentation as it was given, or by its name.

    Raises:
        UnknownNameError: There is none of that name.
        SettingError: It is neither.

    Example:
        >>> get_augmentation("crop")
        Augmentation(pad=4, flip=False)
    """
    if isinstance(given, Augmentation):
        return given
    if not isinstance(given, str):
        raise SettingError(
            f"augmentation is a {type(given).__name__}; give an Augmentation, or a name ({', '.join(AUGMENTATIONS)})"
        )
    if given not in AUGMENTATIONS:
        raise unknown_name("augmentation", given, AUGMENTATIONS)
    return AUGMENTATIONS[given]


_MASK = 0xFFFF_FFFF


def _numbers(index: Tensor) -> Tensor:
    """A number below 2³² for each instance of a batch, as if drawn anew for every batch."""
    places = torch.arange(1, len(index) + 1, device=index.device)
    batch = _mixed(_mixed(index & _MASK) * places).sum()
    return _mixed(_mixed(index & _MASK) ^ _mixed(batch & _MASK))


def _mixed(values: Tensor) -> Tensor:
    """Numbers below 2³² mixed so that each bit depends on all (the finalizer of MurmurHash3, public domain)."""
    values = values & _MASK
    values = values ^ (values >> 16)
    values = (values * 0x85EB_CA6B) & _MASK
    values = values ^ (values >> 13)
    values = (values * 0xC2B2_AE35) & _MASK
    return values ^ (values >> 16)
