import itertools

import numpy as np

from chipmend.hardware.cycles import network_cycles
from chipmend.network import gemm_sizes
from chipmend.protect.vulnerability.layers import layers_of
from protect import small
from protect.design.examples import subject
from simulate.examples import dense


def test_widths_hold_every_sum_and_no_narrower_one_would():
    """The extremes of each pass, by hand."""
    found = subject()
    for known, layer in zip(found.layers, layers_of(found.network), strict=True):
        weights = dense(layer.layer).reshape(len(layer.layer.numbers), -1)
        grid = layer.layer.grid
        tiles = [weights[:, first : first + 4] for first in range(0, weights.shape[1], 4)]
        assert known.passes == len(tiles)
        for output, number in itertools.product(range(len(weights)), range(len(tiles))):
            each = tiles[number][output]
            ends = [
                sum(int(w) * (a if w > 0 else b) for w in each)
                for a, b in ((grid.most, grid.least), (grid.least, grid.most))
            ]
            bits = next(
                b for b in range(1, 40) if -(2 ** (b - 1)) <= min(ends) and max(ends) < 2 ** (b - 1)
            )
            assert known.widths[output, number] == bits
    assert found.widest == max(layer.widths.max() for layer in found.layers)
    assert found.narrowest == min(layer.widths.min() for layer in found.layers)


def test_work_and_cycles_are_those_of_one_sample():
    found = subject()
    sizes = gemm_sizes(small.Small().eval(), small.samples(1, 0)[0])
    assert found.cycles == network_cycles(sizes, small.ARRAY)
    pieces = [len(layer.change) * layer.change.shape[1] * layer.passes for layer in found.layers]
    assert found.work == sum(pieces)


def test_harm_counts_every_row_of_every_pass():
    layer = subject().layers[1]
    assert np.allclose(layer.harm, layer.change * layer.passes * 4)
    assert layer.kept[:, 0].tolist() == [1.0] * len(layer.kept)
    assert layer.kept[:, 21].max() == 0
