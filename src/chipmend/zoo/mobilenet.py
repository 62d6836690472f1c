"""MobileNetV2 in its form for 32 x 32 pictures, at any width: depthwise layers between narrow ones.

Parts have the names that they commonly go by, so weights trained elsewhere can be read.

References:
    [Sandler2018] Sandler, Howard, Zhu, Zhmoginov, Chen, "MobileNetV2: inverted residuals and linear
        bottlenecks", CVPR 2018.
"""

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from chipmend.zoo.width import scaled

STEM, LAST, MULTIPLE = 32, 1280, 8
BLOCKS = ((1, 16, 1), (6, 24, 2), (6, 32, 3), (6, 64, 4), (6, 96, 3), (6, 160, 3), (6, 320, 1))
"""Of each stage how many times channels are expanded, its channels, and its blocks."""
STRIDES = (1, 1, 2, 2, 1, 2, 1)
"""Of the first block of each stage."""


class InvertedResidual(nn.Module):
    """Widen, filter each channel by itself, narrow; with a way past where sizes allow.

    Args:
        inputs: Channels that come in.
        outputs: Channels that go out.
        stride: Of the filter.
        expansion: Factor by which the channels are widened.
    """

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        layers: list[nn.Module] = [] if expansion == 1 else [_convolution(inputs, hidden, 1)]
        layers += [
            _convolution(hidden, hidden, 3, stride, groups=hidden),
            nn.Conv2d(hidden, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        ]
        self.conv = nn.Sequential(*layers)
        self.is_residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """Filter, and add the input where sizes allow."""
        return x + self.conv(x) if self.is_residual else self.conv(x)


def mobilenet_v2(*, classes: int = 10, channels: int = 3, width: float = 1.0) -> nn.Sequential:
    """Build MobileNetV2 with fresh weights: the stem and the second stage keep the picture's size.

    Args:
        classes: Classes to tell apart.
        channels: Channels of a picture.
        width: Factor on the number of channels of every layer, but not below 1 of the last.

    Returns:
        A network for ``samples x channels x 32 x 32`` pictures.

    Raises:
        NetworkError: A width that leaves a layer without channels.
    """
    return with_strides(1, STRIDES, classes, channels, width)


def with_strides(
    stem: int, strides: Sequence[int], classes: int, channels: int, width: float
) -> nn.Sequential:
    """The whole network from the stride of its stem and those of its stages."""
    inputs = scaled(STEM, width, multiple_of=MULTIPLE)
    features = nn.Sequential(_convolution(channels, inputs, 3, stem))
    for (expansion, count, blocks), first in zip(BLOCKS, strides, strict=True):
        outputs = scaled(count, width, multiple_of=MULTIPLE)
        for stride in (first, *(1,) * (blocks - 1)):
            features.append(InvertedResidual(inputs, outputs, stride, expansion))
            inputs = outputs
    last = scaled(LAST, max(1.0, width), multiple_of=MULTIPLE)
    features.append(_convolution(inputs, last, 1))
    parts = OrderedDict[str, nn.Module](
        features=features,
        avgpool=nn.AdaptiveAvgPool2d(1),
        flatten=nn.Flatten(),
        classifier=nn.Sequential(nn.Dropout(0.2), nn.Linear(last, classes)),
    )
    return nn.Sequential(parts).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]


def _convolution(
    inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1
) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU6(inplace=True),
    )
