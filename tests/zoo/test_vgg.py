import itertools

import pytest
import torch
from torch import nn

from chipmend.errors import NetworkError
from chipmend.zoo import vgg11, vgg16

# [Simonyan2015], configurations A and D: output channels of the convolutions
A = [64, 128, 256, 256, 512, 512, 512, 512]
D = [64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512]
BOTH = pytest.mark.parametrize(("network", "outputs"), [(vgg11, A), (vgg16, D)])


@BOTH
@pytest.mark.parametrize("width", [1.0, 0.25, 1 / 64])
def test_the_convolutions_are_those_of_the_paper_times_the_width(network, outputs, width):
    layers = network(width=width)
    convolutions = [m for m in layers if isinstance(m, nn.Conv2d)]
    assert [c.out_channels for c in convolutions] == [int(n * width) for n in outputs]
    assert [c.in_channels for c in convolutions] == [
        3, *(c.out_channels for c in convolutions[:-1])
    ]  # fmt: skip
    assert all(c.kernel_size == (3, 3) and c.padding == (1, 1) for c in convolutions)


@pytest.mark.parametrize(
    ("network", "blocks"), [(vgg11, (1, 1, 2, 2, 2)), (vgg16, (2, 2, 3, 3, 3))]
)
def test_pools_stand_where_the_paper_has_them(network, blocks):
    kinds = [type(m).__name__[:4] for m in network(width=0.1) if not isinstance(m, nn.ReLU)]
    expected = []
    for count in blocks:
        expected += [*["Conv", "Batc"] * count, "MaxP"]
    assert kinds == [*expected, "Flat", "Line"]


@BOTH
def test_full_width_has_the_parameters_that_counting_by_hand_gives(network, outputs):
    pairs = itertools.pairwise([3, *outputs])
    expected = sum(9 * i * o + 2 * o for i, o in pairs) + 512 * 10 + 10
    assert sum(p.numel() for p in network().parameters()) == expected


@pytest.mark.parametrize(("classes", "channels"), [(10, 1), (100, 3)])
def test_a_picture_gives_one_number_per_class(classes, channels):
    network = vgg16(classes=classes, channels=channels, width=0.1).eval()
    with torch.no_grad():
        assert network(torch.zeros(2, channels, 32, 32)).shape == (2, classes)


def test_a_width_without_channels_is_refused():
    with pytest.raises(NetworkError, match="without channels"):
        vgg11(width=0.01)
