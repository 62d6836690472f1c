"""Small products worked out by hand, so that one misreading in simulator and Verilog is noticed.

Each case says how its numbers come about. Rows of ``inputs`` are samples, of ``weights`` outputs; a
tap is the last index.
"""

from dataclasses import dataclass, field

import numpy as np

from chipmend.faults import FaultMap, StuckMacs
from chipmend.hardware import Accumulators, Array
from chipmend.simulate.rtl.icarus import Gemm


@dataclass(frozen=True)
class Golden:
    name: str
    inputs: list
    weights: list
    expected: list
    macs: tuple = ()
    bypassed: tuple = ()
    size: tuple = (2, 1)
    placement: str = "im2col"
    sums: dict = field(default_factory=dict)

    @property
    def array(self):
        rows, cols = self.size
        sums = Accumulators(**{"bits": 24, **self.sums})
        return Array(rows=rows, cols=cols, placement=self.placement, accumulators=sums)

    @property
    def gemm(self):
        inputs, weights = (np.array(n, dtype=np.int64) for n in (self.inputs, self.weights))
        pes = np.zeros(self.size, dtype=bool)
        for at in self.bypassed:
            pes[at] = True
        rows, cols = self.size
        faults = FaultMap(rows=rows, cols=cols, faulty_pes=pes, macs=StuckMacs.of(self.macs))
        with_taps = (n if n.ndim == 3 else n[:, :, None] for n in (inputs, weights))
        return Gemm(*with_taps, faults)


