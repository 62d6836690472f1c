import torch
from torch import nn

from chipmend.zoo import alexnet


def test_it_has_the_paper_s_five_convolutions_and_three_layers():
    network = alexnet()
    kinds = [type(m) for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert kinds == [nn.Conv2d] * 5 + [nn.Linear] * 3
    by_hand = [(3, 64), (64, 192), (192, 384), (384, 256), (256, 256)]
    expected = sum(9 * i * o + o for i, o in by_hand)
    expected += sum(i * o + o for i, o in [(1024, 4096), (4096, 4096), (4096, 10)])
    assert sum(p.numel() for p in network.parameters()) == expected


def test_a_picture_gives_one_number_per_class():
    network = alexnet(classes=100, channels=1, width=0.1).eval()
    with torch.no_grad():
        assert network(torch.zeros(2, 1, 32, 32)).shape == (2, 100)
