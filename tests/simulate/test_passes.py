"""Passes of a layer, against the placement of its weights."""

import numpy as np
import pytest
import torch

from chipmend.hardware import Array
from chipmend.hardware.placement import WeightShape, pe_of_weights
from chipmend.simulate.passes import Passes

SHAPES = [WeightShape(5, 3, 4), WeightShape(4, 7), WeightShape(3, 2, 9), WeightShape(2, 11, 1)]


@pytest.mark.parametrize("placement", ["im2col", "channel"])
@pytest.mark.parametrize("shape", SHAPES)
def test_rows_of_pes_are_those_of_the_placement_and_none_comes_twice_in_a_pass(shape, placement):
    array = Array(rows=4, cols=3, placement=placement)
    passes = Passes(shape, array)
    taps = torch.arange(shape.inputs * shape.kernel).view(1, shape.inputs, shape.kernel)
    order = passes.weights(taps.float())[0].long().numpy()  # which tap each arranged row is
    rows, _ = pe_of_weights(shape, array)
    assert np.array_equal(passes.row_of, rows[0][order])
    met = [passes.row_of[rows] for rows in passes.slices]
    assert all(np.array_equal(np.sort(each), np.arange(len(each))) for each in met)
    assert sorted(np.concatenate([order[rows] for rows in passes.slices])) == list(
        range(len(order))
    )


@pytest.mark.parametrize("placement", ["im2col", "channel"])
def test_operand_and_weights_are_arranged_alike(placement):
    shape = WeightShape(5, 3, 4)
    passes = Passes(shape, Array(rows=4, cols=3, placement=placement))
    columns = torch.randint(-128, 128, (3, 4, 6), dtype=torch.int8)
    dense = torch.randint(-128, 128, (5, 3, 4)).float()
    expected = dense.flatten(1) @ columns.flatten(0, 1).float()
    assert torch.equal(passes.weights(dense) @ passes.columns(columns).float(), expected)
