import itertools

import pytest
import torch
from torch import nn

from chipmend.errors import NetworkError
from chipmend.zoo import vgg11

# [Simonyan2015], configuration A: output channels of its eight convolutions
CONFIGURATION_A = [64, 128, 256, 256, 512, 512, 512, 512]


@pytest.mark.parametrize("width", [1.0, 0.25, 1 / 64])
def test_the_convolutions_are_those_of_the_paper_times_the_width(width):
    network = vgg11(width=width)
    convolutions = [m for m in network if isinstance(m, nn.Conv2d)]
    assert [c.out_channels for c in convolutions] == [int(n * width) for n in CONFIGURATION_A]
    assert [c.in_channels for c in convolutions] == [
        3, *(c.out_channels for c in convolutions[:-1])
    ]  # fmt: skip
    assert all(c.kernel_size == (3, 3) and c.padding == (1, 1) for c in convolutions)
    assert sum(isinstance(m, nn.MaxPool2d) for m in network) == 5


def test_pools_stand_where_the_paper_has_them():
    kinds = [type(m).__name__[:4] for m in vgg11(width=0.1) if not isinstance(m, nn.ReLU)]
    block = ["Conv", "Batc"]
    expected = [*block, "MaxP", *block, "MaxP", *[*block, *block, "MaxP"] * 3, "Flat", "Line"]
    assert kinds == expected


def test_full_width_has_the_parameters_that_counting_by_hand_gives():
    channels = [3, *CONFIGURATION_A]
    pairs = itertools.pairwise(channels)
    expected = sum(9 * i * o + 2 * o for i, o in pairs) + 512 * 10 + 10
    assert sum(p.numel() for p in vgg11().parameters()) == expected


@pytest.mark.parametrize(("classes", "channels"), [(10, 1), (100, 3)])
def test_a_picture_gives_one_number_per_class(classes, channels):
    network = vgg11(classes=classes, channels=channels, width=0.1).eval()
    with torch.no_grad():
        assert network(torch.zeros(2, channels, 32, 32)).shape == (2, classes)


@pytest.mark.parametrize("width", [0, -1, 0.01, float("nan")])
def test_a_width_without_channels_is_refused(width):
    with pytest.raises(NetworkError, match="without channels"):
        vgg11(width=width)
