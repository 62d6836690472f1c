"""VGG11 and VGG16 with batch norm, in their form for 32 x 32 pictures, at any width.

References:
    [Simonyan2015] Simonyan, Zisserman, "Very deep convolutional networks for large-scale image
        recognition", ICLR 2015.
"""

from collections.abc import Sequence

import torch
from torch import nn

from chipmend.zoo.width import scaled

Configuration = Sequence[Sequence[int]]
"""Output channels of the convolutions in front of each pool."""
CONFIGURATION_A: Configuration = ((64,), (128,), (256, 256), (512, 512), (512, 512))
CONFIGURATION_D: Configuration = (
    (64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512)
)  # fmt: skip


def vgg11(*, classes: int = 10, channels: int = 3, width: float = 1.0) -> nn.Sequential:
    """Build VGG11 with fresh weights.

    Args:
        classes: Classes to tell apart.
        channels: Channels of a picture.
        width: Factor on the number of channels of every layer.

    Returns:
        A network for ``samples x channels x 32 x 32`` pictures.

    Raises:
        NetworkError: A width that leaves a layer without channels.
    """
    return _vgg(CONFIGURATION_A, classes, channels, width)


def vgg16(*, classes: int = 10, channels: int = 3, width: float = 1.0) -> nn.Sequential:
    """Build VGG16 with fresh weights; arguments, result and errors are those of ``vgg11``."""
    return _vgg(CONFIGURATION_D, classes, channels, width)


def _vgg(blocks: Configuration, classes: int, channels: int, width: float) -> nn.Sequential:
    layers = convolutions(blocks, channels, width, bias=False)
    last = scaled(blocks[-1][-1], width)
    network = nn.Sequential(*layers, nn.Flatten(), nn.Linear(last, classes))
    return network.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]


def convolutions(
    blocks: Configuration, channels: int, width: float, *, bias: bool
) -> list[nn.Module]:
    """The layers up to the last pool: each convolution with its norm and its activation."""
    layers: list[nn.Module] = []
    for block in blocks:
        for outputs in (scaled(count, width) for count in block):
            layers += [
                nn.Conv2d(channels, outputs, 3, padding=1, bias=bias),
                nn.BatchNorm2d(outputs),
                nn.ReLU(inplace=True),
            ]
            channels = outputs
        layers.append(nn.MaxPool2d(2))
    return layers
