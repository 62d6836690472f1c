import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chipmend.errors import FaultMapError
from chipmend.faults import StuckMacs
from chipmend.hardware import SITES

PLACES = st.tuples(st.integers(0, 3), st.integers(0, 2), st.sampled_from(SITES), st.integers(0, 31))
BITS = st.dictionaries(PLACES, st.integers(0, 1), max_size=12)


@given(BITS)
def test_bits_are_listed_in_order_whatever_order_they_came_in(bits):
    listed = [(*place, value) for place, value in bits.items()]
    macs = StuckMacs.of([*reversed(listed), *listed])
    assert macs.listed() == sorted(listed, key=lambda b: (*b[:2], SITES.index(b[2]), *b[3:]))
    assert macs == StuckMacs.of(listed) == StuckMacs(macs.table)
    assert macs.digest() == StuckMacs.of(listed).digest()


@given(BITS)
def test_patterns_hold_each_bit(bits):
    macs = StuckMacs.of((*place, value) for place, value in bits.items())
    for site in SITES:
        ones, zeros = macs.patterns(site, 4, 3)
        expected = np.zeros((2, 4, 3), dtype=np.int64)
        for (row, col, where, bit), value in bits.items():
            if where == site:
                expected[1 - value, row, col] += 2**bit
        assert np.array_equal(np.stack([ones, zeros]), expected)


@given(BITS)
def test_some_pes_keep_their_bits(bits):
    kept = np.arange(12).reshape(4, 3) % 3 == 0
    macs = StuckMacs.of((*place, value) for place, value in bits.items())
    expected = [(*place, value) for place, value in bits.items() if kept[place[:2]]]
    assert macs.where(kept) == StuckMacs.of(expected)


@pytest.mark.parametrize(
    ("bits", "said"),
    [
        ([(0, 0, "adder", 0, 1)], "no site 'adder'"),
        ([(0, 0, "product", 32, 1)], "no bit of a datapath"),
        ([(-1, 0, "product", 0, 1)], "no bit of a datapath"),
        ([(0, 0, "product", 0, 2)], "no bit of a datapath"),
        ([(0, 0, "product", 0.5, 1)], "is no stuck bit of a datapath"),
        ([(0, 0, "product", 0)], "is no stuck bit of a datapath"),
        ([7], "7 is no stuck bit"),
        (
            [(1, 2, "weight", 3, 1), (1, 2, "weight", 3, 0)],
            r"bit 3 of the weight of PE \(1, 2\) is stuck at 0 and at 1",
        ),
    ],
)
def test_bits_that_cannot_be_are_refused(bits, said):
    with pytest.raises(FaultMapError, match=said) as caught:
        StuckMacs.of(bits)
    assert caught.value.hint


def test_a_table_out_of_order_is_refused():
    with pytest.raises(FaultMapError, match="do not ascend"):
        StuckMacs(np.array([[1, 0, 0, 0, 0], [0, 0, 0, 0, 0]]))
    with pytest.raises(FaultMapError, match="do not ascend"):
        StuckMacs(np.array([[1, 0, 0, 0, 0], [1, 0, 0, 0, 0]]))


def test_what_is_kept_cannot_be_changed():
    macs = StuckMacs.of([(0, 0, "product", 0, 1)])
    with pytest.raises(ValueError, match="read-only"):
        macs.table[0, 0] = 1
    assert repr(macs) == "StuckMacs(1 bit of 1 PE)"
