from dataclasses import replace

import pytest

from chipmend.protect.design import Protection
from chipmend.protect.design.permanent import masked
from protect.design.examples import BARE, ERRORS, subject


def protection(**given):
    return Protection(replace(BARE, **given), subject(), ERRORS)


def test_stuck_bits_are_masked_where_they_are_outvoted_or_above_all_sums():
    above = 22 - subject().widest
    assert masked(protection(), 0.05).stuck_bits == 0
    assert masked(protection(ordinary_bits=11), 0.05).stuck_bits == 0.5
    found = masked(protection(sign_extension=True, ordinary_bits=2), 0.05)
    assert found.stuck_bits == pytest.approx((2 + above) / 22)
    assert found.columns == 0


def test_a_large_unit_stands_in_for_columns():
    found = protection(important=0.1, lanes=12, important_bits=22)
    assert masked(found, 10.0).columns == 3
    assert masked(found, 0.0).columns <= masked(found, 1.0).columns
