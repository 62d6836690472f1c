import math
from dataclasses import replace

import pytest

from chipmend.protect.design import Protection
from chipmend.protect.design.permanent import masked
from protect.design.examples import BARE, ERRORS, subject


def protection(**given):
    return Protection(replace(BARE, **given), subject(), ERRORS)


def test_stuck_bits_are_masked_where_they_are_outvoted_or_above_all_sums():
    above, most = 22 - subject().widest, subject().cycles
    assert masked(protection(), most).stuck_bits == 0
    assert masked(protection(ordinary_bits=11), most).stuck_bits == 0.5
    found = masked(protection(sign_extension=True, ordinary_bits=2), most)
    assert found.stuck_bits == pytest.approx((2 + above) / 22)
    assert found.columns == 0


def test_a_unit_stands_in_for_as_many_columns_as_there_is_time_for():
    found = protection(important=0.1, lanes=12, important_bits=22)
    assert masked(found, 0).columns == 0
    for columns in (1, 2, 3):  # of three; the first ones, which have most outputs
        needed = 0
        for layer in subject().layers:
            outputs, places, _ = layer.change.shape
            lost = sum(output % 3 < columns for output in range(outputs)) * places * layer.passes
            needed += max(layer.cycles, math.ceil(lost / 3) + 4)  # three columns of four lanes
        assert masked(found, needed).columns >= columns
        assert masked(found, needed - 1).columns < columns
