"""The same networks in their form for ImageNet: 224 x 224 pictures, 1,000 classes.

Parts and their names are those of torchvision's (VGGs with batch norm) and of timm's (the vision
transformer), so their trained weights can be read once they are saved as safetensors.
"""

from collections import OrderedDict

import torch
from torch import Tensor, nn

from chipmend.zoo import mobilenet, resnet, vgg
from chipmend.zoo.alexnet import CHANNELS, HIDDEN, classifier, convolutions
from chipmend.zoo.vit import EncoderBlock
from chipmend.zoo.width import scaled

STRIDES = (1, 2, 2, 2, 1, 2, 1)
SIZE, HEADS, BLOCKS, EXPANSION, PATCH = 384, 6, 12, 4, 16
"""The vision transformer's: that which is called small."""


def alexnet(*, classes: int = 1000, channels: int = 3, width: float = 1.0) -> nn.Sequential:
    """Build AlexNet with fresh weights.

    Args:
        classes: Classes to tell apart.
        channels: Channels of a picture.
        width: Factor on the number of channels of every layer.

    Returns:
        A network for ``samples x channels x 224 x 224`` pictures.

    Raises:
        NetworkError: A width that leaves a layer without channels.
    """
    features = convolutions(channels, width, first=(11, 4, 2), second=(5, 1, 2), pool=(3, 2))
    inputs = scaled(CHANNELS[-1], width) * 6 * 6
    return _whole(features, 6, classifier(inputs, width, classes))


def mobilenet_v2(*, classes: int = 1000, channels: int = 3, width: float = 1.0) -> nn.Sequential:
    """Build MobileNetV2; arguments, result and errors are those of ``alexnet``."""
    return mobilenet.with_strides(2, STRIDES, classes, channels, width)


def resnet18(*, classes: int = 1000, channels: int = 3, width: float = 1.0) -> nn.Sequential:
    """Build ResNet-18; arguments, result and errors are those of ``alexnet``."""
    first = scaled(resnet.CHANNELS[0], width)
    stem = OrderedDict[str, nn.Module](
        conv1=nn.Conv2d(channels, first, 7, stride=2, padding=3, bias=False),
        bn1=nn.BatchNorm2d(first),
        relu=nn.ReLU(inplace=True),
        maxpool=nn.MaxPool2d(3, 2, 1),
    )
    return resnet.behind(stem, classes, width)


def vgg11(*, classes: int = 1000, channels: int = 3, width: float = 1.0) -> nn.Sequential:
    """Build VGG11; arguments, result and errors are those of ``alexnet``."""
    return _vgg(vgg.CONFIGURATION_A, classes, channels, width)


def vgg16(*, classes: int = 1000, channels: int = 3, width: float = 1.0) -> nn.Sequential:
    """Build VGG16; arguments, result and errors are those of ``alexnet``."""
    return _vgg(vgg.CONFIGURATION_D, classes, channels, width)


def vit(*, classes: int = 1000, channels: int = 3, width: float = 1.0) -> nn.Module:
    """Build ViT-S/16 with fresh weights; arguments, result and errors are those of ``alexnet``."""
    return VisionTransformer(classes, channels, scaled(SIZE, width, multiple_of=HEADS))


class VisionTransformer(nn.Module):
    """Patches of a picture as tokens, and one token beside them whose output is read.

    Args:
        classes: Classes to tell apart.
        channels: Channels of a picture.
        size: Numbers of a token.
    """

    def __init__(self, classes: int, channels: int, size: int) -> None:
        super().__init__()
        patches = (224 // PATCH) ** 2
        self.cls_token = nn.Parameter(torch.zeros(1, 1, size))
        self.pos_embed = nn.Parameter(0.02 * torch.randn(1, patches + 1, size))
        self.patch_embed = nn.Sequential(
            OrderedDict(proj=nn.Conv2d(channels, size, PATCH, stride=PATCH))
        )
        self.blocks = nn.Sequential(*(EncoderBlock(size, HEADS, EXPANSION) for _ in range(BLOCKS)))
        self.norm = nn.LayerNorm(size, eps=1e-6)
        self.head = nn.Linear(size, classes)

    def forward(self, x: Tensor) -> Tensor:
        """``samples x channels x 224 x 224`` to ``samples x classes``."""
        tokens = self.patch_embed(x).flatten(2).transpose(1, 2)
        first = self.cls_token.expand(x.shape[0], -1, -1)
        tokens = torch.cat((first, tokens), 1) + self.pos_embed
        return self.head(self.norm(self.blocks(tokens))[:, 0])


def _vgg(blocks: vgg.Configuration, classes: int, channels: int, width: float) -> nn.Sequential:
    features = nn.Sequential(*vgg.convolutions(blocks, channels, width, bias=True))
    inputs, hidden = scaled(blocks[-1][-1], width) * 7 * 7, scaled(HIDDEN, width)
    layers = nn.Sequential(
        nn.Linear(inputs, hidden),
        nn.ReLU(inplace=True),
        nn.Dropout(),
        nn.Linear(hidden, hidden),
        nn.ReLU(inplace=True),
        nn.Dropout(),
        nn.Linear(hidden, classes),
    )
    return _whole(features, 7, layers)


def _whole(features: nn.Sequential, size: int, layers: nn.Sequential) -> nn.Sequential:
    parts = OrderedDict[str, nn.Module](
        features=features,
        avgpool=nn.AdaptiveAvgPool2d(size),
        flatten=nn.Flatten(),
        classifier=layers,
    )
    return nn.Sequential(parts).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
