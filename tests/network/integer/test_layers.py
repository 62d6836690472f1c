"""Layers against PyTorch's own, computed in double precision on whole numbers."""

import pytest
import torch
from torch import nn

from chipmend.network.integer.graph import Held, Operation, traced
from chipmend.network.integer.grids import Grid
from chipmend.network.integer.layers import Layer, soundly


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


LAYERS = {
    "linear": (nn.Linear(20, 7), (20,)),
    "linear on sequences": (nn.Linear(6, 5), (3, 6)),
    "conv": (nn.Conv2d(3, 8, 3, stride=2, padding=1), (3, 9, 8)),
    "conv of one dimension": (nn.Conv1d(4, 6, 3, padding="same", dilation=2), (4, 11)),
    "conv of three": (nn.Conv3d(2, 3, (1, 2, 3)), (2, 4, 5, 6)),
    "grouped": (nn.Conv2d(6, 4, 3, groups=2, padding=2), (6, 5, 5)),
    "depthwise": (nn.Conv2d(5, 10, 3, groups=5, stride=2), (5, 7, 7)),
    "a kernel too large for single precision": (nn.Conv2d(2, 2, 40, groups=2), (2, 41, 40)),
    "wide": (nn.Linear(3000, 4), (3000,)),
}


def layer_of(module, sizes, grid, least=-128):
    graph = traced(module, torch.zeros(2, *sizes))
    operation = next(o for o in graph.operations if Held("weight") in o.given.values())
    shape = module.weight.shape
    numbers = torch.randint(least, 128, shape, generator=seeded(1)).float()
    return Layer(operation, numbers, grid)


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("grid", [Grid(1.0, signed=False), Grid(1.0, signed=True)])
def test_a_sound_product_is_pytorchs_own(name, grid):
    module, sizes = LAYERS[name]
    layer = layer_of(module, sizes, grid, least=90)
    inputs = torch.randint(grid.most - 60, grid.most + 1, (3, *sizes), generator=seeded())
    found = layer.arranged(soundly(layer)(inputs.to(grid.dtype)), inputs)
    exact = nn.utils.skip_init(type(module), **_arguments(module), dtype=torch.float64)
    with torch.no_grad():
        exact.weight.copy_(layer.numbers)
        expected = exact(inputs.double())
    assert torch.equal(found.double(), expected)


@pytest.mark.parametrize("name", ["linear", "conv", "grouped", "depthwise", "conv of three"])
def test_columns_times_dense_weights_is_the_product(name):
    module, sizes = LAYERS[name]
    grid = Grid(1.0, signed=False)
    layer = layer_of(module, sizes, grid)
    inputs = torch.randint(0, 256, (3, *sizes), generator=seeded()).to(torch.uint8)
    columns = layer.columns(inputs).long() + 128
    weights = layer.dense().long()
    assert torch.equal(weights.flatten(1) @ columns.flatten(0, 1), soundly(layer)(inputs).long())


def test_the_order_of_inputs_in_memory_does_not_matter():
    module, sizes = LAYERS["conv"]
    layer = layer_of(module, sizes, Grid(1.0, signed=True))
    inputs = torch.randint(-128, 128, (3, *sizes), generator=seeded()).to(torch.int8)
    other = inputs.movedim(0, -1).contiguous().movedim(-1, 0)
    assert torch.equal(soundly(layer)(inputs), soundly(layer)(other))


def _arguments(module):
    if isinstance(module, nn.Linear):
        return {
            "in_features": module.in_features,
            "out_features": module.out_features,
            "bias": False,
        }
    names = (
        "in_channels",
        "out_channels",
        "kernel_size",
        "stride",
        "padding",
        "dilation",
        "groups",
    )
    return {name: getattr(module, name) for name in names} | {"bias": False}


def test_an_operation_is_all_that_a_layer_needs_to_know():
    layer = layer_of(*LAYERS["grouped"], Grid(1.0, signed=True))
    assert isinstance(layer.operation, Operation)
    assert (layer.name, layer.shape.groups, layer.shape.kernel) == ("weight", 2, 9)
