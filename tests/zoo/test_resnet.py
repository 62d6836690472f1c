import pytest
import torch
from torch import nn
from torch.nn.functional import batch_norm, conv2d, relu

from chipmend.zoo import resnet18
from chipmend.zoo.resnet import BasicBlock


def test_full_width_has_the_parameters_that_are_widely_known_for_cifar_10():
    assert sum(p.numel() for p in resnet18().parameters()) == 11_173_962


def test_sizes_halve_and_channels_double_from_stage_to_stage():
    network, sizes = resnet18(width=0.125).eval(), []
    for part in network:
        part.register_forward_hook(lambda m, i, o: sizes.append(tuple(o.shape[1:])))
    with torch.no_grad():
        assert network(torch.zeros(2, 3, 32, 32)).shape == (2, 10)
    assert sizes[2:7] == [(8, 32, 32), (8, 32, 32), (16, 16, 16), (32, 8, 8), (64, 4, 4)]


@pytest.mark.parametrize(("outputs", "stride"), [(4, 1), (6, 1), (4, 2)])
def test_a_block_adds_what_comes_in_or_its_projection(outputs, stride):
    torch.manual_seed(0)
    block, x = BasicBlock(4, outputs, stride).eval(), torch.randn(2, 4, 6, 6)
    for norm in (m for m in block.modules() if isinstance(m, nn.BatchNorm2d)):
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2)
    held = dict(block.state_dict())

    def normed(y, name):
        return batch_norm(y, *(held[f"{name}.{key}"] for key in
                               ("running_mean", "running_var", "weight", "bias")))  # fmt: skip

    y = relu(normed(conv2d(x, held["conv1.weight"], stride=stride, padding=1), "bn1"))
    y = normed(conv2d(y, held["conv2.weight"], padding=1), "bn2")
    past = x
    if (outputs, stride) != (4, 1):
        past = normed(conv2d(x, held["downsample.0.weight"], stride=stride), "downsample.1")
    with torch.no_grad():
        assert torch.allclose(block(x.clone()), relu(y + past), atol=1e-5)
