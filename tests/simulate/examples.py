"""Arrays, layers and operands of all kinds, for comparisons with the array PE by PE."""

import numpy as np
import torch
from hypothesis import strategies as st
from torch import nn

from chipmend.hardware import Accumulators, Array, WeightMemory
from chipmend.network.integer.graph import Held, traced
from chipmend.network.integer.grids import Grid
from chipmend.network.integer.layers import Layer
from simulate import by_hand


@st.composite
def arrays(draw):
    bits = draw(st.sampled_from([4, 8, 8]))
    accumulators = Accumulators(
        bits=draw(st.sampled_from([21, 22, 24, 32])),
        overflow=draw(st.sampled_from(["wrap", "saturate"])),
        tiles=draw(st.sampled_from(["outside", "outside", "reentry"])),
        outside_bits=draw(st.sampled_from([21, 24, 32])),
    )
    return Array(
        rows=draw(st.integers(1, 6)),
        cols=draw(st.integers(1, 5)),
        placement=draw(st.sampled_from(["im2col", "channel"])),
        memory=WeightMemory(bits=bits),
        accumulators=accumulators,
    )


LAYERS = {
    "linear": (nn.Linear(13, 7), (13,)),
    "conv": (nn.Conv2d(3, 5, (2, 3), padding=(1, 0), stride=(1, 2)), (3, 3, 5)),
    "pointwise": (nn.Conv2d(9, 4, 1), (9, 2, 2)),
    "grouped": (nn.Conv2d(6, 4, 2, groups=2), (6, 3, 3)),
    "depthwise": (nn.Conv2d(5, 10, 2, groups=5, dilation=2), (5, 3, 4)),
}
OPERATIONS = {
    name: next(
        o
        for o in traced(module, torch.zeros(2, *sizes)).operations
        if Held("weight") in o.given.values()
    )
    for name, (module, sizes) in LAYERS.items()
}


def layer_and_inputs(name, array, *, is_signed, seed):
    module, sizes = LAYERS[name]
    generator = torch.Generator().manual_seed(seed)
    half = 2 ** (array.memory.bits - 1)
    weights = torch.randint(-half, half, module.weight.shape, generator=generator)
    weights[torch.rand(weights.shape, generator=generator) < 0.2] = 0
    grid = Grid(1.0, signed=is_signed)
    inputs = torch.randint(grid.least, grid.most + 1, (3, *sizes), generator=generator)
    return Layer(OPERATIONS[name], weights.float(), grid), inputs.to(grid.dtype)


def columns_of(layer, inputs):
    """Its left operand, ``m x channels x taps``, place by place and sample by sample."""
    whole = inputs.long().numpy()
    if layer.window is None:
        return whole[:, :, None]
    window = layer.window
    padding = [p[0] for p in window.padding]
    return by_hand.patches(whole, window.kernel, window.stride, padding, window.dilation)


def dense(layer):
    """Its weights as the array holds them, ``n x channels x taps``."""
    shape = layer.shape
    found = np.zeros((shape.outputs, shape.inputs * shape.groups, shape.kernel), dtype=np.int64)
    stored = layer.numbers.long().numpy().reshape(shape.outputs, shape.inputs, shape.kernel)
    for output in range(shape.outputs):
        first = output // (shape.outputs // shape.groups) * shape.inputs
        found[output, first : first + shape.inputs] = stored[output]
    return found


def operands(left, k, n, *, seed):
    """Two samples of three heads, on all numbers of their grids."""
    generator = torch.Generator().manual_seed(seed)
    first = torch.randint(left.least, left.most + 1, (2, 3, 4, k), generator=generator)
    second = torch.randint(-128, 128, (2, 3, k, n), generator=generator)
    second[torch.rand(second.shape, generator=generator) < 0.2] = 0
    return first.to(left.dtype), second.to(torch.int8)