GOLDEN = [
    Golden(
        "nothing is broken: 1 + 4 + 9, and 2 - 3",
        inputs=[[1, 2, 3]],
        weights=[[1, 2, 3], [2, 0, -1]],
        expected=[[14, -1]],
        size=(2, 2),
    ),
    Golden(
        "the register of weight 1 has its sign stuck at 1: 0b10000001 is -127; -127 x 2 + 5 x 3",
        inputs=[[2, 3]],
        weights=[[1, 5]],
        expected=[[-254 + 15]],
        macs=((0, 0, "weight", 7, 1),),
    ),
    Golden(
        "the register of weight 0 has bit 1 stuck at 1 and counts as 2: 2 x 5 + 1 x 1",
        inputs=[[5, 1]],
        weights=[[0, 1]],
        expected=[[11]],
        macs=((0, 0, "weight", 1, 1),),
    ),
    Golden(
        "a multiplier's sign is stuck at 1: 3 is 0b11, with bit 15 -32768 + 3; 1 is added",
        inputs=[[3, 1]],
        weights=[[1, 1]],
        expected=[[-32768 + 3 + 1]],
        macs=((0, 0, "product", 15, 1),),
    ),
    Golden(
        "bit 0 of a product of -15 is stuck at 0: ...10001 becomes ...10000, which is -16",
        inputs=[[5, 0]],
        weights=[[-3, 0]],
        expected=[[-16]],
        macs=((0, 0, "product", 0, 0),),
    ),
    Golden(
        "the greatest product of 16 bits, 255 x -128, and -128 x -128, the other way",
        inputs=[[255, 0], [128, 0]],
        weights=[[-128, 0]],
        expected=[[-32640], [-16384]],
    ),
    Golden(
        "a multiplier of an idle row has bit 4 stuck at 1: 16 is added to 7 x 1",
        inputs=[[7]],
        weights=[[1]],
        expected=[[7 + 16]],
        macs=((1, 0, "product", 4, 1),),
    ),
    Golden(
        "bit 3 of the upper accumulator is stuck at 1: (3 | 8) + 2 x 5, then (5 | 8) of tile two",
        inputs=[[3, 5, 1]],
        weights=[[1, 2, 5]],
        expected=[[11 + 10 + 13]],
        macs=((0, 0, "accumulator", 3, 1),),
    ),
    Golden(
        "the same below, where the second tile is idle: (13 | 8) and (5 | 8)",
        inputs=[[3, 5, 1]],
        weights=[[1, 2, 5]],
        expected=[[13 + 13]],
        macs=((1, 0, "accumulator", 3, 1),),
    ),
    Golden(
        "two in one column: 3 without bit 1 is 1, 1 + 3 = 4 with bit 0 is 5",
        inputs=[[1, 1]],
        weights=[[3, 3]],
        expected=[[5]],
        macs=((0, 0, "accumulator", 1, 0), (1, 0, "accumulator", 0, 1)),
    ),
    Golden(
        "two bits of one accumulator: 0b0110 with bit 3 and without bit 1 is 0b1100; 12 + 1",
        inputs=[[6, 1]],
        weights=[[1, 1]],
        expected=[[13]],
        macs=((0, 0, "accumulator", 3, 1), (0, 0, "accumulator", 1, 0)),
    ),
    Golden(
        "multiplier and accumulator of one PE: 5 with bit 1 is 7, 7 without bit 0 is 6; 6 + 2",
        inputs=[[5, 2]],
        weights=[[1, 1]],
        expected=[[8]],
        macs=((0, 0, "product", 1, 1), (0, 0, "accumulator", 0, 0)),
    ),
    Golden(
        "the sign of 24 bits is stuck at 1 at the end: 10 - 2^23",
        inputs=[[5, 5]],
        weights=[[1, 1]],
        expected=[[10 - 2**23]],
        macs=((1, 0, "accumulator", 23, 1),),
    ),
    Golden(
        "above it is 5 - 2^23, and 10 less wraps around to 2^23 - 5",
        inputs=[[5, 10]],
        weights=[[1, -1]],
        expected=[[2**23 - 5]],
        macs=((0, 0, "accumulator", 23, 1),),
    ),
    Golden(
        "or stays at the least number there is",
        inputs=[[5, 10]],
        weights=[[1, -1]],
        expected=[[-(2**23)]],
        macs=((0, 0, "accumulator", 23, 1),),
        sums={"overflow": "saturate"},
    ),
    Golden(
        "outside of the array 18 bits wrap around: 2^20 + 3 and 2^20 + 5 leave 8",
        inputs=[[1, 2, 5]],
        weights=[[1, 1, 1]],
        expected=[[8]],
        macs=((1, 0, "accumulator", 20, 1),),
        sums={"outside_bits": 18},
    ),
    Golden(
        "or stay at the greatest number there is, 2^17 - 1, whatever follows",
        inputs=[[1, 2, 5]],
        weights=[[1, 1, 1]],
        expected=[[2**17 - 1]],
        macs=((1, 0, "accumulator", 20, 1),),
        sums={"outside_bits": 18, "overflow": "saturate"},
    ),
    Golden(
        "sums re-enter at the top: (1 | 8) + 2 = 11, 11 + 4 = 15, which has bit 3 already",
        inputs=[[1, 1, 1]],
        weights=[[1, 2, 4]],
        expected=[[15]],
        macs=((0, 0, "accumulator", 3, 1),),
        sums={"tiles": "reentry"},
    ),
    Golden(
        "added up outside: 11, and 4 | 8 = 12 of the second tile",
        inputs=[[1, 1, 1]],
        weights=[[1, 2, 4]],
        expected=[[23]],
        macs=((0, 0, "accumulator", 3, 1),),
    ),
    Golden(
        "a bypassed PE is passed by, with its weight and its faults: 3 x 5 alone",
        inputs=[[7, 5]],
        weights=[[2, 3]],
        expected=[[15]],
        macs=((0, 0, "accumulator", 23, 1), (0, 0, "weight", 7, 1)),
        bypassed=((0, 0),),
    ),
    Golden(
        "a PE for every tap: (1 | 4) + 2 in one pass",
        inputs=[[[1, 2]]],
        weights=[[[1, 1]]],
        expected=[[7]],
        macs=((0, 0, "accumulator", 2, 1),),
    ),
    Golden(
        "a PE for the whole kernel: a pass for every tap, (1 | 4) + (2 | 4)",
        inputs=[[[1, 2]]],
        weights=[[[1, 1]]],
        expected=[[11]],
        macs=((0, 0, "accumulator", 2, 1),),
        placement="channel",
    ),
    Golden(
        "outputs 0 and 2 share column 0, where bit 4 is stuck at 1: -4 and -8 have it already",
        inputs=[[1, 1], [2, -3]],
        weights=[[1, 2], [3, 4], [5, 6]],
        expected=[[3 + 16, 7, 11 + 16], [-4, -6, -8]],
        macs=((1, 0, "accumulator", 4, 1),),
        size=(2, 2),
    ),
]
