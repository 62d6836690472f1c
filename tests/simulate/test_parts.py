"""Which outputs are put right in which way; that all of it is exact is shown for whole arrays."""

import numpy as np
import pytest
import torch

from chipmend.faults import FaultMap, StuckMacs
from chipmend.hardware import Accumulators, Array
from chipmend.hardware.placement import WeightShape
from chipmend.network.integer.grids import Grid
from chipmend.simulate.columns import StuckColumns
from chipmend.simulate.parts import Held
from chipmend.simulate.passes import Passes

GRID = Grid(1.0, signed=True)


def parts_of(*bits, weight=None, intended=None, **sums):
    array = Array(rows=3, cols=4, accumulators=Accumulators(**sums))
    faults = FaultMap.of_pes(np.zeros((3, 4), dtype=bool), macs=StuckMacs.of(bits))
    weights = torch.full((6, 5), 100.0) if weight is None else weight
    held = Held(weights, GRID, Passes(WeightShape(6, 5), array), StuckColumns.of(faults, array))
    return [type(part).__name__ for part in held.parts(intended)]


LOW, HIGH = (0, 1, "accumulator", 3, 1), (0, 1, "accumulator", 22, 1)
SIGN = (1, 1, "accumulator", 23, 0)


@pytest.mark.parametrize(
    ("bits", "sums", "expected"),
    [
        ([], {}, []),
        ([(0, 1, "weight", 3, 1)], {}, []),  # the product is taken with what registers hold
        ([LOW], {"bits": 24}, ["_Moved"]),
        ([HIGH], {"bits": 24}, ["_Moved"]),  # far beyond the sums, and still within 24 bits
        ([SIGN], {"bits": 24}, ["_Summed"]),
        ([SIGN], {"bits": 32}, ["_Moved"]),  # bit 23 is no sign there
        ([LOW], {"bits": 24, "overflow": "saturate"}, ["_Moved"]),
        ([SIGN], {"bits": 24, "overflow": "saturate"}, ["_Put"]),
        ([LOW], {"bits": 24, "tiles": "reentry"}, ["_Summed"]),
        ([LOW, (2, 2, "accumulator", 23, 0)], {"bits": 24}, ["_Moved", "_Summed"]),
    ],
)
def test_outputs_take_the_cheapest_way_that_is_exact(bits, sums, expected):
    assert parts_of(*bits, **sums) == expected


def test_outputs_whose_registers_are_stuck_are_computed_anew():
    intended = torch.full((6, 5), 100.0)
    held = intended.clone()
    held[1, 2] = 108
    assert parts_of((2, 1, "weight", 3, 1), weight=held, intended=intended, bits=24) == ["_Put"]
