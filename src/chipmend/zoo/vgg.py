"""VGG11 with batch norm, in its form for 32 x 32 pictures, at any width.

References:
    [Simonyan2015] Simonyan, Zisserman, "Very deep convolutional networks for large-scale image
        recognition", ICLR 2015.
"""

import torch
from torch import nn

from chipmend.errors import NetworkError

VGG11 = (64, "pool", 128, "pool", 256, 256, "pool", 512, 512, "pool", 512, 512, "pool")


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
    if not 64 * width >= 1:
        raise NetworkError(f"width {width} leaves VGG11 without channels", hint="give 1/64 or more")
    layers: list[nn.Module] = []
    for entry in VGG11:
        if isinstance(entry, str):
            layers.append(nn.MaxPool2d(2))
            continue
        outputs = round(entry * width)
        layers += [
            nn.Conv2d(channels, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
        ]
        channels = outputs
    network = nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels, classes))
    return network.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
