"""Networks in exact operators: all of onnxruntime's numbers are those of the integer network."""

import onnx
import pytest
import torch
from torch import nn

import attending
from chipmend.network.dynamic import Lost
from chipmend.network.gemm import gemms
from chipmend.network.integer.codes import Codes
from chipmend.network.integer.layers import Sound
from chipmend.network.integer.network import IntegerNetwork
from chipmend.network.integer.onnx.writing import write_onnx
from chipmend.zoo import NETWORKS
from exported import Branches, by_onnxruntime, in_integers, lively_, seeded


def check_same(network, inputs, folder):
    path = write_onnx(network, folder / "x.onnx", exact=True)
    onnx.checker.check_model(onnx.load(path), full_check=True)
    with torch.no_grad():
        ours = network(inputs)
    assert ours.std() > 0
    for optimized in (False, True):
        assert torch.equal(by_onnxruntime(path, inputs, optimized=optimized), ours)


def test_all_kinds_of_stages_give_the_same_numbers(tmp_path):
    model, inputs = lively_(Branches()), torch.randn(400, 2, 8, 8, generator=seeded())
    check_same(in_integers(model, inputs), inputs, tmp_path)


@pytest.mark.parametrize("name", ["alexnet", "mobilenet_v2", "resnet18", "vit"])
def test_networks_of_the_zoo_give_the_same_numbers(tmp_path, name):
    torch.manual_seed(0)
    model = lively_(NETWORKS[name](channels=1, width=1 / 8))
    inputs = torch.randn(24, 1, 32, 32, generator=seeded())
    check_same(in_integers(model, inputs), inputs, tmp_path)


def test_what_products_of_activations_lose_is_in_the_file(tmp_path):
    model, inputs = attending.network().eval(), attending.INPUTS
    codes = {gemm.name: Codes.nearest(gemm.weight) for gemm in gemms(model)}
    lost = Sound(Lost(attending.faults().unusable, attending.ARRAY))
    sound = in_integers(model, inputs)
    network = IntegerNetwork(sound.lowering, model, codes, lost)
    assert not torch.equal(network(inputs), sound(inputs))
    check_same(network, inputs, tmp_path)


def test_functions_of_single_numbers_are_looked_up(tmp_path):
    layers = [nn.Linear(6, 9), nn.Tanh(), nn.Linear(9, 9), nn.SiLU(), nn.Linear(9, 4)]
    inputs = torch.randn(300, 6, generator=seeded())
    check_same(in_integers(nn.Sequential(*layers).eval(), 3 * inputs), 3 * inputs, tmp_path)


def test_sums_beyond_single_precision_are_exact(tmp_path):
    """Sums of 4,000 products of great numbers, odd ones among them, go beyond 2 ** 24."""
    model = nn.Sequential(nn.Linear(4000, 3)).eval()
    inputs = 1 + torch.rand(20, 4000, generator=seeded())
    with torch.no_grad():
        model[0].weight.copy_(1 + torch.rand(3, 4000, generator=seeded(1)))
    network = in_integers(model, inputs)
    (grid,) = network.lowering.grids.values()
    worth = network.codes["0.weight"].step * grid.step
    assert ((network(inputs) - model[0].bias) / worth).min() > 2**24
    check_same(network, inputs, tmp_path)
