"""Images kept as bytes and made into network inputs batch by batch: an eighth of the memory."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor
from torch.nn.functional import pad

from chipmend.errors import DataError


@dataclass(frozen=True, eq=False)
class ImageSamples:
    """A labelled set of images of one size.

    Args:
        images: ``samples x channels x height x width`` bytes.
        targets: ``samples`` class indices.
        mean: Mean of each channel, as a fraction of 255.
        std: Standard deviation of each channel, as a fraction of 255.
        padding: Black pixels added on every side.
    """

    images: UInt8[Tensor, "samples channels height width"]
    targets: Int64[Tensor, " samples"]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    padding: int = 0

    def __post_init__(self) -> None:
        if len(self.images) != len(self.targets):
            raise DataError(
                f"{len(self.images)} images and {len(self.targets)} targets do not belong together",
                hint="give one target for every image",
            )

    def __len__(self) -> int:
        return len(self.images)

    def batch(self, indices: Int64[Tensor, " samples"]) -> tuple[Tensor, Tensor]:
        """Normalised float32 inputs and class indices of the samples at ``indices``."""
        pixels = self.images[indices].float()
        if self.padding:
            pixels = pad(pixels, (self.padding,) * 4)
        return normalized(pixels, self.mean, self.std), self.targets[indices]

    def subset(self, indices: Int64[Tensor, " samples"]) -> "ImageSamples":
        """The same kind of samples, only those at ``indices``."""
        return ImageSamples(
            self.images[indices], self.targets[indices], self.mean, self.std, self.padding
        )


def normalized(
    pixels: Tensor, mean: tuple[float, ...], std: tuple[float, ...]
) -> Float[Tensor, "samples channels height width"]:
    """Pixels, as numbers up to 255, without the mean of each channel and in units of its spread."""
    means, stds = (255 * torch.tensor(each).view(-1, 1, 1) for each in (mean, std))
    return (pixels - means) / stds
