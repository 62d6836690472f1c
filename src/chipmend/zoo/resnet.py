"""ResNet-18 in its form for 32 x 32 pictures, at any width.

Parts have the names that they commonly go by, so weights trained elsewhere can be read.

References:
    [He2016] He, Zhang, Ren, Sun, "Deep residual learning for image recognition", CVPR 2016.
"""

from collections import OrderedDict

import torch
from torch import Tensor, nn

from chipmend.zoo.width import scaled

CHANNELS = (64, 128, 256, 512)
BLOCKS = 2


class BasicBlock(nn.Module):
    """Two convolutions, and a way past them.

    Args:
        inputs: Channels that come in.
        outputs: Channels that go out.
        stride: Of the first convolution.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        """Add what the convolutions make of the input to the input."""
        past = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        return self.relu(self.bn2(self.conv2(x)) + past)


def resnet18(*, classes: int = 10, channels: int = 3, width: float = 1.0) -> nn.Sequential:
    """Build ResNet-18 with fresh weights: its stem is one 3 x 3 convolution, without a pool.

    Args:
        classes: Classes to tell apart.
        channels: Channels of a picture.
        width: Factor on the number of channels of every layer.

    Returns:
        A network for ``samples x channels x 32 x 32`` pictures.

    Raises:
        NetworkError: A width that leaves a layer without channels.
    """
    first = scaled(CHANNELS[0], width)
    stem = OrderedDict[str, nn.Module](
        conv1=nn.Conv2d(channels, first, 3, padding=1, bias=False),
        bn1=nn.BatchNorm2d(first),
        relu=nn.ReLU(inplace=True),
    )
    return behind(stem, classes, width)


def behind(stem: OrderedDict[str, nn.Module], classes: int, width: float) -> nn.Sequential:
    """The whole network from its stem: four stages of two blocks, an average and a layer."""
    parts, inputs = OrderedDict(stem), scaled(CHANNELS[0], width)
    for number, outputs in enumerate(scaled(count, width) for count in CHANNELS):
        strides = (1 if number == 0 else 2, *(1,) * (BLOCKS - 1))
        stage = nn.Sequential()
        for stride in strides:
            stage.append(BasicBlock(inputs, outputs, stride))
            inputs = outputs
        parts[f"layer{number + 1}"] = stage
    parts |= OrderedDict(
        avgpool=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten(), fc=nn.Linear(inputs, classes)
    )
    return nn.Sequential(parts).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
