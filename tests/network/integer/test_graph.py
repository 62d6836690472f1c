"""A traced network does what the network does, bit for bit, whatever way it is written."""

import pickle

import pytest
import torch
from torch import nn
from torch.nn import functional

from chipmend.errors import NetworkError
from chipmend.network.dynamic import DynamicProducts
from chipmend.network.integer.graph import tensors_of, traced


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(2, 4, 3, padding="same")
        self.norm = nn.BatchNorm2d(4)
        self.second = nn.Conv2d(4, 4, 3, padding=1, groups=4, bias=False)
        self.last = nn.Linear(8, 3)
        self.register_buffer("shift", torch.arange(4.0).view(4, 1, 1))
        self.factor = torch.tensor(0.5)

    def forward(self, x):
        x = functional.relu(self.norm(self.first(x)), inplace=True)
        y = torch.cat([x, self.second(x) + self.shift], 1)
        x += functional.max_pool2d(x, 3, 1, 1) * self.factor
        a, b = y.chunk(2, 1)
        y = torch.cat([b, a], 1).mean((2, 3))
        return self.last(y).view(x.shape[0], -1)


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.one = nn.Linear(4, 4)
        self.two = nn.Linear(4, 4)
        self.two.weight = self.one.weight

    def forward(self, x):
        return self.two(self.one(x))


NETWORKS = {
    "residual": (Residual, (2, 6, 6)),
    "attention": (lambda: nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), (5, 8)),
    "tied": (Tied, (4,)),
    "one layer": (lambda: nn.Conv1d(2, 3, 3), (2, 7)),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_it_does_what_the_network_does(name):
    make, sizes = NETWORKS[name]
    model = make().train()
    graph = pickle.loads(pickle.dumps(traced(model, torch.randn(2, *sizes))))
    assert model.training
    inputs, seen = torch.randn(5, *sizes), {}
    with torch.no_grad(), DynamicProducts(model, lambda _, right: right):
        found = graph.run({**tensors_of(model), **graph.constants}, inputs, seen.__setitem__)
        expected = model.eval()(inputs)
    assert torch.equal(found, expected)
    for operation in graph.operations:
        if isinstance(seen[operation.result], torch.Tensor):
            sizes = zip(seen[operation.result].shape[1:], operation.sizes, strict=True)
            assert all(known in (size, -1) for size, known in sizes)


def test_a_shared_weight_goes_by_its_first_name():
    graph = traced(Tied(), torch.randn(2, 4))
    assert [each.given["weight"].name for each in graph.operations] == ["one.weight"] * 2


def test_what_reaches_no_output_is_left_out():
    class Dead(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.unused = nn.Linear(3, 2), nn.Linear(3, 2)

        def forward(self, x):
            self.unused(x)
            return self.used(x)

    (operation,) = traced(Dead(), torch.randn(2, 3)).operations
    assert operation.place == "used"


def test_a_network_that_looks_at_its_inputs_cannot_be_traced():
    class Looks(nn.Module):
        def forward(self, x):
            return x if x.sum() > 0 else -x

    with pytest.raises(NetworkError, match="cannot be traced"):
        traced(Looks(), torch.randn(2, 3))


def test_one_tensor_goes_in_and_one_comes_out():
    class Two(nn.Module):
        def forward(self, x):
            return x, x + 1

    with pytest.raises(NetworkError, match="gives 2 outputs"):
        traced(Two(), torch.randn(2, 3))
