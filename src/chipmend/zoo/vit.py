"""A small vision transformer for 32 x 32 pictures, at any width.

Two convolutions make the tokens, which small data needs [Xiao2021]; the rest is a transformer with
norms ahead of attention and of the hidden layer [Dosovitskiy2021], whose output is averaged.

References:
    [Dosovitskiy2021] Dosovitskiy et al., "An image is worth 16x16 words: transformers for image
        recognition at scale", ICLR 2021.
    [Xiao2021] Xiao, Singh, Mintun, Darrell, Dollar, Girshick, "Early convolutions help transformers
        see better", NeurIPS 2021.
"""

from collections import OrderedDict

import torch
from torch import Tensor, nn

from chipmend.zoo.width import scaled

SIZE, HEADS, BLOCKS, EXPANSION = 256, 4, 4, 2
TOKENS = 8 * 8


class Tokens(nn.Module):
    """Pictures as tokens: each place of what two convolutions see, and where it is.

    Args:
        channels: Channels of a picture.
        size: Numbers of a token.
    """

    def __init__(self, channels: int, size: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(channels, size // 2, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(size // 2),
            nn.ReLU(inplace=True),
            nn.Conv2d(size // 2, size, 3, stride=2, padding=1),
        )
        self.pos_embed = nn.Parameter(0.02 * torch.randn(1, TOKENS, size))

    def forward(self, x: Tensor) -> Tensor:
        """``samples x channels x 32 x 32`` to ``samples x tokens x size``."""
        return self.conv(x).flatten(2).transpose(1, 2) + self.pos_embed


class Attention(nn.Module):
    """Each token takes from the values of all, by how alike its query and their keys are.

    Args:
        size: Numbers of a token.
        heads: Parts of a token that do so for themselves.
    """

    def __init__(self, size: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(size, 3 * size)
        self.proj = nn.Linear(size, size)

    def forward(self, x: Tensor) -> Tensor:
        """``samples x tokens x size`` to the same."""
        parts = self.qkv(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        seen = nn.functional.scaled_dot_product_attention(*parts.unbind(0))
        return self.proj(seen.transpose(1, 2).flatten(2))


class EncoderBlock(nn.Module):
    """Attention, then a hidden layer, each beside a way past it.

    Args:
        size: Numbers of a token.
        heads: Heads of attention.
        expansion: How much wider the hidden layer is.
    """

    def __init__(self, size: int, heads: int, expansion: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(size, eps=1e-6)
        self.attn = Attention(size, heads)
        self.norm2 = nn.LayerNorm(size, eps=1e-6)
        self.mlp = nn.Sequential(
            OrderedDict(
                fc1=nn.Linear(size, expansion * size),
                act=nn.GELU(),
                fc2=nn.Linear(expansion * size, size),
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        """``samples x tokens x size`` to the same."""
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class Average(nn.Module):
    """The average of all tokens."""

    def forward(self, x: Tensor) -> Tensor:
        """``samples x tokens x size`` to ``samples x size``."""
        return x.mean(1)


def vit(*, classes: int = 10, channels: int = 3, width: float = 1.0) -> nn.Sequential:
    """Build a vision transformer with fresh weights.

    Args:
        classes: Classes to tell apart.
        channels: Channels of a picture.
        width: Factor on the size of a token.

    Returns:
        A network for ``samples x channels x 32 x 32`` pictures.

    Raises:
        NetworkError: A width that leaves a token without numbers.
    """
    size = scaled(SIZE, width, multiple_of=2 * HEADS)
    parts = OrderedDict[str, nn.Module](
        tokens=Tokens(channels, size),
        blocks=nn.Sequential(*(EncoderBlock(size, HEADS, EXPANSION) for _ in range(BLOCKS))),
        norm=nn.LayerNorm(size, eps=1e-6),
        average=Average(),
        head=nn.Linear(size, classes),
    )
    return nn.Sequential(parts)
