"""AlexNet in its form for 32 x 32 pictures, at any width: five convolutions and three layers.

It has no norms, and nearly all of its weights are in the layers behind the convolutions.

References:
    [Krizhevsky2012] Krizhevsky, Sutskever, Hinton, "ImageNet classification with deep convolutional
        neural networks", NeurIPS 2012; channels as in Krizhevsky, "One weird trick for
        parallelizing convolutional neural networks", 2014.
"""

from collections import OrderedDict

import torch
from torch import nn

from chipmend.zoo.width import scaled

CHANNELS = (64, 192, 384, 256, 256)
HIDDEN = 4096


def alexnet(*, classes: int = 10, channels: int = 3, width: float = 1.0) -> nn.Sequential:
    """Build AlexNet with fresh weights: 3 x 3 kernels everywhere, the first with stride 2.

    Args:
        classes: Classes to tell apart.
        channels: Channels of a picture.
        width: Factor on the number of channels of every layer.

    Returns:
        A network for ``samples x channels x 32 x 32`` pictures.

    Raises:
        NetworkError: A width that leaves a layer without channels.
    """
    features = convolutions(channels, width, first=(3, 2, 1), second=(3, 1, 1), pool=(2, 2))
    parts = OrderedDict[str, nn.Module](
        features=features,
        flatten=nn.Flatten(),
        classifier=classifier(scaled(CHANNELS[-1], width) * 2 * 2, width, classes),
    )
    return nn.Sequential(parts).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]


def convolutions(
    channels: int,
    width: float,
    *,
    first: tuple[int, int, int],
    second: tuple[int, int, int],
    pool: tuple[int, int],
) -> nn.Sequential:
    """The five convolutions with their activations and pools.

    Args:
        channels: Channels of a picture.
        width: Factor on the number of channels of every layer.
        first: Kernel, stride and padding of the first one.
        second: Of the second one.
        pool: Kernel and stride of the pools.
    """
    a, b, c, d, e = (scaled(count, width) for count in CHANNELS)
    return nn.Sequential(
        nn.Conv2d(channels, a, *first),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(*pool),
        nn.Conv2d(a, b, *second),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(*pool),
        nn.Conv2d(b, c, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(c, d, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(d, e, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(*pool),
    )


def classifier(inputs: int, width: float, classes: int) -> nn.Sequential:
    """The three layers behind the convolutions."""
    hidden = scaled(HIDDEN, width)
    return nn.Sequential(
        nn.Dropout(),
        nn.Linear(inputs, hidden),
        nn.ReLU(inplace=True),
        nn.Dropout(),
        nn.Linear(hidden, hidden),
        nn.ReLU(inplace=True),
        nn.Linear(hidden, classes),
    )
