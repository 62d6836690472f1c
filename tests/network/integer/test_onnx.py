"""Exported networks under onnxruntime, which knows nothing of ours, against the integer network."""

import copy
import sys

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn
from torch.nn import functional

from chipmend.errors import MissingExtraError, NetworkError, StoreError
from chipmend.network.gemm import gemms
from chipmend.network.integer.codes import Codes
from chipmend.network.integer.network import IntegerNetwork, lowering
from chipmend.network.integer.onnx import write_onnx
from chipmend.zoo import NETWORKS


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def lively_(model):
    """Norms with statistics and factors of either sign."""
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.running_mean.normal_(0, 0.1, generator=seeded(1))
            module.running_var.uniform_(0.5, 2, generator=seeded(2))
            module.weight.data.normal_(1, 0.5, generator=seeded(3))
            module.bias.data.normal_(0, 0.2, generator=seeded(4))
    return model.eval()


def in_integers(model, inputs, codes=None):
    codes = codes or {gemm.name: Codes.nearest(gemm.weight) for gemm in gemms(model)}
    return IntegerNetwork(lowering(model, [inputs]), model, codes)


def by_onnxruntime(path, inputs, *, optimized=False):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    level = onnxruntime.GraphOptimizationLevel
    options.graph_optimization_level = level.ORT_ENABLE_ALL if optimized else level.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(path, options)
    return torch.from_numpy(session.run(["output"], {"input": inputs.numpy()})[0])


def apart(found, ours):
    """How far outputs are apart, as a share of their range."""
    return (found - ours).abs() / ours.abs().max()


class Branches(nn.Module):
    """Products of three kinds, sums, sides, averages, splits, bounds."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(2, 6, 3, padding="same")
        self.norm = nn.BatchNorm2d(6)
        self.side = nn.Conv2d(6, 6, 3, padding=1, groups=3, bias=False)
        self.alone = nn.BatchNorm2d(12)
        self.along = nn.Linear(4, 4)
        self.last = nn.Linear(48, 5)

    def forward(self, x):
        x = self.norm(self.first(x)).relu()
        y = self.side(x)
        x = functional.max_pool2d(functional.relu6(x + y), 2)
        left, right = x.chunk(2, 1)
        y = functional.avg_pool2d(y, 2).clamp(-1, 1)
        x = self.alone(torch.cat([right, left, y], 1))
        x = self.along(functional.adaptive_avg_pool2d(x, (1, 4)).flatten(2)).relu()
        return self.last(x.flatten(1))


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


def test_any_number_of_samples_goes_in(tmp_path):
    model = nn.Sequential(nn.Linear(4, 3)).eval()
    inputs = torch.randn(64, 4, generator=seeded())
    path = write_onnx(in_integers(model, inputs), tmp_path / "x")
    assert [len(by_onnxruntime(path, inputs[:count])) for count in (1, 3, 64)] == [1, 3, 64]


def test_the_same_network_gives_the_same_bytes(tmp_path):
    model, inputs = lively_(Branches()), torch.randn(40, 2, 8, 8, generator=seeded())
    network = in_integers(model, inputs)
    first, second = (write_onnx(network, tmp_path / n).read_bytes() for n in "ab")
    assert first == second


def test_a_network_that_is_not_in_integers_is_refused(tmp_path):
    with pytest.raises(NetworkError, match="a Linear is no network in integers"):
        write_onnx(nn.Linear(2, 2), tmp_path / "x")


def test_an_operator_that_onnx_does_not_know_is_told(tmp_path):
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, 4)

        def forward(self, x):
            return torch.linalg.eigvals(self.layer(x).view(-1, 2, 2)).abs()

    inputs = torch.randn(8, 4, generator=seeded())
    network = in_integers(Odd().eval(), inputs)
    with pytest.raises(NetworkError, match="cannot be written as ONNX"):
        write_onnx(network, tmp_path / "x")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").touch()
    network = in_integers(nn.Sequential(nn.Linear(4, 3)).eval(), torch.randn(8, 4))
    with pytest.raises(StoreError):
        write_onnx(network, tmp_path / "file" / "x")


def test_without_the_library_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    network = in_integers(nn.Sequential(nn.Linear(4, 3)).eval(), torch.randn(8, 4))
    with pytest.raises(MissingExtraError, match="onnxscript") as caught:
        write_onnx(copy.copy(network), tmp_path / "x")
    assert "chipmend[onnx]" in caught.value.hint


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
