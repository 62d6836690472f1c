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
    a, b, c, d, e = (scaled(count, width) for count in CHANNELS)
    features = nn.Sequential(
        nn.Conv2d(channels, a, 3, stride=2, padding=1),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.Conv2d(a, b, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.Conv2d(b, c, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(c, d, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(d, e, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
    )
    parts = OrderedDict[str, nn.Module](
        features=features,
        flatten=nn.Flatten(),
        classifier=classifier(e * 2 * 2, scaled(HIDDEN, width), classes),
    )
    return nn.Sequential(parts).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]


def classifier(inputs: int, hidden: int, classes: int) -> nn.Sequential:
    """The three layers behind the convolutions."""
    return nn.Sequential(
        nn.Dropout(),
        nn.Linear(inputs, hidden),
        nn.ReLU(inplace=True),
        nn.Dropout(),
        nn.Linear(hidden, hidden),
        nn.ReLU(inplace=True),
        nn.Linear(hidden, classes),
    )
