import numpy as np
import pytest

from chipmend.errors import LotError
from chipmend.faults import MacsAt, stuck_macs
from chipmend.hardware import SITES, Accumulators, Array

ARRAY = Array(rows=40, cols=30, accumulators=Accumulators(bits=24))


def drawn(at, **how):
    return stuck_macs(ARRAY, at, **{"seed": 0, "chip": "a", **how}).listed()


def test_each_pe_that_is_hit_has_one_bit_where_it_was_asked_for():
    bits = drawn(MacsAt(rate=0.5, sites=("product", "accumulator"), bits=(3, 5), at_1=0.25))
    assert len({bit[:2] for bit in bits}) == len(bits)
    assert 500 < len(bits) < 700
    assert {bit[2] for bit in bits} == {"product", "accumulator"}
    assert {bit[3] for bit in bits} == {3, 4, 5}
    assert 0.15 < np.mean([bit[4] for bit in bits]) < 0.35


def test_without_a_range_all_bits_of_a_site_are_hit():
    for site in SITES:
        bits = drawn(MacsAt(rate=0.8, sites=(site,)))
        assert {bit[3] for bit in bits} == set(range(ARRAY.bits_at(site)))


def test_a_count_is_met():
    assert [len(drawn(MacsAt(count=count))) for count in (0, 1, 64)] == [0, 1, 64]


def test_nested_bits_stay_as_the_rate_rises():
    for amounts in (({"rate": 0.1}, {"rate": 0.3}), ({"count": 4}, {"count": 16})):
        low, high = (drawn(MacsAt(**amount), nested=True) for amount in amounts)
        assert set(low) < set(high)
        low, high = (drawn(MacsAt(**amount)) for amount in amounts)
        assert not set(low) <= set(high)


def test_chips_and_seeds_differ_and_repeat():
    at = MacsAt(count=10)
    assert drawn(at) == drawn(at)
    assert drawn(at) != drawn(at, chip="b") != drawn(at, seed=1)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({}, "a rate of None and a count of None"),
        ({"rate": 0.1, "count": 1}, "a rate of 0.1 and a count of 1"),
        ({"rate": 1.1}, "a rate of 1.1"),
        ({"count": -1}, "-1 stuck MACs"),
        ({"count": 1.5}, "1.5 stuck MACs"),
        ({"count": 1, "sites": ()}, "sites"),
        ({"count": 1, "sites": ("adder",)}, "adder"),
        ({"count": 1, "bits": (5, 3)}, "bits"),
        ({"count": 1, "bits": (5,)}, "bits"),
        ({"count": 1, "bits": 5}, "bits"),
        ({"count": 1, "at_1": 2}, "stuck at 1 of 2"),
    ],
)
def test_what_cannot_be_drawn_is_refused(wrong, said):
    with pytest.raises(LotError, match=said):
        MacsAt(**wrong)


def test_what_the_array_does_not_have_is_refused():
    with pytest.raises(LotError, match="1201 stuck MACs of 1,200 PEs"):
        drawn(MacsAt(count=1201))
    with pytest.raises(LotError, match="bits 20 to 24 of the accumulator, which has 24"):
        drawn(MacsAt(count=1, bits=(20, 24)))
