"""Networks in operators that runtimes fuse, under onnxruntime, against the integer network."""

import copy

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from chipmend.network.integer.codes import Codes
from chipmend.network.integer.onnx.writing import write_onnx
from chipmend.zoo import NETWORKS
from exported import Branches, by_onnxruntime, in_integers, lively_, seeded


def apart(found, ours):
    """How far outputs are apart, as a share of their range."""
    return (found - ours).abs() / ours.abs().max()


def test_onnxruntime_gives_what_the_integer_network_gives(tmp_path):
    model, inputs = lively_(Branches()), torch.randn(400, 2, 8, 8, generator=seeded())
    network = in_integers(model, inputs)
    path = write_onnx(network, tmp_path / "x.onnx")
    onnx.checker.check_model(onnx.load(path), full_check=True)
    ours = network(inputs)
    for optimized in (False, True):
        found = by_onnxruntime(path, inputs, optimized=optimized)
        assert (found.argmax(1) == ours.argmax(1)).float().mean() >= 0.99
        assert (apart(found, ours) < 1e-6).float().mean() > 0.5
        assert apart(found, ours).max() < 0.05


@pytest.mark.parametrize("name", ["alexnet", "mobilenet_v2", "resnet18"])
def test_networks_of_the_zoo_are_run_by_others_alike(tmp_path, name):
    torch.manual_seed(0)
    model = lively_(NETWORKS[name](channels=1, width=1 / 8))
    inputs = torch.randn(24, 1, 32, 32, generator=seeded())
    network = in_integers(model, inputs)
    found = by_onnxruntime(write_onnx(network, tmp_path / "x"), inputs, optimized=True)
    with torch.no_grad():
        ours, real = network(inputs), model(inputs)
    by_rounding = (ours - real).square().mean().sqrt()
    assert (found - ours).square().mean().sqrt() < 0.6 * by_rounding
    assert apart(found, ours).amax(1).median() < 1e-4  # where no half is rounded the other way


def test_the_file_holds_the_very_numbers_that_words_read(tmp_path):
    model = nn.Sequential(nn.Conv2d(1, 3, 2), nn.ReLU(), nn.Flatten(), nn.Linear(12, 2)).eval()
    inputs = torch.randn(32, 1, 3, 3, generator=seeded())
    network = in_integers(model, inputs)
    stored = onnx.load(write_onnx(network, tmp_path / "x"))
    held = {i.name: onnx.numpy_helper.to_array(i) for i in stored.graph.initializer}
    for codes in network.codes.values():
        numbers = codes.numbers.numpy().astype(np.int8)
        matches = [n for n, a in held.items() if a.dtype == np.int8 and a.shape == numbers.shape]
        assert any(np.array_equal(held[name], numbers) for name in matches)
        scales = [a for a in held.values() if a.shape == codes.step.shape]
        assert any(np.allclose(a, codes.step.numpy(), rtol=1e-6) for a in scales)
    kinds = [node.op_type for node in stored.graph.node]
    assert kinds.count("Conv") == kinds.count("Gemm") == 1
    assert stored.producer_name == "chipmend"


def test_outputs_that_are_turned_keep_their_sign_even_where_a_number_has_no_negative(tmp_path):
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)).eval()
    inputs = torch.randn(64, 4, generator=seeded())
    numbers = torch.tensor([[-128.0, 3, 5, 0], [7, -20, 127, 1], [9, 9, -9, 2]])
    codes = {
        "0.weight": Codes(numbers, torch.tensor([-0.01, -0.02, 0.01]).double()),
        "2.weight": Codes.nearest(model[2].weight),
    }
    with torch.no_grad():
        model[0].weight.copy_(codes["0.weight"].weight())
    network = in_integers(model, inputs, codes)
    ours = network(inputs)
    assert ours.std() > 0
    for optimized in (False, True):
        path = write_onnx(network, tmp_path / "x")
        found = by_onnxruntime(path, inputs, optimized=optimized)
        assert (apart(found, ours) < 0.02).all()


class Clashing(nn.Module):
    """A weight used twice with unlike norms, names that differ in a dot, an input called weight."""

    def __init__(self):
        super().__init__()
        self.twice = nn.Conv2d(2, 2, 3, padding=1)
        self.one, self.two = nn.BatchNorm2d(2), nn.BatchNorm2d(2)
        self.a = nn.Module()
        self.a.b, self.a_b = nn.Conv2d(2, 2, 1), nn.Conv2d(2, 3, 1)

    def forward(self, weight):
        x = self.two(self.twice(self.one(self.twice(weight)).relu())).relu()
        return self.a_b(self.a.b(x).relu()).mean((2, 3))


def test_products_are_kept_apart_whatever_their_weights_are_called(tmp_path):
    model, inputs = lively_(Clashing()), torch.randn(50, 2, 6, 6, generator=seeded())
    model.two.running_mean.add_(0.7)
    network = in_integers(model, inputs)
    found = by_onnxruntime(write_onnx(network, tmp_path / "x"), inputs)
    assert apart(found, network(inputs)).max() < 0.02


def test_a_weight_that_is_read_elsewhere_too_is_what_its_codes_stand_for(tmp_path):
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(6, 4)

        def forward(self, x):
            return self.layer(x).relu() @ self.layer.weight

    model, inputs = Tied().eval(), torch.randn(40, 6, generator=seeded())
    network = in_integers(model, inputs)
    with torch.no_grad():
        coded = copy.deepcopy(model)
        coded.layer.weight.copy_(network.codes["layer.weight"].weight())
        assert torch.allclose(network(inputs), coded(inputs), atol=0.05)
        found = by_onnxruntime(write_onnx(network, tmp_path / "x"), inputs)
        assert apart(found, network(inputs)).max() < 1e-3
