"""Walking down columns row by row, against the array PE by PE."""

import numpy as np
import pytest
import torch

from chipmend.faults import FaultMap, StuckMacs
from chipmend.hardware import Accumulators, Array
from chipmend.hardware.placement import WeightShape
from chipmend.simulate.columns import StuckColumns
from chipmend.simulate.passes import Passes
from chipmend.simulate.walk import Walk
from simulate import by_hand


@pytest.mark.parametrize("tiles", ["outside", "reentry"])
@pytest.mark.parametrize("least", [-128, 0])
@pytest.mark.parametrize("before", [(), (2, 3)])
def test_saturating_sums_are_those_of_every_pe(tiles, least, before):
    torch.manual_seed(0)
    sums = Accumulators(bits=20, overflow="saturate", tiles=tiles, outside_bits=20)
    array, (n, k, m) = Array(rows=3, cols=2, accumulators=sums), (5, 8, 4)
    stuck = [(0, 0, "accumulator", 19, 1), (2, 1, "accumulator", 18, 0), (1, 0, "product", 15, 1)]
    faults = FaultMap.of_pes(np.zeros((3, 2), dtype=bool), macs=StuckMacs.of(stuck))
    columns, passes = StuckColumns.of(faults, array), Passes(WeightShape(n, k), array)
    weights = torch.randint(-128, 128, (*before, n, k))
    numbers = torch.randint(least, least + 256, (*before, k, m))
    walk = Walk(
        [output % 2 for output in range(n)],
        weights.float(),
        columns.products,
        columns.accumulators,
        array=array,
        slices=passes.slices,
        least=least,
    )
    found = walk((numbers if least else numbers - 128).to(torch.int8))
    for at in np.ndindex(*before):
        inputs, held = numbers[at].T.numpy()[:, :, None], weights[at].numpy()[:, :, None]
        expected = by_hand.product(inputs, held, array, faults)
        assert np.array_equal(found[at].numpy(), expected.T)
    reached = found.abs() >= 2**19 - 1
    assert reached.any(), "some sums saturate, or this shows nothing"
