"""Stuck bits and the moves they make, against all patterns of small numbers."""

import itertools

import numpy as np
import pytest
import torch

from chipmend.faults import FaultMap, StuckMacs
from chipmend.hardware import Accumulators, Array, WeightMemory
from chipmend.simulate.columns import Event, StuckColumns
from simulate import by_hand

BITS = 4


def event(listed):
    """The event of some stuck bits, ``(bit, value)`` each, as patterns with the sign extended."""
    faulty = int(by_hand.signed(sum(1 << bit for bit, _ in listed), BITS))
    ones = int(by_hand.signed(sum(value << bit for bit, value in listed), BITS))
    return Event(row=0, faulty=faulty, ones=ones, bits=BITS)


PATTERNS = [
    list(zip(bits, values, strict=True))
    for count in (1, 2, 3, 4)
    for bits in itertools.combinations(range(BITS), count)
    for values in itertools.product((0, 1), repeat=count)
]


@pytest.mark.parametrize("listed", PATTERNS)
def test_every_number_moves_as_its_bits_do_and_within_bounds(listed):
    found = event(listed)
    numbers = np.arange(-8, 8)
    expected = by_hand.stuck(numbers, BITS, listed)
    assert [found.moved(int(n)) for n in numbers] == expected.tolist()
    moves = expected - numbers
    assert found.least_move <= moves.min() <= moves.max() <= found.most_move
    assert found.spoils_sign == any(bit == BITS - 1 for bit, _ in listed)


def faults():
    pes = np.zeros((3, 2), dtype=bool)
    pes[1, 0] = True
    return FaultMap(
        rows=3,
        cols=2,
        faulty_pes=pes,
        macs=StuckMacs.of(
            [
                (0, 0, "accumulator", 3, 1),
                (2, 0, "accumulator", 1, 0),
                (2, 0, "accumulator", 2, 1),
                (1, 0, "product", 2, 1),  # on a PE that is bypassed
                (2, 1, "product", 15, 1),
                (0, 1, "weight", 7, 1),
            ]
        ),
    )


ARRAY = Array(rows=3, cols=2, memory=WeightMemory(bits=8), accumulators=Accumulators(bits=24))


def test_columns_list_what_is_stuck_from_the_top_and_nothing_of_bypassed_pes():
    found = StuckColumns.of(faults(), ARRAY)
    assert {c: [e.row for e in events] for c, events in found.accumulators.items()} == {0: [0, 2]}
    both = found.accumulators[0][1]
    assert (both.faulty, both.ones) == (0b110, 0b100)
    ((product,),) = found.products.values()
    assert list(found.products) == [1]
    assert (product.row, product.faulty, product.ones) == (2, -(2**15), -(2**15))


def test_registers_hold_what_stuck_bits_leave_and_nothing_where_pes_are_bypassed():
    row_of = np.array([0, 1, 2, 0])
    weights = torch.tensor([[5.0, 6, 7, 0], [5.0, 6, 7, 0], [1.0, 2, 3, 4]])
    found = StuckColumns.of(faults(), ARRAY).registers(weights, row_of)
    assert found.tolist() == [[5, 0, 7, 0], [5 - 128, 6, 7, -128], [1, 0, 3, 4]]
    several = StuckColumns.of(faults(), ARRAY).registers(weights.expand(2, 4, 3, 4), row_of)
    assert torch.equal(several, found.expand(2, 4, 3, 4))
