import torch
from torch import nn

from chipmend.zoo import mobilenet_v2
from chipmend.zoo.mobilenet import InvertedResidual


def test_full_width_has_the_parameters_that_are_widely_known():
    known, classifier = 3_504_872, 1280 * 1000 + 1000  # at 1,000 classes
    expected = known - classifier + 1280 * 10 + 10
    assert sum(p.numel() for p in mobilenet_v2().parameters()) == expected


def test_its_stages_have_the_paper_s_channels_and_blocks():
    network = mobilenet_v2(width=0.5)
    blocks = [m for m in network.modules() if isinstance(m, InvertedResidual)]
    widths = [m.conv[-1].num_features for m in blocks]
    assert widths == [8] + [16] * 2 + [16] * 3 + [32] * 4 + [48] * 3 + [80] * 3 + [160]
    hidden = [m.conv[-2].in_channels for m in blocks]
    assert hidden[:3] == [16, 48, 96]
    depthwise = [m for m in network.modules() if isinstance(m, nn.Conv2d) and m.groups > 1]
    assert len(depthwise) == 17
    assert all(m.groups == m.in_channels == m.out_channels for m in depthwise)


def test_pictures_of_32_pixels_shrink_to_4():
    network, sizes = mobilenet_v2(channels=1, width=0.25).eval(), []
    for part in network.features:
        part.register_forward_hook(lambda m, i, o: sizes.append(o.shape[-1]))
    with torch.no_grad():
        assert network(torch.zeros(2, 1, 32, 32)).shape == (2, 10)
    assert sizes == [32] * 4 + [16] * 3 + [8] * 7 + [4] * 5


def test_a_block_adds_what_comes_in_only_where_sizes_allow():
    torch.manual_seed(0)
    x = torch.randn(2, 8, 6, 6)
    for outputs, stride, adds in ((8, 1, True), (8, 2, False), (16, 1, False)):
        block = InvertedResidual(8, outputs, stride, 6).eval()
        with torch.no_grad():
            found = block(x.clone())
            assert torch.allclose(found, block.conv(x.clone()) + (x if adds else 0))
